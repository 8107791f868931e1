"""The keys that existed at an earlier revision: counted and listed without replaying the log.

Few keys are listed once. Of more, counts are stored now and then (how many keys lie where), and
corrected by the keys that were added and removed between.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.store import state_table
from signalbox.server.store.key_index import CountRange, KeyIndex

CHANGED_KEYS_PER_COUNT: Final = 1_000
"""Keys that are added or removed between two revisions of which counts are stored."""
BUCKETS: Final = 4_096
MAX_LISTED: Final = 2_000
"""Up to so many keys are listed; more are counted."""


class KeyCounts(NamedTuple):
    """How many keys lie where at a revision."""

    revision: int
    keys: KeyIndex


def store_counts(connection: apsw.Connection, counted: KeyCounts) -> None:
    """Store counts for later queries, within the open transaction."""
    row = (counted.revision, counted.keys.copy(BUCKETS).encode())
    connection.execute(
        "INSERT OR REPLACE INTO key_counts VALUES (?1, ?2, row_checksum(?1, ?2))", row
    )


def last_stored(connection: apsw.Connection) -> int:
    """The newest revision of which counts are stored; 0 where there is none."""
    return int(connection.execute("SELECT ifnull(max(revision), 0) FROM key_counts").get)


def extend_counts(connection: apsw.Connection, keys: KeyIndex, after: int, last: int) -> None:
    """Extend counts of revision `after` to `last`, which the state is at, and store them."""
    added, removed = _added_and_removed(connection.execute(_CHANGED_IN_LOG, (after, last)))
    keys.change(added, removed)
    keys.balance(partial(state_table.keys, connection))
    store_counts(connection, KeyCounts(last, keys))


class KeysAtRevision:
    """The keys at `revision`. `counts` are those of a later one, perhaps the newest."""

    def __init__(self, connection: apsw.Connection, revision: int, counts: KeyCounts) -> None:
        """Count the keys at `revision` back from the stored counts that are nearest."""
        self.revision = revision
        self._index = _counted_back(
            connection, revision, _nearest_counts(connection, revision, counts)
        )
        self._keys: list[str] | None = None
        if self._index.total <= MAX_LISTED:
            self._keys = sorted(key for (key,) in connection.execute(_KEYS_AT, {"at": revision}))

    def count(self, connection: apsw.Connection, low: str, high: str) -> int:
        """How many keys lay in [low, high) at the revision."""
        if self._keys is not None:
            return bisect_left(self._keys, high) - bisect_left(self._keys, low)
        return self._index.count(low, high, self._counter(connection))

    def listed(
        self, connection: apsw.Connection, low: str, high: str, limit: int, offset: int = 0
    ) -> list[str]:
        """At most `limit` keys in [low, high) at the revision, after the first `offset`."""
        if self._keys is not None:
            start = bisect_left(self._keys, low) + offset
            return self._keys[start : min(start + limit, bisect_left(self._keys, high))]
        start_key, skip = low, offset
        if offset:
            start_key, skip = self._index.seek(low, offset, self._counter(connection))
        bound = {"low": start_key, "high": high, "limit": limit, "skip": skip}
        rows = connection.execute(_LIST, bound | {"at": self.revision})
        return [key for (key,) in rows]

    def _counter(self, connection: apsw.Connection) -> CountRange:
        """A function that counts the keys of the revision in [low, high) by the log."""

        def count(low: str, high: str) -> int:
            bound = {"low": low, "high": high, "at": self.revision}
            return int(connection.execute(_COUNT, bound).get)

        return count


def _nearest_counts(connection: apsw.Connection, revision: int, counts: KeyCounts) -> KeyCounts:
    """The earliest stored counts of `revision` or later, else the given ones.

    Never those of an earlier one: retention may have removed what was deleted since then.
    """
    for row in connection.execute(_STORED_COUNTS, (revision, counts.revision)):
        return KeyCounts(row[0], KeyIndex.decode(row[1]))
    return counts


def _counted_back(connection: apsw.Connection, revision: int, counted: KeyCounts) -> KeyIndex:
    """Counts corrected back to `revision`: without keys added since, with those removed since."""
    bound = {"after": revision, "last": counted.revision}
    added, removed = _added_and_removed(connection.execute(_ADDED_OR_REMOVED, bound))
    counted.keys.change(removed, added)
    return counted.keys


def _added_and_removed(events: Iterable[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
    """The added keys and the removed keys, sorted; a key may be in both, more than once."""
    added: list[str] = []
    removed: list[str] = []
    for key, is_removed in events:
        (removed if is_removed else added).append(key)
    return sorted(added), sorted(removed)


_KEYS_AT: Final = """
SELECT key FROM state INDEXED BY state_by_born WHERE born <= :at
UNION ALL
SELECT key FROM lives INDEXED BY lives_by_died WHERE died > :at AND +born <= :at
"""
_LIST: Final = """
SELECT key FROM state WHERE key >= :low AND key < :high AND +born <= :at
UNION ALL
SELECT key FROM lives WHERE key >= :low AND key < :high AND +born <= :at AND +died > :at
ORDER BY key LIMIT :limit OFFSET :skip
"""
_COUNT: Final = """
SELECT (
    SELECT count(*) FROM state WHERE key >= :low AND key < :high AND +born <= :at
) + (
    SELECT count(*) FROM lives WHERE key >= :low AND key < :high AND +born <= :at AND +died > :at
)
"""
_STORED_COUNTS: Final = """
SELECT revision, buckets FROM key_counts WHERE revision >= ? AND revision <= ?
ORDER BY revision LIMIT 1
"""
_CHANGED_IN_LOG: Final = """
SELECT c.key, c.value IS NULL FROM changes c
WHERE c.revision > ? AND c.revision <= ? AND (c.value IS NULL) <> ifnull((
    SELECT p.value IS NULL FROM changes p WHERE p.key = c.key AND p.revision < c.revision
    ORDER BY p.revision DESC LIMIT 1
), 1)
"""
"""Keys that were added or removed, compared with their previous change: a log may delete absent
keys."""
_ADDED_OR_REMOVED: Final = """
SELECT key, 0 FROM state INDEXED BY state_by_born WHERE born > :after AND born <= :last
UNION ALL
SELECT key, 0 FROM lives INDEXED BY lives_by_born WHERE born > :after AND born <= :last
UNION ALL
SELECT key, 1 FROM lives INDEXED BY lives_by_died WHERE died > :after AND died <= :last
"""
