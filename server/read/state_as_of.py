"""The state as of an earlier revision: the queries of the current state, answered from the log.

Values are looked up by key and revision, never replayed. Every query runs in a native thread on a
snapshot of its own; what is known of an earlier revision stays true.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice, starmap
from typing import Final, TypeVar

import apsw
import msgspec

from signalbox.server.model import horizons
from signalbox.server.model.horizons import Range
from signalbox.server.model.keys import AFTER_ALL_KEYS, RESERVED, after_prefix
from signalbox.server.read import state_query, tree
from signalbox.server.read.state_query import Filter, Item, JsonPage, Page, StateQuery
from signalbox.server.read.state_scan import MAX_SORTED
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.store.key_counts import KeyCounts, KeysAtRevision
from signalbox.server.store.reader_pool import ReaderPool

Result = TypeVar("Result")

CACHED_REVISIONS: Final = 8
"""Revisions whose sets of keys are remembered."""
CHUNK: Final = 5_000
"""Keys looked up together."""


class KeySets:
    """The keys at the revisions that were asked for last.

    `counts_for` gives counts of a revision not below the one that it is given.
    """

    def __init__(self, counts_for: Callable[[int], KeyCounts]) -> None:
        """`counts_for` says how many keys lie where now, to be counted back to a revision."""
        self._counts_for = counts_for
        self._cached: OrderedDict[int, KeysAtRevision] = OrderedDict()

    def at(self, revision: int) -> Callable[[apsw.Connection], KeysAtRevision]:
        """How to get the keys at a revision in a native thread, with a connection."""
        if cached := self._cached.get(revision):
            return lambda _: cached
        counts = self._counts_for(revision)
        return lambda connection: self._cache(KeysAtRevision(connection, revision, counts))

    def _cache(self, keys: KeysAtRevision) -> KeysAtRevision:
        """Cache the keys of a revision, and forget those that were not asked for lately."""
        self._cached[keys.revision] = keys
        if len(self._cached) > CACHED_REVISIONS:
            self._cached.popitem(last=False)
        return keys


class AsOfView:
    """A `StateView` as of `revision`."""

    def __init__(self, readers: ReaderPool, key_sets: KeySets, revision: int) -> None:
        """The view as of `revision`; `key_sets` caches its keys with those of other revisions."""
        self._readers, self._key_sets = readers, key_sets
        self.revision = revision

    def get(self, key: str) -> Item | None:
        """The key's item as of the revision. Raises `Compacted` where that is unknown."""

        def find_item(snapshot: "_AsOfSnapshot") -> Item | None:
            if snapshot.compacted:
                raise horizons.compacted_error(snapshot.compacted, self.revision)
            return next(snapshot.items([key]), None)

        return self._run(find_item, (key, key + "\0"), True)

    def page(
        self,
        wanted: Filter,
        sort: str = "key",
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        with_total: bool = True,
    ) -> Page:
        """A page of the items that match as of the revision; see `StateView.page`."""
        return self._page(StateQuery(wanted, sort, after, offset, limit), with_total)

    def json_page(self, wanted: Filter, sort: str, after: str | None, limit: int) -> JsonPage:
        """The same page as of the revision, its items as JSON."""
        query = StateQuery(wanted, sort, after, 0, limit, as_json=True)
        return JsonPage.of(self._page(query, with_total=True))

    def _page(self, query: StateQuery, with_total: bool) -> Page:
        """The page of a query as of the revision."""

        def read_page(snapshot: "_AsOfSnapshot") -> Page:
            items, more = state_query.taken(_ordered(snapshot, query), query.limit)
            total = _count(snapshot, query) if with_total else -1
            following = query.cursor(items[-1]) if more else None
            return Page(self.revision, total, items, following, snapshot.compacted)

        return self._run_query(read_page, query)

    def position(self, wanted: Filter, key: str) -> int | None:
        """How many matching keys sorted before `key` as of the revision; None as in `StateView`."""
        query = StateQuery.of(wanted)
        if not query.is_indexed:
            return None
        low = query.pattern.low
        return self._run_query(lambda snapshot: snapshot.count(low, max(low, key)), query)

    def count(self, wanted: Filter) -> int:
        """How many keys matched as of the revision, exactly."""
        query = StateQuery.of(wanted)
        return self._run_query(lambda snapshot: _count(snapshot, query), query)

    def keys(self) -> int:
        """How many keys there were at the revision, the app's own settings left out."""
        return self.count(Filter())

    def tree(self, prefix: str = "", after: str | None = None, limit: int = 100) -> tree.Tree:
        """The next segments below `prefix` as of the revision; see `StateView.tree`."""
        below = (prefix, after_prefix(prefix))

        def read_tree(snapshot: "_AsOfSnapshot") -> tree.Tree:
            keys = _AsOfTreeKeys(snapshot, prefix)
            children, following = tree.children(keys, prefix, after, limit)
            total = snapshot.count(*below)
            return tree.Tree(self.revision, total, children, following, snapshot.compacted)

        return self._run(read_tree, below, prefix.startswith(RESERVED))

    def _run_query(self, run: Callable[["_AsOfSnapshot"], Result], query: StateQuery) -> Result:
        """Run a query on a snapshot of the keys that its pattern can match."""
        pattern = query.pattern
        return self._run(run, (pattern.low, pattern.high), pattern.shows_reserved)

    def _run(
        self, run: Callable[["_AsOfSnapshot"], Result], within: Range, shows_reserved: bool
    ) -> Result:
        """Run in a native thread, on a snapshot of the keys `within`."""
        keys_of = self._key_sets.at(self.revision)

        def in_thread(connection: apsw.Connection) -> Result:
            keys, all_horizons = keys_of(connection), read_horizons(connection)
            ranges = all_horizons.complete_ranges(self.revision, *within)
            if not shows_reserved:
                ranges = horizons.without_reserved(ranges)
            compacted = all_horizons.incomplete_prefixes(self.revision, *within)
            return run(_AsOfSnapshot(connection, keys, ranges, compacted))

        return self._readers.in_thread(in_thread)


