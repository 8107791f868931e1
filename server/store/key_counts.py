"""Which keys existed at an earlier revision: counted, listed and found without replaying the log.

Where they were few, they are listed once. Else how many lay where is told by counts that are kept
every so many changes, corrected by the keys that came and went between.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.store import state
from signalbox.server.store.key_index import CountRange, KeyIndex

CHANGED_KEYS_PER_COUNT: Final = 1_000
"""Keys that came or went between two revisions of which the counts are kept."""
BUCKETS: Final = 4_096
MAX_LISTED: Final = 2_000
"""So many keys are listed; of more it is counted how many lie where."""


class KeyCounts(NamedTuple):
    """How many keys lay where at a revision."""

    revision: int
    keys: KeyIndex


def store_counts(connection: apsw.Connection, counted: KeyCounts) -> None:
    """Keep counts for the questions of later, within the open transaction."""
    row = (counted.revision, counted.keys.copy(BUCKETS).encode())
    connection.execute(
        "INSERT OR REPLACE INTO key_counts VALUES (?1, ?2, row_checksum(?1, ?2))", row
    )


def last_stored(connection: apsw.Connection) -> int:
    """The newest revision of which counts are stored; 0 where there is none."""
    return int(connection.execute("SELECT ifnull(max(revision), 0) FROM key_counts").get)


def extend_counts(connection: apsw.Connection, keys: KeyIndex, after: int, last: int) -> None:
    """Carry counts of revision `after` on to `last`, whose state is there, and keep them."""
    came, went = _added_and_removed(connection.execute(_LOGGED, (after, last)))
    keys.change(came, went)
    keys.balance(partial(state.keys, connection))
    store_counts(connection, KeyCounts(last, keys))


class KeysAtRevision:
    """The keys at `revision`. `present` are the counts of a later one, perhaps the newest."""

    def __init__(self, connection: apsw.Connection, revision: int, present: KeyCounts) -> None:
        self.revision = revision
        self._index = _counted_back(
            connection, revision, _nearest_counts(connection, revision, present)
        )
        self._few: list[str] | None = None
        if self._index.total <= MAX_LISTED:
            self._few = sorted(key for (key,) in connection.execute(_ALL, {"at": revision}))

    def count(self, connection: apsw.Connection, low: str, high: str) -> int:
        """How many lie in [low, high)."""
        if self._few is not None:
            return bisect_left(self._few, high) - bisect_left(self._few, low)
        return self._index.count(low, high, self._counter(connection))

    def listed(
        self, connection: apsw.Connection, low: str, high: str, limit: int, offset: int = 0
    ) -> list[str]:
        """At most `limit` of those in [low, high) behind the first `offset`, in order."""
        if self._few is not None:
            start = bisect_left(self._few, low) + offset
            return self._few[start : min(start + limit, bisect_left(self._few, high))]
        start_key, skip = low, offset
        if offset:
            start_key, skip = self._index.seek(low, offset, self._counter(connection))
        bound = {"low": start_key, "high": high, "limit": limit, "skip": skip}
        rows = connection.execute(_LIST, bound | {"at": self.revision})
        return [key for (key,) in rows]

    def _counter(self, connection: apsw.Connection) -> CountRange:
        def count(low: str, high: str) -> int:
            bound = {"low": low, "high": high, "at": self.revision}
            return int(connection.execute(_COUNT, bound).get)

        return count


def _nearest_counts(connection: apsw.Connection, revision: int, present: KeyCounts) -> KeyCounts:
    """The earliest counts that are kept of `revision` or later.

    Never of an earlier one: what died between that and `revision` may have been forgotten.
    """
    for row in connection.execute(_KEPT, (revision, present.revision)):
        return KeyCounts(row[0], KeyIndex.decode(row[1]))
    return present


def _counted_back(connection: apsw.Connection, revision: int, counted: KeyCounts) -> KeyIndex:
    """Counted back to `revision`: what came since had not been there, what went had."""
    bound = {"after": revision, "last": counted.revision}
    came, went = _added_and_removed(connection.execute(_EVENTS, bound))
    counted.keys.change(went, came)
    return counted.keys


def _added_and_removed(events: Iterable[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
    """The keys that came and those that went, sorted; a key may do both, more than once."""
    came: list[str] = []
    went: list[str] = []
    for key, is_gone in events:
        (went if is_gone else came).append(key)
    return sorted(came), sorted(went)


_ALL: Final = """
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
_KEPT: Final = """
SELECT revision, buckets FROM key_counts WHERE revision >= ? AND revision <= ?
ORDER BY revision LIMIT 1
"""
_LOGGED: Final = """
SELECT c.key, c.value IS NULL FROM changes c
WHERE c.revision > ? AND c.revision <= ? AND (c.value IS NULL) <> ifnull((
    SELECT p.value IS NULL FROM changes p WHERE p.key = c.key AND p.revision < c.revision
    ORDER BY p.revision DESC LIMIT 1
), 1)
"""
"""What came or went, by what the log has of the key before: it may delete what is not there."""
_EVENTS: Final = """
SELECT key, 0 FROM state INDEXED BY state_by_born WHERE born > :after AND born <= :last
UNION ALL
SELECT key, 0 FROM lives INDEXED BY lives_by_born WHERE born > :after AND born <= :last
UNION ALL
SELECT key, 1 FROM lives INDEXED BY lives_by_died WHERE died > :after AND died <= :last
"""
