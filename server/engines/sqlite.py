"""The event log in the store's own SQLite file, or in memory: log and state in one commit."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import apsw
import gevent

from signalbox.server.engines.engine_interface import LogConflict
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.runtime.error_messages import CERTAIN_DAMAGE, reason
from signalbox.server.store import log_table
from signalbox.server.store.database import BUSY_TIMEOUT_MS, Database
from signalbox.server.store.disk_reserve import DiskReserve, only_deletes

IN_A_FILE: Final = "SQLite", "on disk before acknowledged"
IN_MEMORY: Final = "Memory", "in memory only, gone when the server ends"
INLINE_CHANGES: Final = 500
"""Up to so many changes rows are written in the calling thread, and only a COMMIT that waits for
the disk goes through `blocking`: a native thread takes the interpreter lock for each statement,
which costs more than these few rows."""

LOCKED_SECONDS: Final = 5.0
"""How long another program may hold the file locked before commands are refused."""
FORGOTTEN_SECONDS: Final = 1.0
"""After so long without an attempt to begin, another program's lock counts as a new one."""
RETRY_SECONDS: Final = 0.02
"""Between two attempts to begin then; SQLite tells nobody that a lock was given up."""

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


Run = Callable[[Callable[[], None]], None]
"""Runs a function, here or on a thread, and returns when that has ended."""


def run_inline(work: Callable[[], None]) -> None:
    """Run a commit in the calling thread, not in a native one."""
    work()


def do_nothing() -> None:
    """The `before_commit` of a log that is in this file alone."""


class SqliteEngine:
    """See `Engine`. `blocking` runs what waits for the disk, in the server on its native thread.

    `in_background` runs what no one waits for.
    """

    max_bytes = None

    def __init__(
        self,
        database: Database,
        blocking: Run = run_inline,
        in_background: Callable[[Callable[[], None]], object] = run_inline,
    ) -> None:
        """The engine whose log is in the store's own file, `database`."""
        self._database = database
        self._connection = database.writer
        if database.path is None:
            # In memory a reader waits for a writer, which must not wait for the reader's hub.
            blocking = in_background = run_inline
        self._blocking = blocking
        self._in_background = in_background
        self._reserve = DiskReserve(database, blocking)
        self._seen_locked_at = 0.0
        self._locked_since: float | None = None
        """When another program was first seen to hold the file locked, which it still does."""
        self.name, self.durability = IN_A_FILE if database.path else IN_MEMORY

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        within_commit: Callable[[], None],
        takes_long: bool = False,
        before_commit: Callable[[], None] = do_nothing,
    ) -> None:
        """See `Engine`. Where `before_commit` raises, nothing is written."""

        def write() -> None:
            if (actual := log_table.last_revision(self._connection)) != expected:
                raise LogConflict(actual)
            if transactions:
                log_table.insert(self._connection, transactions)
            within_commit()

        try:
            if transactions or not takes_long:  # else it is a job, such as compaction
                self._reserve.check_space(transactions, expected)
            run_writes, run_commit = self._threads(transactions, takes_long)
            self._begin()
            with self._database.recent_items.changing(transactions):
                run_writes(write)
                self._check_open_files()
                before_commit()
                run_commit(self._commit)
        except LogConflict:
            self._check_open_files()  # the file may have been replaced
            raise
        except _NOTHING_WRITTEN as error:
            self._rollback()
            raise self._not_written(transactions, error) from error
        finally:
            self._rollback()
        self._reserve.committed()
        self._database.checkpoint_when_due(self._in_background, self._blocking)

    def _begin(self) -> None:
        """Begin to write. Where another program holds the file locked, others go on meanwhile.

        Raises `apsw.BusyError` where it has been locked for `LOCKED_SECONDS`.
        """
        self._connection.set_busy_timeout(0)
        try:
            while not self._has_begun():
                gevent.sleep(RETRY_SECONDS)
        finally:
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def _has_begun(self) -> bool:
        """Begin a transaction of SQLite; False while another program holds its lock."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            now = monotonic()
            if self._locked_since is None or now - self._seen_locked_at > FORGOTTEN_SECONDS:
                self._locked_since = now
            self._seen_locked_at = now
            if now > self._locked_since + LOCKED_SECONDS:
                raise
            return False
        self._locked_since = None
        return True

    def _threads(self, transactions: Sequence[Transaction], takes_long: bool) -> tuple[Run, Run]:
        """What runs the writing of rows, and what runs their commit."""
        changes = sum(len(transaction.changes) for transaction in transactions)
        if takes_long or changes > INLINE_CHANGES:
            return self._blocking, self._blocking
        without_sync = self._database.commits_without_sync(changes)
        return run_inline, run_inline if without_sync else self._blocking

    def _not_written(self, transactions: Sequence[Transaction], error: Exception) -> Unavailable:
        """The refusal after an error of SQLite."""
        if isinstance(error, CERTAIN_DAMAGE):
            return _unavailable(str(self._database.open_files.unreadable(error)))
        self._reserve.failed()
        hint = ", or delete fewer keys at once" if only_deletes(transactions) else ""
        why = f"The store cannot be written: {reason(error)}{hint}."
        return _unavailable(self._database.open_files.problem() or why)

    def _check_open_files(self) -> None:
        """Raises `Unavailable` where the store's files were replaced or are damaged."""
        if problem := self._database.open_files.problem():
            self._database.open_files.command_refused = True
            raise _unavailable(problem)

    def release_id(self, identity: str) -> None:
        """Let another transaction have this command id: see `log_table.release_id`."""
        log_table.release_id(self._connection, identity)

    def read(self, after: int, limit: int) -> list[Transaction]:
        """Read transactions from the tables of the log in the store."""
        return log_table.read(self._connection, after, limit)

    def last_revision(self) -> int:
        """The newest revision in the store's own log."""
        return log_table.last_revision(self._connection)

    def _rollback(self) -> None:
        """Roll back the open transaction of SQLite, unless an error has ended it."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _commit(self) -> None:
        """Commit log and state in SQLite: from now on both are on the disk."""
        self._connection.execute("COMMIT")


def _unavailable(why: str) -> Unavailable:
    """The error of a commit that SQLite could not write."""
    return Unavailable(f"{why} Nothing was changed.")