class _AsOfSnapshot:
    """The keys of some ranges as of one revision, read with one connection."""

    def __init__(
        self,
        connection: apsw.Connection,
        keys: KeysAtRevision,
        ranges: list[Range],
        compacted: list[str],
    ) -> None:
        """A snapshot as of the revision of `keys`, limited to the `ranges` that retention has left
        complete; `compacted` are the prefixes that it has not.
        """
        self.connection, self.keys = connection, keys
        self.ranges, self.compacted = ranges, compacted

    def count(self, low: str, high: str) -> int:
        """How many keys lie in [low, high) as of the revision of the snapshot."""
        return sum(self.keys.count(self.connection, *part) for part in self._parts(low, high))

    def listed(self, low: str, high: str, limit: int, offset: int = 0) -> list[str]:
        """At most `limit` keys in [low, high) as of the revision, after the first `offset`."""
        keys: list[str] = []
        for part in self._parts(low, high):
            if offset and offset >= (here := self.keys.count(self.connection, *part)):
                offset -= here
                continue
            keys += self.keys.listed(self.connection, *part, limit - len(keys), offset)
            offset = 0
            if len(keys) >= limit:
                break
        return keys

    def items(self, keys: list[str], query: StateQuery | None = None) -> Iterator[Item]:
        """The items of the matching ones of `keys` as of the revision, in the order of `keys`."""
        query = query or _ANY
        conditions, bound = state_query.key_and_value_conditions(query)
        bound |= {"keys": msgspec.json.encode(keys).decode(), "at": self.keys.revision}
        sql = _ITEMS.format(where=" AND ".join(["TRUE", *conditions]), columns=query.columns)
        return starmap(Item, self.connection.execute(sql, bound))

    def matching(self, query: StateQuery, low: str) -> Iterator[Item]:
        """Every item from key `low` on that matches the query as of the revision, in key order."""
        while keys := self.listed(low, query.high, CHUNK):
            yield from self.items(keys, query)
            low = keys[-1] + "\0"

    def contains(self, key: str) -> bool:
        """Whether the key lies in the ranges of the snapshot."""
        return any(low <= key < high for low, high in self.ranges)

    def _parts(self, low: str, high: str) -> Iterator[Range]:
        """The parts of [low, high) whose keys are complete as of the revision of the snapshot."""
        for start, end in self.ranges:
            if max(low, start) < min(high, end):
                yield max(low, start), min(high, end)


