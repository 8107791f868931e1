"""The locations of the two logs of a migration, in a file or on a server, and access to both."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from signalbox.server.engines.address import Address, AddressError, read_address
from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.engines.shared_log import LogMetadata, SharedLog
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import COMPACTED, Transaction, checksum
from signalbox.server.store import log_table
from signalbox.server.store.database import Database
from signalbox.server.store.file_names import STORE_FILE
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.store.projection import Projection

RETRY_SECONDS: Final = 30.0
"""For how long a server that does not answer is tried again."""
PAUSE_SECONDS: Final = 0.5
BATCH: Final = 1_000
"""Transactions read or appended together, at most."""

Result = TypeVar("Result")


class Location(NamedTuple):
    """Either the `folder` of a SQLite file or an `address`. `name` is `text` without secrets."""

    text: str
    name: str
    folder: Path | None
    address: Address | None


def parse_location(text: str, data_dir: Path) -> Location:
    """The location in a text: `sqlite` is `data_dir`, `sqlite:DIR` another folder, else an address.

    Raises `AddressError`.
    """
    if text == "memory":
        raise AddressError("the engine memory is gone with its server and cannot be moved")
    if text == "sqlite" or text.startswith("sqlite:"):
        path = text.removeprefix("sqlite").removeprefix(":")
        try:
            folder = Path(path).expanduser().absolute() if path else data_dir
        except RuntimeError:
            raise AddressError(f"the folder {path} is in the home of nobody here") from None
        return Location(text, "sqlite" if folder == data_dir else f"sqlite:{folder}", folder, None)
    address = read_address(text)
    return Location(text, address.redacted, None, address)


class MigrationLog(Protocol):
    """The part of the interface of `SharedLog` that a migration needs."""

    @property
    def name(self) -> str:
        """What messages of the migration call the log: its address or its folder."""

    @property
    def max_bytes(self) -> int | None:
        """The log's limit for one encoded transaction, None where it has none."""

    @property
    def metadata(self) -> LogMetadata:
        """The metadata of the store whose log this is."""

    def last_revision(self) -> int:
        """The newest revision of the log, 0 where it is empty."""

    def newest_up_to(self, upto: int) -> Transaction | None:
        """The last transaction, at or below a revision, that retention has left."""

    def read(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`; a local log may have gaps."""

    def maybe_larger(self, limit: int, after: int) -> Iterator[Transaction]:
        """All transactions above revision `after` with more than `limit` bytes, and others too."""

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """Append to the log that is migrated to, directly after revision `expected`.

        Raises `LogConflict`, `Unavailable`.
        """

    def close(self) -> None:
        """Close the log once the migration has ended: its connection, or its store's file."""


class RemoteLog:
    """A log on a server. Reconnects where the connection is lost."""

    def __init__(self, shared: SharedLog, metadata: LogMetadata | None) -> None:
        """Connect to the log, which is created where there is none and `metadata` is given.

        Raises `StoreError`, `Unavailable`.
        """
        self._log = shared
        self.name = shared.address
        self.metadata = shared.connect(metadata).metadata

    @property
    def max_bytes(self) -> int | None:
        """The limit of the log's server for one transaction."""
        return self._log.max_bytes

    def last_revision(self) -> int:
        """The last revision of the log on the server."""
        return self._retry(self._log.last_revision)

    def newest_up_to(self, upto: int) -> Transaction | None:
        """The transaction of this revision: a log on a server has no gaps."""
        return next(iter(self.read(upto - 1, 1)), None)

    def read(self, after: int, limit: int) -> list[Transaction]:
        """Read transactions from the server, again where the connection was lost."""
        return self._retry(lambda: self._log.read(after, limit))

    def maybe_larger(self, limit: int, after: int) -> Iterator[Transaction]:
        """All transactions: a server does not give their sizes."""
        del limit
        while rows := self.read(after, BATCH):
            yield from rows
            after = rows[-1].revision

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """Append transactions on the server, again where it did not answer."""
        self._retry(lambda: self._log.append(transactions, expected))

    def close(self) -> None:
        """Close the connection to the log's server."""
        self._log.close()

    def _retry(self, work: Callable[[], Result]) -> Result:
        """Retry `work` while the server is unavailable; a repeated append never counts twice."""
        end = monotonic() + RETRY_SECONDS
        while True:
            try:
                return work()
            except (Unavailable, AppendIndeterminate) as error:
                if monotonic() > end:
                    raise Unavailable(f"{error} Start it again to go on.") from error
                sleep(PAUSE_SECONDS)
                with suppress(Unavailable):
                    self._reconnect()

    def _reconnect(self) -> None:
        """Connect to the remote log again. Raises `StoreError` where it is another store's now."""
        store, wanted = self._log.connect(None).metadata.store, self.metadata.store
        if store != wanted:
            self._log.close()
            raise StoreError(
                f"{self.name} was replaced meanwhile: it has the store {store} now, and had the "
                f"store {wanted}. Nothing more was copied."
            )


class LocalLog:
    """A log in a SQLite file, with its projection."""

    def __init__(self, folder: Path, metadata: LogMetadata | None, name: str) -> None:
        """Creates the file where there is none: check before that a source exists.

        The caller holds the folder's lock. Raises `StoreError`.
        """
        path = folder / STORE_FILE
        self.name = name
        self.max_bytes = None
        self.database = Database(path)
        self._engine = SqliteEngine(self.database)
        self._projection: Projection | None = None
        if metadata is not None:
            self.create_replica_if_empty(metadata)

    def create_replica_if_empty(self, metadata: LogMetadata) -> None:
        """Make an empty store the replica of the one with this metadata."""
        if not self.last_revision() and not self.database.meta("engine"):
            self.database.make_replica(metadata.store, None, metadata.horizons)

    @property
    def metadata(self) -> LogMetadata:
        """What a copy of the log must know of it: the store's id and its retention horizons."""
        horizons = read_horizons(self.database.writer)
        return LogMetadata(
            self.database.meta("store") or "",
            tuple(
                (horizon.prefix, horizon.revision, horizon.at)
                for horizon in horizons
                if horizon.revision or horizon.prefix
            ),
        )

    def last_revision(self) -> int:
        """The last revision of the log in the file."""
        return log_table.last_revision(self.database.writer)

    def newest_up_to(self, upto: int) -> Transaction | None:
        """The newest transaction up to a revision that retention has not removed."""
        revision = self.database.writer.execute(_NEWEST, (upto,)).get
        return None if revision is None else self.read(revision - 1, 1)[0]

    def read(self, after: int, limit: int) -> list[Transaction]:
        """The transactions of the log in the file. Raises `StoreError` for a damaged one."""
        transactions = log_table.read(self.database.writer, after, limit)
        if transactions:
            ends = transactions[0].revision, transactions[-1].revision
            checksums = log_table.checksums(self.database.writer, *ends)
            for transaction in transactions:
                self._check(transaction, checksums.get(transaction.revision))
        return transactions

    def _check(self, transaction: Transaction, written: int | None) -> None:
        """Raises `StoreError` where the content does not fit the checksum that was written."""
        if written not in (None, checksum(transaction)):
            raise StoreError(
                f"Revision {transaction.revision} ({transaction.type} by {transaction.actor}) of "
                f"{self.name} is damaged: its content does not fit its checksum. Nothing of it was "
                "copied. `signalbox verify` tells more; a backup of that store may have it as it "
                "was."
            )

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """Append without placeholders. `expected` is not checked: the lock excludes others."""
        del expected
        wanted = [transaction for transaction in transactions if transaction.type != COMPACTED]
        if not wanted:
            return
        if self._projection is None:
            self._projection = Projection(self.database)
        projection = self._projection
        self._engine.append(wanted, self.last_revision(), lambda: projection.apply_decided(wanted))
        projection.committed()

    def maybe_larger(self, limit: int, after: int) -> Iterator[Transaction]:
        """The transactions that may be larger, by the sizes of their keys and values."""
        rows: list[Any] = self.database.writer.execute(_LARGER, (after, limit)).fetchall()
        for (revision,) in rows:
            yield from self.read(revision - 1, 1)

    def close(self) -> None:
        """Close the file, and what keeps its state in step with the copied log."""
        if self._projection is not None:
            self._projection.close()
        self.database.close()


_NEWEST: Final = "SELECT max(revision) FROM transactions WHERE revision <= ?"
_LARGER: Final = """
SELECT revision FROM changes WHERE revision > ? GROUP BY revision
HAVING sum(length(key) + ifnull(octet_length(value), 0) + 16) + 1000 > ?
"""
"""With upper limits for the few other bytes of a change and of a transaction."""
