"""The state at an earlier revision: what the queries of the present ask, asked of any moment.

Values are looked up by key and revision in the log, never replayed. Everything runs in a native
thread on a snapshot of its own; what is known of an earlier revision stays true.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import apsw
import msgspec

from signalbox.server.model import horizons
from signalbox.server.model.horizons import Range
from signalbox.server.model.keys import LAST, RESERVED, after_prefix
from signalbox.server.read import search, tree
from signalbox.server.read.readers import Readers
from signalbox.server.read.search import (
    PAGE_BYTES,
    Filter,
    Item,
    Page,
    StateQuery,
)
from signalbox.server.store.horizons import read_horizons
from signalbox.server.store.key_counts import KeyCounts, KeysAtRevision

Result = TypeVar("Result")

REMEMBERED: Final = 8
"""Revisions of which it stays known which keys there were."""
CHUNK: Final = 5_000
"""Keys looked up together."""
SORTED: Final = 20_000
"""So many keys are sorted by their last change; of more the log is walked back."""


ANY: Final = StateQuery(Filter(), "key", None, 0, 0)


class Moment:
    """The keys of some ranges at one revision, asked of one snapshot."""

    def __init__(
        self,
        connection: apsw.Connection,
        keys: KeysAtRevision,
        ranges: list[Range],
        compacted: list[str],
    ) -> None:
        self.connection, self.keys = connection, keys
        self.ranges, self.compacted = ranges, compacted

    def count(self, low: str, high: str) -> int:
        """How many lie in [low, high)."""
        return sum(self.keys.count(self.connection, *part) for part in self._parts(low, high))

    def listed(self, low: str, high: str, limit: int, offset: int = 0) -> list[str]:
        """At most `limit` of those in [low, high) behind the first `offset`, in order."""
        found: list[str] = []
        for part in self._parts(low, high):
            if offset and offset >= (here := self.keys.count(self.connection, *part)):
                offset -= here
                continue
            found += self.keys.listed(self.connection, *part, limit - len(found), offset)
            offset = 0
            if len(found) >= limit:
                break
        return found

    def chunks(self, low: str, high: str) -> Iterator[list[str]]:
        """All of those in [low, high), in order and piece by piece."""
        while keys := self.listed(low, high, CHUNK):
            yield keys
            low = keys[-1] + "\0"

    def items(self, keys: list[str], question: StateQuery | None = None) -> Iterator[Item]:
        """What those of `keys` that match were, in the same order."""
        conditions, bound = search.of_key_and_value(question or ANY)
        bound |= {"keys": msgspec.json.encode(keys).decode(), "at": self.keys.revision}
        sql = _ITEMS.format(where=" AND ".join(["TRUE", *conditions]))
        return (Item(*row) for row in self.connection.execute(sql, bound))

    def matching(self, question: StateQuery, low: str) -> Iterator[Item]:
        """Every item from `low` on that the question asks for, in key order."""
        for keys in self.chunks(low, question.high):
            yield from self.items(keys, question)

    def knows(self, key: str) -> bool:
        return any(low <= key < high for low, high in self.ranges)

    def _parts(self, low: str, high: str) -> Iterator[Range]:
        for start, end in self.ranges:
            if max(low, start) < min(high, end):
                yield max(low, start), min(high, end)


class Past:
    """`present` gives the counts of a revision not below the one that it is given."""

    def __init__(self, readers: Readers, present: Callable[[int], KeyCounts]) -> None:
        self._readers = readers
        self._present = present
        self._known: OrderedDict[int, KeysAtRevision] = OrderedDict()

    def item(self, key: str, at: int) -> tuple[Item | None, list[str]]:
        """The item, None where there was no such key, and whose past is not kept so long."""

        def ask(moment: Moment) -> tuple[Item | None, list[str]]:
            return next(moment.items([key] if moment.ranges else []), None), moment.compacted

        return self._ask(at, (key, key + "\0"), True, ask)

    def page(self, question: StateQuery, at: int, with_total: bool) -> Page:
        """As `ReadModel.page`."""

        def ask(moment: Moment) -> Page:
            items, more = _taken(_ordered(moment, question), question.limit)
            total = _count(moment, question) if with_total else -1
            following = question.cursor(items[-1]) if more else None
            return Page(at, total, items, following, moment.compacted)

        return self._about(question, at, ask)

    def count(self, question: StateQuery, at: int) -> int:
        return self._about(question, at, lambda moment: _count(moment, question))

    def position(self, question: StateQuery, key: str, at: int) -> int:
        """How many keys of the question's range sort before `key`."""
        low = question.pattern.low
        return self._about(question, at, lambda moment: moment.count(low, max(low, key)))

    def tree(self, prefix: str, after: str | None, limit: int, at: int) -> tree.Tree:
        """As `ReadModel.tree`."""
        whole = (prefix, after_prefix(prefix))

        def ask(moment: Moment) -> tree.Tree:
            children, following = tree.children(_Keys(moment, prefix), prefix, after, limit)
            return tree.Tree(at, moment.count(*whole), children, following, moment.compacted)

        return self._ask(at, whole, prefix.startswith(RESERVED), ask)

    def pages(self, match: str, at: int) -> Iterator[list[Item]]:
        """Every item that matches, page by page, nothing held between.

        Raises `Compacted` where retention has removed more since the first page.
        """
        after: str | None = None
        compacted: Sequence[str] | None = None
        while True:
            question = StateQuery(Filter(match), "key", after, 0, search.NEAR)
            page = self.page(question, at, with_total=False)
            if compacted is not None and page.compacted != compacted:
                raise horizons.compacted_error(page.compacted, at)
            compacted = page.compacted
            if page.items:
                yield page.items
            if page.next is None:
                return
            after = page.next

    def _about(self, question: StateQuery, at: int, ask: Callable[[Moment], Result]) -> Result:
        pattern = question.pattern
        return self._ask(at, (pattern.low, pattern.high), pattern.shows_reserved, ask)

    def _ask(
        self, at: int, within: Range, shows_reserved: bool, ask: Callable[[Moment], Result]
    ) -> Result:
        known = self._known.get(at) or self._present(at)

        def run(connection: apsw.Connection) -> Result:
            keys = known
            if isinstance(keys, KeyCounts):
                keys = self._remember(KeysAtRevision(connection, at, keys))
            kept = read_horizons(connection)
            ranges = horizons.complete_ranges(kept, at, *within)
            if not shows_reserved:
                ranges = horizons.without_reserved(ranges)
            return ask(
                Moment(connection, keys, ranges, horizons.incomplete_prefixes(kept, at, *within))
            )

        return self._readers.in_thread(run)

    def _remember(self, keys: KeysAtRevision) -> KeysAtRevision:
        self._known[keys.revision] = keys
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return keys


