"""Queries of the event log: a key's history, differences, and which revision was when."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

from signalbox.server.model import reversal
from signalbox.server.model.events import Transaction
from signalbox.server.model.horizons import Horizons
from signalbox.server.read import log_sql
from signalbox.server.read.difference_count import DifferenceCount
from signalbox.server.read.log_sql import Diff, History
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.store import log_table
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.store.reader_pool import ReaderPool

CACHED_DIFFS: Final = 32
"""Pairs of revisions whose number of differing keys is remembered."""
CACHED_TIMES: Final = 1_000
"""Times whose revision is remembered: the limits of the intervals that windows show."""


class LogQueries:
    """Each query reads one snapshot; those that may take long run in a native thread."""

    def __init__(self, readers: ReaderPool) -> None:
        """Queries of the event log on snapshots of `readers`."""
        self._readers = readers
        self._differences = lru_cache(CACHED_DIFFS)(self._count_differences)
        self._last_before = lru_cache(CACHED_TIMES)(self._find_last_before)

    def history(self, key: str, before: int | None = None, limit: int = 100) -> History:
        """The versions of a key, newest first, below revision `before`."""
        return self._readers.in_thread(
            lambda connection: log_sql.history(connection, key, before, limit)
        )

    def diff(
        self, since: int, until: int, match: str = "**", after: str | None = None, limit: int = 100
    ) -> Diff:
        """The differences between two revisions, in either direction, in key order."""
        page = self._readers.in_thread(
            lambda connection: log_sql.diff(connection, since, until, match, after, limit)
        )
        total, unknown = self._differences(since, until, match, self.horizons())
        return page._replace(total=total, compacted=unknown)

    def transactions(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, as streams resume with."""
        with self._readers.snapshot() as connection:
            return log_table.read(connection, after, limit)

    def reversed_among(self, revisions: Iterable[int]) -> set[int]:
        """The transactions among `revisions` that are undone now."""
        with self._readers.snapshot() as connection:
            reversal_log = SqlReversalLog(connection)
            return {
                revision for revision in revisions if reversal.is_reversed(reversal_log, revision)
            }

    def parse_revision(self, text: str, name: str = "at") -> int:
        """The revision that a text names: a number, or an ISO 8601 time. Raises `Invalid`.

        `name` is the parameter that the text is the value of.
        """
        with self._readers.snapshot() as connection:
            return log_sql.parse_revision(connection, text, name)

    def revision_at(self, at: int) -> int:
        """The last revision not later than a time in ms."""
        with self._readers.snapshot() as connection:
            return log_sql.revision_at(connection, at)

    def time_of(self, revision: int) -> int:
        """When a revision was made, in ms; 0 before the first."""
        with self._readers.snapshot() as connection:
            return log_sql.time_of(connection, revision)

    def first_time(self) -> int:
        """When the oldest transaction that is kept was made, in ms; 0 where there is none."""
        with self._readers.snapshot() as connection:
            return log_sql.first_time(connection)

    def actors(self, prefix: str) -> list[str]:
        """Actors whose names begin with `prefix`, up to a dot, the last one to write first."""
        with self._readers.snapshot() as connection:
            return log_sql.actors(connection, prefix)

    def transactions_per_interval(self, start: int, length: int, count: int) -> list[int]:
        """How many transactions fall into each of `count` intervals of `length` ms from `start`."""
        horizons = self.horizons()
        with self._readers.snapshot() as connection:
            revisions = [log_sql.newest(connection)]
        # Retention may have removed the transaction of a horizon.
        revisions += [(horizon.revision, horizon.at) for horizon in horizons]
        newest, newest_at = (max(column) for column in zip(*revisions, strict=True))
        limits = range(start, start + (count + 1) * length, length)
        cuts = [
            newest if limit > newest_at else self._last_before(limit, horizons) for limit in limits
        ]
        # What was remembered before retention removed a transaction may be later than what follows.
        return [later - earlier for earlier, later in pairwise(accumulate(cuts, max))]

    def horizons(self) -> Horizons:
        """The retention horizons: the oldest complete revision of each prefix."""
        with self._readers.snapshot() as connection:
            return read_horizons(connection)

    def _find_last_before(self, limit: int, _: Horizons) -> int:
        """The last revision before a time (ms) that is not later than the newest transaction: it
        stays so, since times never decrease, until retention changes the horizons.
        """
        return self.revision_at(limit - 1)

    def _count_differences(
        self, since: int, until: int, match: str, _: Horizons
    ) -> tuple[int, list[str]]:
        """A count stays true until retention changes the horizons, which are part of its key."""
        count = DifferenceCount(since, until, match)
        while self._readers.in_thread(count.examine):
            pass  # others have the thread in between
        with self._readers.snapshot() as connection:
            return count.total, log_sql.incomplete_prefixes(connection, since, until, match)
