"""The event log in the read model's own SQLite file: both in one durable commit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw

from server import log, room
from server.database import Database
from server.engines.base import LogConflict
from server.errors import Unavailable
from server.events import Transaction
from server.failures import reason

INLINE_CHANGES: Final = 500
"""Up to here rows are written where the caller runs and only a COMMIT that waits for the disk goes
through `blocking`: a native thread would take the interpreter lock once a statement, for less work
than that costs."""

_NOTHING_WRITTEN: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
)


def directly(work: Callable[[], None]) -> None:
    work()


def nothing() -> None:
    """The log is in this file alone."""


class SqliteEngine:
    """`blocking` runs what waits for the disk, in the server its native thread; `aside` runs what
    nobody waits for.
    """

    name = "SQLite"
    max_bytes = None

    def __init__(
        self,
        database: Database,
        blocking: Callable[[Callable[[], None]], None] = directly,
        aside: Callable[[Callable[[], None]], object] = directly,
    ) -> None:
        self._database = database
        self._connection = database.writer
        self._blocking = blocking
        self._aside = aside
        self._is_full = False
        """Whether the last append found no room."""
        self.durability = "on disk before acknowledged" if database.path else "in memory only"

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        also: Callable[[], None],
        takes_long: bool = False,
        before_commit: Callable[[], None] = nothing,
    ) -> None:
        """See `Engine`. Where `before_commit` raises, nothing is written."""

        def write() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            if (actual := log.last_revision(self._connection)) != expected:
                raise LogConflict(actual)
            if transactions:
                log.insert(self._connection, transactions)
            also()

        self._make_room(transactions)
        try:
            changes = sum(len(transaction.changes) for transaction in transactions)
            is_large = takes_long or changes > INLINE_CHANGES
            at_once = not is_large and self._database.commits_at_once(changes)
            if is_large:
                self._blocking(write)
            else:
                write()
            if problem := self._database.presence.problem():
                raise Unavailable(f"{problem} Nothing was changed.")
            before_commit()
            if at_once:
                self._commit()
            else:
                self._blocking(self._commit)
        except _NOTHING_WRITTEN as error:
            self._found_no_room()
            why = f"The store cannot be written: {reason(error)}. Nothing was changed."
            raise Unavailable(why) from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._committed()

    def forget(self, identity: str) -> None:
        """Let the command id be used again."""
        log.forget(self._connection, identity)

    def read(self, after: int, limit: int) -> list[Transaction]:
        return log.read(self._connection, after, limit)

    def last_revision(self) -> int:
        return log.last_revision(self._connection)

    def _make_room(self, transactions: Sequence[Transaction]) -> None:
        """Raises `Unavailable` where these would take the last room, which deleting needs."""
        path = self._database.path
        if path is None or room.makes_room(transactions) or room.free(path) is None:
            return
        needed = room.KEPT + room.wanted(transactions)
        if self._left(path) < needed:
            self._blocking(self._database.shorten)
        if (left := self._left(path)) < needed:
            raise Unavailable(
                f"The store cannot be written: its disk is full but for {max(left, 0):,} bytes, "
                f"and {room.KEPT:,} are kept for deleting. Nothing was changed."
            )

    def _committed(self) -> None:
        if self._is_full:  # what was deleted may be written to again
            self._is_full = False
            self._blocking(self._database.shorten)
        self._database.checkpoint_when_due(self._aside)

    def _found_no_room(self) -> None:
        """Twice in a row, as where a quota ends: the write-ahead log must not grow any more."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if self._is_full:
            self._blocking(self._database.shorten)
        self._is_full = True

    def _left(self, path: Path) -> int:
        """What is free once all of the write-ahead log has been brought to the file, and in it."""
        free = room.free(path)
        return room.PLENTY if free is None else free + self._database.reserve()

    def _commit(self) -> None:
        self._connection.execute("COMMIT")
