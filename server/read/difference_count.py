"""Counts the keys that differ between two revisions, mostly without a look at their values."""

from typing import Final

import apsw

from signalbox.server.model.horizons import without_reserved
from signalbox.server.model.keys import compile_pattern
from signalbox.server.read import log_sql
from signalbox.server.store.horizons_table import read_horizons

SLICE: Final = 5_000
"""Keys, or their earlier lives, that are examined in one snapshot."""


class DifferenceCount:
    """Counts slice by slice. A key that exists at one of the revisions alone differs; values are
    compared where it exists at both.

    Each slice may read another snapshot: a read transaction that is held for long keeps the
    write-ahead log from being reused.
    """

    def __init__(self, since: int, until: int, match: str) -> None:
        """Count the differing keys that match, between the revisions `since` and `until`."""
        self._first, self._last = min(since, until), max(since, until)
        self._pattern = compile_pattern(match)
        self._keys = log_sql.ChangedKeys(self._first, self._last, self._pattern)
        self._low = self._pattern.low
        self.total = 0

    def examine(self, connection: apsw.Connection) -> bool:
        """Examine the next keys; False where there are no more."""
        if self._pattern.is_range and not self._keys.are_few(connection):
            return self._examine_range(connection)
        keys = self._keys.take(connection)
        self._compare(connection, keys)
        return bool(keys)

    def _examine_range(self, connection: apsw.Connection) -> bool:
        """The same where the keys that match are those of one range."""
        low, end = self._low, self._pattern.high
        bounds = {"low": low, "high": end, "slice": SLICE}
        self._low = max(connection.execute(_SLICE_END, bounds).get, low + "\0")
        complete = read_horizons(connection).complete_ranges(self._first, low, self._low)
        if not self._pattern.shows_reserved:
            complete = without_reserved(complete)
        for start, stop in complete:
            bounds = {"low": start, "high": stop, "first": self._first, "last": self._last}
            self.total += int(connection.execute(_AT_ONE_ALONE, bounds).get)
            self._compare(connection, [key for (key,) in connection.execute(_AT_BOTH, bounds)])
        return self._low < end

    def _compare(self, connection: apsw.Connection, keys: list[str]) -> None:
        """Count those among `keys` whose values differ."""
        differing = log_sql.differences(connection, keys, self._first, self._last, self._pattern)
        self.total += sum(1 for _ in differing)


_SLICE_END: Final = """
SELECT min(
    ifnull((SELECT key FROM state WHERE key >= :low AND key < :high
        ORDER BY key LIMIT 1 OFFSET :slice), :high),
    ifnull((SELECT key FROM lives WHERE key >= :low AND key < :high
        ORDER BY key LIMIT 1 OFFSET :slice), :high)
)
"""
_LIVES: Final = """
WITH born (key) AS (
    SELECT key FROM state WHERE key >= :low AND key < :high AND +born > :first AND +born <= :last
    UNION ALL SELECT key FROM lives
    WHERE key >= :low AND key < :high AND +born > :first AND +born <= :last AND +died > :last
), died (key) AS (
    SELECT key FROM lives
    WHERE key >= :low AND key < :high AND +born <= :first AND +died > :first AND +died <= :last
)
"""
"""Keys with a life that has begun between the revisions and goes on, or has ended between them."""
_AT_ONE_ALONE: Final = f"""
{_LIVES} SELECT (SELECT count(*) FROM born) + (SELECT count(*) FROM died)
    - 2 * (SELECT count(*) FROM died WHERE key IN (SELECT key FROM born))
"""  # noqa: S608 - ours
_AT_BOTH: Final = f"""
{_LIVES} SELECT key FROM state
WHERE key >= :low AND key < :high AND +born <= :first AND +revision > :first
UNION ALL SELECT key FROM lives
WHERE key >= :low AND key < :high AND +born <= :first AND +died > :last
UNION ALL SELECT key FROM died WHERE key IN (SELECT key FROM born)
"""  # noqa: S608 - ours
"""Those that may have another value."""
