"""All items as they were when reading began, page by page, while writes go on.

Reads the state as it is and corrects the keys that have changed since, so that no transaction is
held open between two pages.
"""

from collections.abc import Iterator
from typing import Final

import apsw

from signalbox.server.model.keys import compile_pattern
from signalbox.server.read import state_query
from signalbox.server.read.held_revisions import HeldRevisions
from signalbox.server.read.state_query import Filter, Item, StateQuery
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store.reader_pool import ReaderPool

PAGE_ITEMS: Final = 500
SCANNED_KEYS: Final = 20_000
"""Keys that are looked at for one page, at most."""


def pages(
    readers: ReaderPool, held: HeldRevisions, revision: int, match: str, limit: int = PAGE_ITEMS
) -> Iterator[list[Item]]:
    """All items that match as they were at `revision`, page by page.

    Other greenlets run between two pages, however fast these are taken.
    """
    with held.holding(revision):
        page, after = _page(readers, revision, match, None, limit)
        while after is not None:
            if page:
                yield page
            yield_to_hub()
            page, after = _page(readers, revision, match, after, limit)
        if page:
            yield page


def _page(
    readers: ReaderPool, revision: int, match: str, after: str | None, limit: int
) -> tuple[list[Item], str | None]:
    """One page, in a native thread unless few keys have to be looked at."""

    def read(connection: apsw.Connection) -> tuple[list[Item], str | None]:
        return _items_at(connection, revision, match, after, limit)

    if compile_pattern(match).is_range:
        with readers.snapshot() as connection:
            if _changed_little(connection, revision):
                return read(connection)
    return readers.in_thread(read)


def _items_at(
    connection: apsw.Connection, revision: int, match: str, after: str | None, limit: int
) -> tuple[list[Item], str | None]:
    """A page of items behind key `after`, and the key behind which the next one begins.

    None at the end. A page of a pattern that is no range may hold little, or nothing, before it.
    """
    query = StateQuery(Filter(match), "key", after, 0, limit)
    end = None if query.pattern.is_range else _end_of_scan(connection, query)
    query.high = end + "\0" if end else query.high
    page, more = state_query.items(connection, query, query.low, 0)
    end = page[-1].key if more else end
    query.high = end + "\0" if end else query.high
    return _corrected(connection, page, revision, query), end


def _changed_little(connection: apsw.Connection, revision: int) -> bool:
    """Whether there are at most `state_query.NEAR` changes since `revision`."""
    return (
        int(connection.execute(_COUNT_SINCE, (revision, state_query.NEAR + 1)).get)
        <= state_query.NEAR
    )


def _end_of_scan(connection: apsw.Connection, query: StateQuery) -> str | None:
    """The last of the next `SCANNED_KEYS` keys, None where there are fewer."""
    bound = (query.low, query.high, SCANNED_KEYS - 1)
    end: str | None = connection.execute(_NTH, bound).get
    return end


def _corrected(
    connection: apsw.Connection, page: list[Item], revision: int, query: StateQuery
) -> list[Item]:
    """The page with the keys that have changed since `revision` as they were at it."""
    bound = {"revision": revision, "low": query.low, "high": query.high}
    sql = _CHANGED_LATELY if _changed_little(connection, revision) else _CHANGED_SINCE
    changed = {key for (key,) in connection.execute(sql, bound)}
    items = [item for item in page if item.key not in changed]
    for key in changed:
        if query.pattern.matches(key):
            items += [
                Item(*row)
                for row in connection.execute(_AS_OF, (key, revision))
                if row[1] is not None
            ]
    return sorted(items)


_NTH: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?"
_COUNT_SINCE: Final = "SELECT count(*) FROM (SELECT 1 FROM changes WHERE revision > ? LIMIT ?)"
# The one walks along the keys, whose history may be long, the other along the latest changes.
_CHANGED_SINCE: Final = """
SELECT DISTINCT key FROM changes WHERE +revision > :revision AND key >= :low AND key < :high
"""
_CHANGED_LATELY: Final = """
SELECT key FROM changes WHERE revision > :revision AND +key >= :low AND +key < :high
"""
_AS_OF: Final = """
SELECT c.key, c.value, c.revision, t.at, t.actor
FROM changes c JOIN transactions t ON t.revision = c.revision
WHERE c.key = ? AND c.revision <= ? ORDER BY c.revision DESC LIMIT 1
"""
