"""All items as they were at one revision, page by page as bytes, while writes go on.

Each page is read from a transaction of its own, since one that is held open would let the
write-ahead log grow. What has changed since the revision is looked up in the log.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import apsw
import msgspec
from gevent.event import AsyncResult

from signalbox.server.model import horizons
from signalbox.server.model.horizons import Range
from signalbox.server.model.keys import Pattern, compile_pattern
from signalbox.server.read import state_query
from signalbox.server.read.held_revisions import HeldRevisions
from signalbox.server.read.row_forms import RowForm
from signalbox.server.read.shared_pages import Page, SharedPages
from signalbox.server.read.state_query import Filter, StateQuery
from signalbox.server.runtime.scheduling import Turns
from signalbox.server.store.horizons_table import read_horizons

PAGE_ITEMS: Final = 500
PAGE_BYTES: Final = 128 * 1024
"""Of keys and values on a page, unless it is one item."""
LONG_BYTES: Final = 4_096
"""A value of so many bytes is not read together with others."""
SCANNED_KEYS: Final = 20_000
"""Keys, and deletions of keys, that are looked at for one page, at most."""

NOT_CHOSEN: Final = -1
"""For those who waited for a reader that was ended."""


class Snapshots:
    """Readers of whole snapshots. Those of the same form and revision share the pages."""

    def __init__(self, held: HeldRevisions, shared: SharedPages, turns: Turns) -> None:
        """Readers of snapshots, which hold revisions by `held` and share pages by `shared`."""
        self._held, self._shared, self._turns = held, shared, turns
        self._begun: dict[str, int] = {}
        """The revision that was begun last, by pattern."""
        self._joining: dict[str, AsyncResult[int]] = {}
        """Those who have not begun yet, by pattern: they get its revision."""

    def revision_to_read(self, match: str, newest: Callable[[], int]) -> int:
        """A revision for a reader of `match`: the newest, or a later one than that of this call.

        Where others read it and something has been written since, it is chosen once a page has
        been made: those who come meanwhile share it. The caller must begin to read at once.
        """
        self._begun = {text: begun for text, begun in self._begun.items() if begun in self._held}
        if self._begun.setdefault(match, newest()) == newest():
            return newest()
        if (group := self._joining.get(match)) is not None:
            theirs: Any = group.get()
            return theirs if theirs in self._held else newest()
        group, chosen = self._joining.setdefault(match, AsyncResult()), NOT_CHOSEN
        try:
            with self._shared.making:
                chosen = self._begun[match] = newest()
        finally:
            del self._joining[match]
            group.set(chosen)
        return chosen

    def pages(
        self,
        revision: int,
        match: str,
        form: RowForm,
        incomplete: Sequence[str] = (),
        limit: int = PAGE_ITEMS,
    ) -> Iterator[bytes]:
        """All items that match as they were at `revision`, each page in its turn.

        Keys below the prefixes `incomplete` are left out, which retention has thinned out. Raises
        `Compacted` where these are others.
        """
        wanted = _Wanted(revision, match, form, tuple(incomplete), limit)
        with self._held.holding(revision), self._shared.reading():
            start: str | None = compile_pattern(match).low
            while start is not None:
                page = self._shared.get((wanted, start), partial(_page, wanted, start))
                start = page.next
                if page.data:
                    self._turns.wait()
                    yield page.data


class _Wanted(NamedTuple):
    """What a reader of `Snapshots.pages` reads."""

    revision: int
    match: str
    form: RowForm
    incomplete: tuple[str, ...]
    limit: int


def _page(wanted: _Wanted, start: str, connection: apsw.Connection) -> Page[str]:
    """The page that begins at the key `start`. Raises `Compacted`."""
    query = StateQuery.of(Filter(wanted.match))
    ranges = _ranges_behind(connection, wanted, query.pattern, start)
    if not ranges:
        return Page(b"", None)
    (low, high), *others = ranges
    scanned = wanted.limit if query.pattern.is_range else SCANNED_KEYS
    end = end_of_scan(connection, wanted.revision, low, high, scanned)
    items = ItemsAt(connection, query, wanted.revision, low, end + "\0" if end else high)
    limit = items.fitting(wanted.limit)
    rows, count, last = items.rows(wanted.form, limit)
    following: str | None = others[0][0] if others else None
    if count == limit:
        following = last + "\0"
    elif end:
        following = end + "\0"
    if not count:
        return Page(b"", following)
    text = wanted.form.page % {"rows": rows, "revision": wanted.revision}
    return Page(wanted.form.finish(text).encode(), following)


def _ranges_behind(
    connection: apsw.Connection, wanted: _Wanted, pattern: Pattern, start: str
) -> list[Range]:
    """The ranges of keys from `start` on that are read. Raises `Compacted`."""
    kept, within = read_horizons(connection), (pattern.low, pattern.high)
    incomplete = kept.incomplete_prefixes(wanted.revision, *within)
    if tuple(incomplete) != wanted.incomplete:
        raise horizons.compacted_error(incomplete, wanted.revision)
    ranges = kept.complete_ranges(wanted.revision, *within)
    return [(max(low, start), high) for low, high in ranges if high > start]


def end_of_scan(
    connection: apsw.Connection, revision: int, low: str, high: str, keys: int
) -> str | None:
    """The key up to which [low, high) is looked at in one statement; None where that is all.

    Up to there so many `keys` exist at most, and where deletions have to be looked at to know what
    there was at the `revision`, there are `SCANNED_KEYS` of them.
    """
    ends = [connection.execute(_NTH, (low, high, keys - 1)).get]
    if not _died_lately(connection, revision):
        ends.append(connection.execute(_NTH_DIED, (low, high, SCANNED_KEYS - 1)).get)
    return min(filter(None, ends), default=None)


def _died_lately(connection: apsw.Connection, revision: int) -> bool:
    """Whether so few keys have been deleted since that all of these can be looked at."""
    died: int = connection.execute(_COUNT_DIED, (revision, state_query.NEAR + 1)).get
    return died <= state_query.NEAR


class ItemsAt:
    """The items in [low, high) at a revision that match a query, in key order."""

    def __init__(
        self, connection: apsw.Connection, query: StateQuery, revision: int, low: str, high: str
    ) -> None:
        """Prepare the SQL for the items of a page of a snapshot."""
        self._connection = connection
        conditions, bound = state_query.key_and_value_conditions(query)
        self._bound: dict[str, Any] = bound | {"at": revision, "low": low, "high": high}
        self._where = " AND ".join([state_query.visible(query.pattern), *conditions])
        # The one walks along the latest deletions, the other along all keys that were ever deleted.
        self._dead = _DIED_LATELY if _died_lately(connection, revision) else _DIED

    def entries(self, limit: int) -> list[tuple[str, str | None]]:
        """The first `limit` keys with their values as JSON text, None for one of `LONG_BYTES`.

        One statement that gives one row: a thread that takes many rows one by one gives the
        interpreter up and takes it again for each, so that those who wait for it hardly get it.
        """
        sql = _ENTRIES.format(items=self._sql("{}.value"))
        found = self._connection.execute(sql, self._bound | {"limit": limit, "long": LONG_BYTES})
        return msgspec.json.decode(found.get, type=list[tuple[str, str | None]])

    def value(self, key: str) -> str:
        """The value of one of the keys as JSON text."""
        sql = _VALUE.format(items=self._sql("{}.value"))
        bound = self._bound | {"low": key, "high": key + "\0", "limit": 1}
        return str(self._connection.execute(sql, bound).get)

    def fitting(self, limit: int) -> int:
        """How many of the first `limit` items have `PAGE_BYTES` at most; at least one."""
        sql = _SIZES.format(items=self._sql("octet_length({}.value)"))
        sizes: Any = self._connection.execute(sql, self._bound | {"limit": limit})
        total = 0
        for count, (size,) in enumerate(sizes):
            total += size or 0
            if count and total > PAGE_BYTES:
                return count  # and no further value is looked at: they may all be large
        return limit

    def rows(self, form: RowForm, limit: int) -> tuple[str, int, str]:
        """The text of the first `limit` items, their number and the key of the last one."""
        sql = _ROWS.format(row=form.row, items=self._sql("{}.value"))
        bound = self._bound | {"limit": limit, "separator": form.separator}
        found: tuple[str, int, str] = next(self._connection.execute(sql, bound))
        return found

    def _sql(self, value: str) -> str:
        """The items with their `value`, an expression of a table's."""
        return _ITEMS.format(
            of_state=value.format("s"),
            of_log=value.format("c"),
            dead=self._dead.format(where=self._where),
            where=self._where,
        )


