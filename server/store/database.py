"""The SQLite file: its connections, durability, checkpoints and metadata."""

import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.runtime.error_messages import DAMAGED, damaged_store
from signalbox.server.store import ballast, checks_before_opening, store_marker
from signalbox.server.store.file_watch import OpenFiles
from signalbox.server.store.read_only import open_error
from signalbox.server.store.recent_items import RecentItems
from signalbox.server.store.schema import checksum_sql, migrate
from signalbox.server.store.sql_functions import register_functions

MAX_HOST_LENGTH: Final = 15
"""Characters of the computer's name in a node's id."""
AWAITED_LOG: Final = "awaited"
"""The name in `meta` of the shared log that a new data directory has not reached yet."""
PAGES_PER_COMMIT: Final = 64
PAGES_PER_CHANGE: Final = 8
"""Pages that a commit adds to the write-ahead log, about the most."""
CHECKPOINT_PAGES: Final = 16_000
"""64 MB of write-ahead log between checkpoints: fewer of them during an import."""
CHECKPOINT_DUE_PAGES: Final = 800
"""3 MB are checkpointed beside the writer: a commit that checkpoints 64 would hold up everybody."""
LARGE_COMMIT_PAGES: Final = 800
"""Behind a commit of so many pages another may come that changes most of them again, as in an
import: they are checkpointed together."""
LARGE_DUE_PAGES: Final = 5_000
"""20 MB are checkpointed then."""
BUSY_TIMEOUT_MS: Final = 5_000
"""For another process that has the store open."""
SHORT_BUSY_TIMEOUT_MS: Final = 200
"""For readers, while all who write are waiting."""
READER_CACHE_KIB: Final = 12_000
"""Of each connection that reads: the pages of an earlier revision are scattered."""

PUT_META: Final = """
INSERT INTO meta VALUES (?1, ?2, row_checksum(?1, ?2))
ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum
"""
"""Sets a name to a value, within the caller's transaction."""


