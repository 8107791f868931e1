"""Read-only connections to the store: one for short queries, a pool of threads for long ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar
from weakref import WeakSet

import apsw
import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.store import log_table
from signalbox.server.store.database import Database
from signalbox.server.store.read_errors import is_read_error

Result = TypeVar("Result")

THREADS: Final = 2
INTERRUPT_SECONDS: Final = 0.01
"""Between two attempts to end a query."""


class ReaderPool:
    """Connections are opened as they are needed. One that has failed is never used again: after a
    full disk it may have been unable to map the write-ahead log's index, and then fails for good.

    `on_snapshot` is called with the revision of each snapshot that `snapshot` begins.
    """

    def __init__(
        self,
        database: Database,
        on_snapshot: Callable[[int], None] | None = None,
        threads: int = THREADS,
    ) -> None:
        """A pool of connections to `database`; queries run in so many native threads."""
        self._database = database
        self._on_snapshot = on_snapshot
        self._opened: WeakSet[apsw.Connection] = WeakSet()
        self._direct = self._connect()
        self._threads = ThreadPool(threads)
        self._free = BoundedSemaphore(threads)
        """Who waits for a thread has no connection yet, which takes memory and open files."""
        self._idle: list[apsw.Connection] = []

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """One consistent view of the store, read where the caller runs. Do not wait inside.

        Raises `Unavailable` where the store cannot be read; other errors pass through.
        """
        connection, revision = self._with_direct(_begin_transaction)
        if self._on_snapshot:
            self._on_snapshot(revision)
        try:
            try:
                yield connection
            finally:
                _end_transaction(connection)
        except Exception as error:
            if is_read_error(error):
                raise self.unreadable(error) from error
            raise

    def row(self, sql: str, bound: tuple[Any, ...]) -> tuple[Any, ...]:
        """The one row of a short query, without its first column: the newest revision of the log.

        As in a `snapshot` of its own, which takes three statements more.
        """
        row = self._with_direct(lambda connection: connection.execute(sql, bound).get)
        if self._on_snapshot:
            self._on_snapshot(row[0])
        return tuple(row[1:])

    def in_thread(self, query: Callable[[apsw.Connection], Result]) -> Result:
        """Run `query` on a snapshot of its own in a native thread; only the caller waits.

        Where the caller is killed meanwhile, the query is ended as well. Raises `Unavailable` where
        the store cannot be read, and what `query` raises.
        """
        self._free.acquire()
        must_release = True
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            running: AsyncResult[Result | Exception]
            running = self._threads.spawn(_in_transaction, connection, query)
            try:
                result = running.get()
            except BaseException:
                must_release = False
                gevent.spawn(self._interrupt, connection, running)
                raise
            if isinstance(result, Exception) and is_read_error(result):
                connection.close(force=True)
                raise self.unreadable(result) from result
            self._idle.append(connection)
        finally:
            if must_release:
                self._free.release()
        if isinstance(result, Exception):
            raise result
        answer: Result = result  # type: ignore[assignment]
        return answer

    def unreadable(self, error: Exception) -> Unavailable:
        """The error of a query that could not read; as `OpenFiles.unreadable`."""
        return self._database.open_files.unreadable(error)

    def close(self) -> None:
        """Wait for threads whose callers were killed, then close everything.

        SQLite brings the write-ahead log to the file only when the last connection closes.
        """
        for connection in list(self._opened):
            with suppress(apsw.ConnectionClosedError):
                connection.interrupt()
        self._threads.join()
        for connection in list(self._opened):
            connection.close()

    def _interrupt(self, connection: apsw.Connection, running: "AsyncResult[Any]") -> None:
        """End a query that nobody waits for any more, and close its connection."""
        with suppress(apsw.ConnectionClosedError):  # by `close`
            while not running.ready():
                connection.interrupt()
                running.wait(INTERRUPT_SECONDS)  # it may have been between two statements
        connection.close(force=True)
        self._free.release()

    def _with_direct(self, query: Callable[[apsw.Connection], Result]) -> Result:
        """Run a short query; a connection that has failed is replaced once."""
        try:
            try:
                return query(self._direct)
            except apsw.Error:
                self._direct.close(force=True)
                self._direct = self._connect()
            return query(self._direct)
        except Exception as error:
            if is_read_error(error):
                raise self.unreadable(error) from error
            raise

    def _connect(self) -> apsw.Connection:
        """Open a read-only connection. Raises `Unavailable` where the store cannot be read."""
        try:
            connection = self._database.reader()
        except Exception as error:
            if isinstance(error, StoreError) or is_read_error(error):
                raise self.unreadable(error) from error
            raise
        self._opened.add(connection)
        return connection


def _begin_transaction(connection: apsw.Connection) -> tuple[apsw.Connection, int]:
    """Begin a snapshot on a read-only connection, and return its revision with it."""
    connection.execute("BEGIN")
    return connection, log_table.last_revision(connection)


def _in_transaction(
    connection: apsw.Connection, query: Callable[[apsw.Connection], Result]
) -> Result | Exception:
    """Errors are returned, not raised: the thread pool would print their tracebacks."""
    try:
        connection.execute("BEGIN")
        try:
            return query(connection)
        finally:
            _end_transaction(connection)
    except Exception as error:  # noqa: BLE001 - raised by `in_thread`
        return error


def _end_transaction(connection: apsw.Connection) -> None:
    """End a reader's snapshot, unless SQLite has ended it after an error."""
    if connection.in_transaction:
        connection.execute("COMMIT")
