"""What the read model answers about the event log: history, differences, what was when."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Final, TypeVar

import apsw

from signalbox.server.model import reversal
from signalbox.server.model.horizons import Horizon
from signalbox.server.read import history
from signalbox.server.read.history import Diff, History
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.store.horizons import read_horizons

Result = TypeVar("Result")

REMEMBERED: Final = 32
"""Pairs of revisions of which it stays known how many keys differ."""


class LogQueries(ABC):
    """A part of `ReadModel`, which lends its connections."""

    def __init__(self) -> None:
        self._differences = lru_cache(REMEMBERED)(self._count_differences)

    @property
    @abstractmethod
    def revision(self) -> int:
        """The last transaction's that queries see."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[apsw.Connection]:
        """One consistent view. Do not wait inside."""

    @abstractmethod
    def in_thread(self, question: Callable[[apsw.Connection], Result]) -> Result:
        """Answer in a native thread."""

    def history(self, key: str, before: int | None = None, limit: int = 100) -> History:
        """What the key was, newest first, below revision `before`."""
        return self.in_thread(lambda connection: history.history(connection, key, before, limit))

    def diff(
        self, since: int, until: int, match: str = "**", after: str | None = None, limit: int = 100
    ) -> Diff:
        """What differs between two revisions, in either direction, in key order."""
        page = self.in_thread(
            lambda connection: history.diff(connection, since, until, match, after, limit)
        )
        total, unknown = self._differences(since, until, match, tuple(self.horizons()))
        return page._replace(total=total, compacted=unknown)

    def neighbour(self, revision: int, forwards: bool, match: str = "**") -> int | None:
        """The next or previous revision that changed a matching key."""
        return self.in_thread(
            lambda connection: history.neighbour(connection, revision, forwards, match)
        )

    def undone(self, revisions: Iterable[int]) -> set[int]:
        """Those of the transactions that are reversed now."""
        with self.snapshot() as connection:
            book = SqlReversalLog(connection)
            return {one for one in revisions if reversal.is_reversed(book, one)}

    def moment(self, text: str, name: str = "at") -> int:
        """The revision that a text names: a number, or an ISO 8601 time. Raises `Invalid`."""
        with self.snapshot() as connection:
            return history.moment(connection, text, self.revision, name)

    def revision_at(self, at: int) -> int:
        """The last revision not later than a time in ms."""
        with self.snapshot() as connection:
            return history.revision_at(connection, at)

    def time_of(self, revision: int) -> int:
        """When a revision was made, in ms; 0 before the first."""
        with self.snapshot() as connection:
            return history.time_of(connection, revision)

    def first_time(self) -> int:
        """When the oldest transaction that is kept was made, in ms; 0 where there is none."""
        with self.snapshot() as connection:
            return history.first_time(connection)

    def actors(self, prefix: str) -> list[str]:
        """Whose names begin with `prefix`, up to a dot, who wrote last first."""
        with self.snapshot() as connection:
            return history.actors(connection, prefix)

    def ticks(self, start: int, end: int, count: int) -> list[int]:
        """How many transactions fall into each of `count` equal stretches of [start, end) ms."""
        with self.snapshot() as connection:
            return history.ticks(connection, start, end, count)

    def free_bytes(self) -> int:
        """What was removed and later writes will use again."""
        with self.snapshot() as connection:
            return int(connection.execute(_FREE).get)

    def horizons(self) -> list[Horizon]:
        """From which moment on which keys' past is whole."""
        with self.snapshot() as connection:
            return read_horizons(connection)

    def _count_differences(
        self, since: int, until: int, match: str, _: tuple[Horizon, ...]
    ) -> tuple[int, list[str]]:
        """What was counted for one page is true for the next, until more of the past is removed."""
        return self.in_thread(
            lambda connection: history.count_differences(connection, since, until, match)
        )


_FREE: Final = """
SELECT free.freelist_count * size.page_size
FROM pragma_freelist_count() free, pragma_page_size() size
"""