class _Keys:
    """What the tree asks of a moment; see `tree.Keys`."""

    def __init__(self, moment: Moment, prefix: str) -> None:
        self._moment = moment
        self._prefix = prefix

    def first(self, low: str, high: str) -> str | None:
        return next(iter(self._moment.listed(low, high, 1)), None)

    def exists(self, key: str) -> bool:
        return bool(self._moment.listed(key, key + "\0", 1))

    def rank(self, key: str, near: tree.Known | None) -> int:
        known, rank = near if near and near[0] <= key else (self._prefix, 0)
        return rank + self._moment.count(known, key)


def _ordered(moment: Moment, question: StateQuery) -> Iterator[Item]:
    """What the question asks for, in its order, from its position on."""
    if question.sort == "changed":
        return islice(_by_change(moment, question), question.offset, None)
    if question.is_indexed:
        keys = moment.listed(question.low, question.high, question.limit + 1, question.offset)
        return moment.items(keys)
    return islice(moment.matching(question, question.low), question.offset, None)


def _taken(items: Iterator[Item], limit: int) -> tuple[list[Item], bool]:
    """As many as a page holds; is there more?"""
    found: list[Item] = []
    size = 0
    for item in items:
        if len(found) == limit or size >= PAGE_BYTES:
            return found, True
        found.append(item)
        size += len(item.raw)
    return found, False


def _count(moment: Moment, question: StateQuery) -> int:
    if not (question.type or question.search or question.pattern.glob):
        return moment.count(question.pattern.low, question.high)
    return sum(1 for _ in moment.matching(question, question.pattern.low))


def _by_change(moment: Moment, question: StateQuery) -> Iterator[Item]:
    """Last change first."""
    if moment.count(question.low, question.high) > SORTED:
        return _walked_back(moment, question)
    items = sorted(moment.matching(question, question.low), key=_place, reverse=True)
    before = question.before
    return (item for item in items if before is None or _place(item) < before)


def _walked_back(moment: Moment, question: StateQuery) -> Iterator[Item]:
    conditions, bound = search.of_key_and_value(question)
    at = moment.keys.revision
    revision, key = question.before or (at, LAST)
    bound |= {"low": question.low, "high": question.high, "at": at}
    bound |= {"revision": revision, "key": key}
    sql = _WALK.format(where=" AND ".join(["TRUE", *conditions]))
    for row in moment.connection.execute(sql, bound):
        if moment.knows(row[0]):
            yield Item(*row)


def _place(item: Item) -> tuple[int, str]:
    return item.revision, item.key


_ITEMS: Final = """
SELECT s.key, s.value, s.revision, t.at, t.actor
FROM json_each(:keys) asked
CROSS JOIN changes s ON s.key = asked.value AND s.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :at
)
LEFT JOIN transactions t ON t.revision = s.revision
WHERE s.value IS NOT NULL AND {where}
"""
_WALK: Final = """
SELECT s.key, s.value, s.revision, t.at, t.actor
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
