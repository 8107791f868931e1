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
from signalbox.server.store import ballast, open_checks, store_marker
from signalbox.server.store.open_files import OpenFiles
from signalbox.server.store.read_only import not_opened
from signalbox.server.store.schema import checksum_sql, migrate
from signalbox.server.store.sql_functions import register_functions

MAX_HOST_LENGTH: Final = 15
"""Characters of a computer's name that are part of a node's."""
AWAITED_LOG: Final = "awaited"
"""What `meta` calls the log that a new data directory was to follow and has not reached yet."""
PAGES_PER_COMMIT: Final = 64
PAGES_PER_CHANGE: Final = 8
"""What a commit adds to the write-ahead log at most, or nearly so."""
CHECKPOINT_PAGES: Final = 16_000
"""64 MB of write-ahead log between checkpoints: fewer of them during an import."""
CHECKPOINT_DUE_PAGES: Final = 2_000
"""8 MB of it are brought beside the writer: all would wait for a commit that brings 64."""
BUSY_TIMEOUT_MS: Final = 5_000
"""In ms: for another process that has the store open."""
SHORT_BUSY_TIMEOUT_MS: Final = 200
"""In ms: for whoever reads, while everybody who writes waits."""
READER_CACHE_KIB: Final = 12_000
"""In KiB for each connection that reads: what the past is made of lies scattered."""

PUT_META: Final = """
INSERT INTO meta VALUES (?1, ?2, row_checksum(?1, ?2))
ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum
"""
"""A name and its value, in a commit of whoever asks."""


