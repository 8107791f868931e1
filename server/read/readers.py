"""The connections that only read: one for quick questions, some for native threads."""

from collections.abc import Callable
from typing import Final, TypeVar
from weakref import WeakSet

import apsw
from gevent.threadpool import ThreadPool

from signalbox.server.model.errors import SignalboxError, StoreError, Unavailable
from signalbox.server.read import search
from signalbox.server.store import log
from signalbox.server.store.database import Database

Result = TypeVar("Result")

THREADS: Final = 2
UNREADABLE: Final = (apsw.Error, UnicodeDecodeError)
"""What reading ends with where SQLite cannot, or where a text is none."""


class Readers:
    """Connections are opened as they are needed.

    One that has failed is not asked again: as on a full disk it may have been unable to map the
    log's index, and then fails for good.
    """

    def __init__(self, database: Database, threads: int = THREADS) -> None:
        self._database = database
        self._opened: WeakSet[apsw.Connection] = WeakSet()
        self._here = self._connect()
        self._pool = ThreadPool(threads)
        self._idle: list[apsw.Connection] = []

    def begin(self) -> tuple[apsw.Connection, int]:
        """The connection for quick questions with a transaction open, and the revision it sees.

        Raises `Unavailable` where the store cannot be read.
        """
        try:
            return _begun(self._here)
        except UNREADABLE:
            self._here.close(force=True)
            self._here = self._connect()
        try:
            return _begun(self._here)
        except UNREADABLE as error:
            raise self.unreadable(error) from error

    def in_thread(self, question: Callable[[apsw.Connection], Result]) -> Result:
        """Answer from a snapshot of its own in a native thread; only the caller waits.

        Raises `Unavailable` where the store cannot be read.
        """
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            result = self._pool.apply(_in_transaction, (connection, question))
        except Exception:
            self._idle.append(connection)
            raise
        if isinstance(result, UNREADABLE):
            connection.close(force=True)
            raise self.unreadable(result) from result
        # Whoever is killed while it waits leaves the connection to the thread that still uses it.
        self._idle.append(connection)
        if isinstance(result, SignalboxError):
            raise result
        answer: Result = result
        return answer

    def unreadable(self, error: Exception) -> Unavailable:
        """As `OpenFiles.unreadable`."""
        return self._database.open_files.unreadable(error)

    def close(self) -> None:
        """Wait for threads whose askers were killed, then close everything.

        SQLite brings the write-ahead log to the file only when the last connection goes.
        """
        self._pool.join()
        for connection in list(self._opened):
            connection.close()

    def _connect(self) -> apsw.Connection:
        try:
            connection = self._database.reader()
            self._opened.add(connection)
            search.enable(connection)
        except (StoreError, *UNREADABLE) as error:
            raise self.unreadable(error) from error
        return connection


def _begun(connection: apsw.Connection) -> tuple[apsw.Connection, int]:
    connection.execute("BEGIN")
    return connection, log.last_revision(connection)


def _in_transaction(
    connection: apsw.Connection, question: Callable[[apsw.Connection], Result]
) -> Result | SignalboxError | apsw.Error | UnicodeDecodeError:
    """A refusal is a result here, as is what `unreadable` takes: the pool would print what is
    raised.
    """
    try:
        connection.execute("BEGIN")
        try:
            return question(connection)
        finally:
            connection.execute("COMMIT")
    except (SignalboxError, *UNREADABLE) as error:
        return error