class Database:
    """One store's file. `path` None keeps it in memory, shared by this object's connections.

    `called` is the path that errors name: that of the original where `path` is a copy. Raises
    `StoreError` where the file is no store, `UnknownVersion` where a newer Signalbox has written
    it.
    """

    def __init__(self, path: Path | None, called: Path | None = None) -> None:
        """Open the store's file, or create it; `called` is the path that errors name."""
        self._called = called or path or Path()
        self.path = path = checks_before_opening.resolve_link(path) if path else None
        self._name = str(path) if path else f"file:/{secrets.token_hex(8)}?vfs=memdb"
        self.recent_items = RecentItems()
        self._is_relaxed = self._is_in_checkpoint = self._must_finish_checkpoint = False
        self._log_pages = 0
        """Pages in the write-ahead log after the last commit, with those in the file already."""
        if path:
            checks_before_opening.check_regular_file(path)
            store_marker.check_not_lost(path)
            store_marker.remove_stale_endpoint(path)
            ballast.remove_if_full(path)
        self.writer = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            if path:
                checks_before_opening.check_not_open_elsewhere(path)
                checks_before_opening.check_is_store(self._called, self.writer)
                if self.writer.pragma("user_version"):
                    checks_before_opening.check_wal(self._called, self.writer)
                else:
                    store_marker.check_empty_file(path)
            _configure(self.writer)
            if path:
                store_marker.write_marker(path, self.meta("store") or "")
            wal_reader = self._open(apsw.SQLITE_OPEN_READONLY) if path else None
            self.open_files = OpenFiles(path, wal_reader, self._called)
        except StoreError:
            self.writer.close()
            raise
        except DAMAGED as error:
            self.writer.close()
            raise damaged_store(self._called) from error
        except apsw.Error as error:
            self.writer.close()
            raise open_error(self._called, self.path, error) from error

    def reader(self) -> apsw.Connection:
        """Open the store's file for reading alone. Raises `Unavailable` where it was replaced."""
        if problem := self.open_files.file_problem():
            raise Unavailable(problem)
        connection = self._open(apsw.SQLITE_OPEN_READONLY)
        connection.pragma("cache_size", -READER_CACHE_KIB)
        return connection

    def meta(self, name: str) -> str | None:
        """The value of a name in the store's table of metadata."""
        value: str | None = self.writer.execute(
            "SELECT value FROM meta WHERE name = ?", (name,)
        ).get
        return value

    def set_meta(self, name: str, value: str) -> None:
        """Write a value to the store's table of metadata."""
        self.writer.execute(PUT_META, (name, value))

    def delete_meta(self, name: str) -> None:
        """Remove a name from the store's table of metadata."""
        self.writer.execute("DELETE FROM meta WHERE name = ?", (name,))

    def set_log_address(self, engine: str | None) -> None:
        """Record where the store's log is; None: in this file. No log is awaited any more."""
        self.delete_meta(AWAITED_LOG)
        if engine is not None:
            self.set_meta("engine", engine)
        else:
            self.delete_meta("engine")

    def forget_previous_place(self, data_dir: Path) -> None:
        """If this file was copied here, forget what belongs to the original: its port, its
        node's id and which windows were closed.

        Two nodes with one id would take each other's attempts for their own. A place is known by
        its inodes and the machine's id, since devices are numbered anew at each start.
        """
        if self.path is None:
            return
        with suppress(OSError, apsw.Error):  # as on a full disk: the next start tries again
            home = f"{_machine_id()}:{data_dir.stat().st_ino}:{self.path.stat().st_ino}"
            previous = self.meta("home")
            if previous != home:
                for name in () if previous is None else ("port", "node", "closed_windows"):
                    self.delete_meta(name)
                self.set_meta("home", home)

    def node_id(self) -> str:
        """This replica's id, created at the first call: the computer's name and random digits."""
        node = self.meta("node")
        if node is None:
            host = (
                re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:MAX_HOST_LENGTH]
                or "node"
            )
            node = f"{host}-{secrets.token_hex(4)}"
            self.set_meta("node", node)
        return node

    def make_replica(
        self, store: str, engine: str | None, kept: Sequence[tuple[str, int, int]]
    ) -> None:
        """Make this new file the replica of a store whose log is at `engine`.

        `kept` are the log's horizons: prefix, oldest complete revision and its time in ms.
        """
        if self.path:
            store_marker.write_marker(self.path, "")  # the next start adds the id, if need be
        with transaction(self.writer):
            self.set_meta("store", store)
            self.set_log_address(engine)
            self.writer.executemany(
                "INSERT INTO horizons VALUES (?1, ?2, ?3, ?2, '', NULL) ON CONFLICT DO UPDATE SET "
                "revision = excluded.revision, at = excluded.at, done_revision = excluded.revision",
                kept,
            )
            self.writer.execute(checksum_sql("horizons"))

    def relax_durability(self) -> None:
        """Commit without waiting for the disk: after a power failure the shared log has it all."""
        self.writer.pragma("synchronous", "NORMAL")
        self._is_relaxed = True

    def commits_without_sync(self, changes: int) -> bool:
        """Whether a commit of so many changes, which has not begun yet, will not wait for the disk.

        With relaxed durability it waits only where it will also be a checkpoint.
        """
        if not self._is_relaxed:
            return False
        pages, _ = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        more = PAGES_PER_COMMIT + PAGES_PER_CHANGE * changes
        return bool(pages + more < self.writer.pragma("wal_autocheckpoint"))

    def checkpoint_when_due(
        self,
        in_background: Callable[[Callable[[], None]], object],
        blocking: Callable[[Callable[[], None]], object],
    ) -> None:
        """Have `in_background` run `checkpoint` where much of the log is not in the file yet.

        What was committed beside that is checkpointed by `blocking` afterwards: SQLite begins the
        log from its start, instead of letting it grow, only once all of it is in the file.
        """
        if self._is_in_checkpoint:
            return
        with suppress(apsw.Error):  # the commit before it has succeeded anyway
            pages, there = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            before, self._log_pages = self._log_pages, pages
            committed = pages - before if pages >= before else pages
            is_large = committed > LARGE_COMMIT_PAGES
            if pages - there > (LARGE_DUE_PAGES if is_large else CHECKPOINT_DUE_PAGES):
                self._is_in_checkpoint = self._must_finish_checkpoint = True
                in_background(self.checkpoint)
            elif self._must_finish_checkpoint and not is_large:
                self._must_finish_checkpoint = False
                blocking(self._finish_checkpoint)

    def checkpoint(self) -> None:
        """Checkpoint the write-ahead log on a connection of its own, beside the writer.

        What cannot be checkpointed now, as beside another checkpoint, is left to a later commit.
        """
        self._is_in_checkpoint = True
        try:
            if self.open_files.problem():
                return
            with (
                suppress(apsw.Error, StoreError),
                closing(self._open(apsw.SQLITE_OPEN_READWRITE)) as connection,
            ):
                connection.pragma("user_version")  # before it has read something it ignores the log
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            self._is_in_checkpoint = False

    def _finish_checkpoint(self) -> None:
        """Checkpoint the few pages that were committed meanwhile, on the writing connection."""
        if not self.open_files.must_not_checkpoint():
            with suppress(apsw.Error):
                self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def free_bytes_in_file(self) -> int:
        """The free bytes in the SQLite file, less those by which a checkpoint will fill it."""
        if self.path is None:
            return 0
        size = int(self.writer.pragma("page_size"))
        taken = int(self.writer.pragma("page_count")) - int(self.writer.pragma("freelist_count"))
        return self.path.stat().st_size - taken * size

    def wal_bytes(self) -> int:
        """The size of the write-ahead log, with what is checkpointed already."""
        return store_marker.wal_size(self.path) if self.path else 0

    def truncate_wal(self) -> None:
        """Checkpoint the write-ahead log and free its disk space, as far as readers permit."""
        self._checkpoint_now(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def restart_wal(self) -> None:
        """As `truncate_wal`, but keep the log's space for the next commits."""
        self._checkpoint_now(apsw.SQLITE_CHECKPOINT_RESTART)

    def _checkpoint_now(self, mode: int) -> None:
        """Checkpoint on the writing connection, with little patience for readers."""
        if self.open_files.must_not_checkpoint():
            return
        self.writer.set_busy_timeout(SHORT_BUSY_TIMEOUT_MS)
        try:
            with suppress(apsw.Error):
                self.writer.wal_checkpoint(mode=mode)
        finally:
            self.writer.set_busy_timeout(BUSY_TIMEOUT_MS)

    def bytes_used(self) -> int:
        """The size on disk, write-ahead log included, in bytes; in memory the database's own."""
        if self.path is None:
            return int(self.writer.pragma("page_count")) * int(self.writer.pragma("page_size"))
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the SQLite file; damaged or replaced files are not written to any more."""
        if self.open_files.must_not_checkpoint():
            self.writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.open_files.close()  # the last one to close checkpoints
        self.writer.close()
        if self.path and self.open_files.command_refused:
            store_marker.remove_marker(self.path)

    def _open(self, flags: int) -> apsw.Connection:
        """A new connection with our SQL functions. Raises `StoreError`."""
        try:
            connection = apsw.Connection(self._name, flags=flags | apsw.SQLITE_OPEN_URI)
        except apsw.Error as error:
            raise open_error(self._called, self.path, error) from error
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        # Else SQLite plans a statement anew for each value that it is given (SQLITE_ENABLE_STAT4).
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        register_functions(connection)
        return connection


def _machine_id() -> str:
    """This computer's id where the system keeps one (machine-id(5)); else empty."""
    with suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One transaction: all or nothing.

    apsw's own `with` holds the interpreter lock while it waits for readers, which may need that
    lock for a SQL function of ours.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def checkpoint_every(pages: int, connection: apsw.Connection) -> None:
    """Let a commit of `connection` checkpoint once the write-ahead log has so many pages."""
    connection.pragma("wal_autocheckpoint", pages)


def _configure(connection: apsw.Connection) -> None:
    """Set the pragmas of the writing connection and migrate the schema."""
    settings: dict[str, Any] = {
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "journal_size_limit": CHECKPOINT_PAGES * 4096,
        "cache_size": -16_000,
        "trusted_schema": 0,
    }
    if sys.platform == "darwin":
        settings |= {"fullfsync": 1, "checkpoint_fullfsync": 1}
    for name, value in settings.items():
        connection.pragma(name, value)
    checkpoint_every(CHECKPOINT_PAGES, connection)
    migrate(connection)