class Database:
    """One store's file. `path` None keeps it in memory, shared by this object's connections.

    `called` is what errors call a copy: the file that it was made of. Raises `StoreError` where the
    file is no store, `UnknownVersion` where it is newer than we are.
    """

    def __init__(self, path: Path | None, called: Path | None = None) -> None:
        self._called = called or path or Path()
        self.path = path = open_checks.resolve_link(path) if path else None
        self._name = str(path) if path else f"file:/{secrets.token_hex(8)}?vfs=memdb"
        self._is_relaxed = self._is_in_checkpoint = False
        if path:
            open_checks.check_regular_file(path)
            store_marker.check_not_lost(path)
            store_marker.remove_stale_endpoint(path)
            ballast.remove_if_full(path)
        self.writer = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            if path:
                open_checks.check_not_open_elsewhere(path)
                open_checks.check_is_store(self._called, self.writer)
                if self.writer.pragma("user_version"):
                    open_checks.check_wal(self._called, self.writer)
                else:
                    store_marker.check_empty_file(path)
            _prepare(self.writer)
            if path:
                store_marker.write_marker(path, self.meta("store") or "")
            beside = self._open(apsw.SQLITE_OPEN_READONLY) if path else None
            self.open_files = OpenFiles(path, beside, self._called)
        except StoreError:
            self.writer.close()
            raise
        except DAMAGED as error:
            self.writer.close()
            raise damaged_store(self._called) from error
        except apsw.Error as error:
            self.writer.close()
            raise not_opened(self._called, self.path, error) from error

    def reader(self) -> apsw.Connection:
        """A new read-only connection. Raises `Unavailable` where it would read another file."""
        if problem := self.open_files.misplaced():
            raise Unavailable(problem)
        connection = self._open(apsw.SQLITE_OPEN_READONLY)
        connection.pragma("cache_size", -READER_CACHE_KIB)
        return connection

    def meta(self, name: str) -> str | None:
        value: str | None = self.writer.execute(
            "SELECT value FROM meta WHERE name = ?", (name,)
        ).get
        return value

    def set_meta(self, name: str, value: str) -> None:
        self.writer.execute(PUT_META, (name, value))

    def delete_meta(self, name: str) -> None:
        self.writer.execute("DELETE FROM meta WHERE name = ?", (name,))

    def set_log_address(self, engine: str | None) -> None:
        """Say where the store's log is; None: in this file. No other is awaited any more."""
        self.delete_meta(AWAITED_LOG)
        if engine is not None:
            self.set_meta("engine", engine)
        else:
            self.delete_meta("engine")

    def forget_copied_place(self, data_dir: Path) -> None:
        """Forget what belongs to the place that this file was copied from: its port, its node's id
        and which windows were closed there, which may be open here.

        Two files of one id would take each other's attempts for their own. Devices are numbered
        anew when a computer starts, so it is told by inodes, and by the computer's own id.
        """
        if self.path is None:
            return
        with suppress(OSError, apsw.Error):  # as on a full disk: the next start looks again
            home = f"{_computer()}:{data_dir.stat().st_ino}:{self.path.stat().st_ino}"
            known = self.meta("home")
            if known != home:
                for name in () if known is None else ("port", "node", "closed_windows"):
                    self.delete_meta(name)
                self.set_meta("home", home)

    def node_id(self) -> str:
        """Of this file, which several may have of one store; made when it is asked for first.

        The name of this computer and random digits, so that people know whom they read of.
        """
        known = self.meta("node")
        if known is None:
            host = (
                re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:MAX_HOST_LENGTH]
                or "node"
            )
            known = f"{host}-{secrets.token_hex(4)}"
            self.set_meta("node", known)
        return known

    def make_replica(
        self, store: str, engine: str | None, kept: Sequence[tuple[str, int, int]]
    ) -> None:
        """Make this new file the replica of a store whose log is at `engine`.

        `kept` are the log's horizons: prefix, oldest complete revision and its time in ms.
        """
        if self.path:
            store_marker.write_marker(self.path, "")  # power may fail: the next start names it
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
        """Commit without waiting for the disk: what a power failure takes, the log has."""
        self.writer.pragma("synchronous", "NORMAL")
        self._is_relaxed = True

    def commits_without_sync(self, changes: int) -> bool:
        """Whether a commit of so many changes waits for no disk, which is asked before it begins.

        When it is relaxed it does so only where the write-ahead log has become so long that it is
        brought to the file.
        """
        if not self._is_relaxed:
            return False
        pages, _ = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        more = PAGES_PER_COMMIT + PAGES_PER_CHANGE * changes
        return bool(pages + more < self.writer.pragma("wal_autocheckpoint"))

    def checkpoint_when_due(self, in_background: Callable[[Callable[[], None]], object]) -> None:
        """Have `in_background` run `checkpoint` where a commit would have much to bring."""
        if self._is_in_checkpoint:
            return
        with suppress(apsw.Error):  # it is after a commit, which has succeeded whatever comes now
            pages, there = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if pages - there > CHECKPOINT_DUE_PAGES:
                self._is_in_checkpoint = True
                in_background(self.checkpoint)

    def checkpoint(self) -> None:
        """Bring the write-ahead log to the file, on a connection of its own: the writer goes on.

        What cannot be brought now, as while somebody else is at it, a later commit brings.
        """
        if self.open_files.problem():
            return
        self._is_in_checkpoint = True
        try:
            with (
                suppress(apsw.Error, StoreError),
                closing(self._open(apsw.SQLITE_OPEN_READWRITE)) as connection,
            ):
                connection.pragma("user_version")  # until it has read something it knows of no log
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            self._is_in_checkpoint = False

    def free_bytes_in_file(self) -> int:
        """The bytes that are free in the file, less those by which its write-ahead log will let it
        grow.
        """
        if self.path is None:
            return 0
        size = int(self.writer.pragma("page_size"))
        taken = int(self.writer.pragma("page_count")) - int(self.writer.pragma("freelist_count"))
        return self.path.stat().st_size - taken * size

    def wal_bytes(self) -> int:
        """The length of the write-ahead log, also of what is in the file already."""
        return store_marker.wal_size(self.path) if self.path else 0

    def truncate_wal(self) -> None:
        """Bring the write-ahead log to the file and give back what it takes of the disk.

        Where somebody reads what is in it alone, as much is brought as can be.
        """
        self._bring(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def restart_wal(self) -> None:
        """As `truncate_wal`, but keep the log's length, for the next commit."""
        self._bring(apsw.SQLITE_CHECKPOINT_RESTART)

    def _bring(self, mode: int) -> None:
        if self.open_files.is_cut_off():
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
        if self.open_files.is_cut_off():
            self.writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.open_files.close()  # the last one to close brings the log to the file
        self.writer.close()
        if self.path and self.open_files.command_refused:
            store_marker.remove_marker(self.path)

    def _open(self, flags: int) -> apsw.Connection:
        try:
            connection = apsw.Connection(self._name, flags=flags | apsw.SQLITE_OPEN_URI)
        except apsw.Error as error:
            raise not_opened(self._called, self.path, error) from error
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        register_functions(connection)
        return connection


def _computer() -> str:
    """This computer's id where the system keeps one (machine-id(5)); else empty."""
    with suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All or nothing. apsw's own `with` keeps the interpreter lock while it waits for readers, who
    may need it for a function of ours.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def checkpoint_every(pages: int, connection: apsw.Connection) -> None:
    """Let a commit of `connection` bring the write-ahead log to the file once it is so long."""
    connection.pragma("wal_autocheckpoint", pages)


def _prepare(connection: apsw.Connection) -> None:
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