class _AsOfTreeKeys:
    """The keys of a tree as of the revision of a snapshot; see `tree.SortedKeys`."""

    def __init__(self, snapshot: _AsOfSnapshot, prefix: str) -> None:
        """The keys of `snapshot` below `prefix`."""
        self._snapshot = snapshot
        self._prefix = prefix

    def first(self, low: str, high: str) -> str | None:
        """The first key in [low, high) at the revision of the snapshot."""
        return next(iter(self._snapshot.listed(low, high, 1)), None)

    def exists(self, key: str) -> bool:
        """Whether the key existed at the revision of the snapshot."""
        return bool(self._snapshot.listed(key, key + "\0", 1))

    def rank(self, key: str, near: tree.KnownRank | None) -> int:
        """How many keys sort before `key`, counted from the last one whose rank is known."""
        known, rank = near if near and near[0] <= key else (self._prefix, 0)
        return rank + self._snapshot.count(known, key)


def _ordered(snapshot: _AsOfSnapshot, query: StateQuery) -> Iterator[Item]:
    """The items that the query asks for, in its order, from its position on."""
    if query.sort == "changed":
        return islice(_by_change(snapshot, query), query.offset, None)
    if query.is_indexed:
        keys = snapshot.listed(query.low, query.high, query.limit + 1, query.offset)
        return snapshot.items(keys, query)
    return islice(snapshot.matching(query, query.low), query.offset, None)


def _count(snapshot: _AsOfSnapshot, query: StateQuery) -> int:
    """How many keys the query matches at the revision of the snapshot."""
    if not (query.type or query.search or query.pattern.glob):
        return snapshot.count(query.pattern.low, query.pattern.high)
    return sum(1 for _ in snapshot.matching(query, query.pattern.low))


def _by_change(snapshot: _AsOfSnapshot, query: StateQuery) -> Iterator[Item]:
    """The items of a query, the one that was changed last before the revision first."""
    if snapshot.count(query.low, query.high) > MAX_SORTED:
        return _walked_backwards(snapshot, query)
    items = sorted(snapshot.matching(query, query.low), key=_change_order, reverse=True)
    before = query.before
    return (item for item in items if before is None or _change_order(item) < before)


def _walked_backwards(snapshot: _AsOfSnapshot, query: StateQuery) -> Iterator[Item]:
    """The items from the newest change backwards, for more keys than `MAX_SORTED`."""
    conditions, bound = state_query.key_and_value_conditions(query)
    at = snapshot.keys.revision
    revision, key = query.before or (at, AFTER_ALL_KEYS)
    bound |= {"low": query.low, "high": query.high, "at": at}
    bound |= {"revision": revision, "key": key}
    where = " AND ".join(["TRUE", *conditions])
    sql = _BY_CHANGE_BACKWARDS.format(where=where, columns=query.columns)
    for row in snapshot.connection.execute(sql, bound):
        if snapshot.contains(row[0]):
            yield Item(*row)


def _change_order(item: Item) -> tuple[int, str]:
    """Where an item is in the order of last changes."""
    return item.revision, item.key


_ANY: Final = StateQuery.of(Filter())
_ITEMS: Final = """
SELECT {columns}
FROM json_each(:keys) asked
CROSS JOIN changes s ON s.key = asked.value AND s.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :at
)
LEFT JOIN transactions t ON t.revision = s.revision
WHERE s.value IS NOT NULL AND {where}
"""
_BY_CHANGE_BACKWARDS: Final = """
SELECT {columns}
FROM changes s CROSS JOIN transactions t ON t.revision = s.revision
WHERE s.revision <= :revision AND (s.revision < :revision OR s.key < :key)
    AND s.value IS NOT NULL AND +s.key >= :low AND +s.key < :high
    AND NOT EXISTS (
        SELECT 1 FROM changes l
        WHERE l.key = s.key AND l.revision > s.revision AND l.revision <= :at
    )
    AND {where}
ORDER BY s.revision DESC, s.key DESC
"""