_NTH: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?"
_NTH_DIED: Final = "SELECT key FROM lives WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?"
_COUNT_DIED: Final = "SELECT count(*) FROM (SELECT 1 FROM lives WHERE died > ? LIMIT ?)"
_DIED_LATELY: Final = """
SELECT s.key, NULL, NULL FROM lives s INDEXED BY lives_by_died
WHERE s.died > :at AND +s.born <= :at AND +s.key >= :low AND +s.key < :high AND {where}
"""
_DIED: Final = """
SELECT s.key, NULL, NULL FROM lives s
WHERE s.key >= :low AND s.key < :high AND +s.born <= :at AND +s.died > :at AND {where}
"""
_ITEMS: Final = """
SELECT k.key,
    CASE WHEN k.revision <= :at THEN k.revision ELSE (
        SELECT max(c.revision) FROM changes c WHERE c.key = k.key AND c.revision <= :at
    ) END AS revision,
    CASE WHEN k.revision <= :at THEN k.value ELSE (
        SELECT {of_log} FROM changes c WHERE c.key = k.key AND c.revision <= :at
        ORDER BY c.revision DESC LIMIT 1
    ) END AS value
FROM (
    SELECT s.key, s.revision, {of_state} AS value FROM state s
    WHERE s.key >= :low AND s.key < :high AND +s.born <= :at AND {where}
    UNION ALL {dead} ORDER BY key LIMIT :limit
) k
"""
"""Keys that exist, and those that have been deleted since, with what they were."""
_ENTRIES: Final = """
SELECT json_group_array(json_array(
    i.key, CASE WHEN octet_length(i.value) < :long THEN i.value END
)) FROM ({items}) i
"""
_VALUE: Final = "SELECT i.value FROM ({items}) i"
_SIZES: Final = "SELECT octet_length(i.key) + i.value FROM ({items}) i"
_ROWS: Final = """
SELECT group_concat({row}, :separator), count(*), max(i.key) FROM ({items}) i
"""
