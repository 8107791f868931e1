"""The SQLite file: schema, migration, durability, and its connections."""

import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from signalbox.server.model.checksums import of_row
from signalbox.server.model.errors import StoreError, Unavailable, UnknownVersion
from signalbox.server.runtime.failures import DAMAGED, damaged
from signalbox.server.store import ballast, lost_store, store_file
from signalbox.server.store.file_watch import Presence
from signalbox.server.store.read_only import not_opened

SCHEMA_VERSION: Final = 3
HOST: Final = 15
"""Characters of a computer's name that are part of a node's."""
AWAITED: Final = "awaited"
"""What `meta` calls the log that a new data directory was to follow and has not reached yet."""
PAGES_A_COMMIT: Final = 64
PAGES_A_CHANGE: Final = 8
"""What a commit adds to the write-ahead log at most, or nearly so."""
CHECKPOINT_PAGES: Final = 16_000
"""64 MB of write-ahead log between checkpoints: fewer of them during an import."""
DUE_PAGES: Final = 2_000
"""8 MB of it are brought beside the writer: all would wait for a commit that brings 64."""
PATIENTLY: Final = 5_000
"""In ms: for another process that has the store open."""
BRIEFLY: Final = 200
"""In ms: for whoever reads, while everybody who writes waits."""
READER_CACHE: Final = 12_000
"""In KiB for each connection that reads: what the past is made of lies scattered."""

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE transactions (
    revision INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    command_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    type TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
CREATE INDEX transactions_by_actor ON transactions (actor, revision);
CREATE TABLE changes (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    is_new INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (revision, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX changes_by_key ON changes (key, revision);
CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    command_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    revision INTEGER NOT NULL,
    details TEXT NOT NULL
) STRICT;
"""
_TIME: Final = """
CREATE TABLE reversals (
    revision INTEGER NOT NULL,
    target INTEGER NOT NULL,
    PRIMARY KEY (revision, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX reversals_by_target ON reversals (target, revision);
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    born INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lives (
    key TEXT NOT NULL,
    born INTEGER NOT NULL,
    died INTEGER NOT NULL,
    PRIMARY KEY (key, born)
) STRICT, WITHOUT ROWID;
CREATE INDEX lives_by_born ON lives (born);
CREATE INDEX lives_by_died ON lives (died);
CREATE TABLE key_counts (
    revision INTEGER PRIMARY KEY,
    buckets BLOB NOT NULL
) STRICT;
CREATE TABLE horizons (
    prefix TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    done_revision INTEGER NOT NULL,
    done_key TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO horizons VALUES ('', 0, 0, 0, '');
"""
"""What is derived from the log, and what undoing and retention add to it.

`state` and `lives` tell when each key came and went; `born` stands before the value, which may
fill many pages, and is 0 where retention has removed the beginning. `reversals` has which
transactions an undo or redo has reversed; `key_counts` how many keys lay where, now and then;
`horizons` from which moment on the changes below a prefix are whole, and how far the older ones
have been thinned out.
"""

STATE_INDEXES: Final = {
    "state_by_revision": "CREATE INDEX state_by_revision ON state (revision)",
    "state_by_born": "CREATE INDEX state_by_born ON state (born)",
}
"""Apart, since a rebuild makes them at its end."""

_INDEXES: Final = ";".join(STATE_INDEXES.values())

_TO_2: Final = """
ALTER TABLE changes ADD COLUMN is_new INTEGER NOT NULL DEFAULT 0;
UPDATE changes SET is_new = 1 WHERE value IS NOT NULL AND (
    SELECT p.value FROM changes p WHERE p.key = changes.key AND p.revision < changes.revision
    ORDER BY p.revision DESC LIMIT 1
) IS NULL;
ALTER TABLE state RENAME TO state_1;
DROP INDEX state_by_revision;
"""
_FILL_2: Final = """
INSERT INTO state SELECT key, revision, (
    SELECT max(c.revision) FROM changes c WHERE c.key = s.key AND c.is_new
), value FROM state_1 s;
DROP TABLE state_1;
INSERT INTO lives SELECT key, (
    SELECT max(b.revision) FROM changes b
    WHERE b.key = c.key AND b.revision < c.revision AND b.is_new
), revision FROM changes c WHERE c.value IS NULL;
"""

SEALED: Final = {
    "meta": ("name", "value"),
    "horizons": ("prefix", "revision", "at", "done_revision", "done_key"),
    "attempts": (
        *("n", "command_id", "fingerprint", "actor", "at", "type", "status", "revision"),
        "details",
    ),
    "key_counts": ("revision", "buckets"),
}
"""The columns that a row's checksum is of, in the tables that no replay can be compared with."""
UNSEALED: Final = "unsealed"
"""What `meta` calls the revision up to which counts of keys may have no checksum."""


PUT_META: Final = """
INSERT INTO meta VALUES (?1, ?2, row_checksum(?1, ?2))
ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum
"""
"""A name and its value, in a commit of whoever asks."""


def seal(table: str, where: str = "") -> str:
    """SQL that gives the rows `where` their checksum, on a connection of this file's."""
    values = ", ".join(SEALED[table])
    return f"UPDATE {table} SET checksum = row_checksum({values}) {where};"  # noqa: S608 - ours


_TO_3: Final = """
ALTER TABLE transactions ADD COLUMN checksum INTEGER;
ALTER TABLE changes ADD COLUMN checksum INTEGER;
ALTER TABLE attempts ADD COLUMN checksum INTEGER;
ALTER TABLE key_counts ADD COLUMN checksum INTEGER;
ALTER TABLE horizons ADD COLUMN checksum INTEGER;
ALTER TABLE meta ADD COLUMN checksum INTEGER;
INSERT INTO meta SELECT 'unsealed', ifnull(max(revision), 0), NULL FROM transactions;
"""
"""At once also where the log is long: what it has already stays without checksums, as version 1 of
an event tells. The transaction's is of all but its changes; these have their own, so that retention
removes some of them and the others still show that they are as they were written."""

_MIGRATIONS: Final = {
    0: ((_SCHEMA, _TIME, _INDEXES), 2),
    1: ((_TO_2, _TIME, _FILL_2, _INDEXES), 2),
    2: ((_TO_3, *map(seal, ("attempts", "horizons", "meta"))), 3),
}
"""From a schema version to the SQL of each step and the version that they lead to."""


class Database:
    """One store's file. `path` None keeps it in memory, shared by this object's connections.

    `called` is what errors call a copy: the file that it was made of. Raises `StoreError` where the
    file is no store, `UnknownVersion` where it is newer than we are.
    """

    def __init__(self, path: Path | None, called: Path | None = None) -> None:
        self._called = called or path or Path()
        self.path = path = store_file.real(path) if path else None
        self._name = str(path) if path else f"file:/{secrets.token_hex(8)}?vfs=memdb"
        self._is_relaxed = self._is_in_checkpoint = False
        if path:
            store_file.check_kind(path)
            lost_store.check(path)
            lost_store.forget_served(path)
            ballast.drop_where_full(path)
        self.writer = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            if path:
                store_file.check_alone(path)
                store_file.check_owner(self._called, self.writer)
                if self.writer.pragma("user_version"):
                    store_file.check_log(self._called, self.writer)
                else:
                    lost_store.check_new(path)
            _prepare(self.writer)
            if path:
                lost_store.remember(path, self.meta("store") or "")
            beside = self._open(apsw.SQLITE_OPEN_READONLY) if path else None
            self.presence = Presence(path, beside, self._called)
        except StoreError:
            self.writer.close()
            raise
        except DAMAGED as error:
            self.writer.close()
            raise damaged(self._called) from error
        except apsw.Error as error:
            self.writer.close()
            raise not_opened(self._called, self.path, error) from error

    def reader(self) -> apsw.Connection:
        """A new read-only connection. Raises `Unavailable` where it would read another file."""
        if problem := self.presence.misplaced():
            raise Unavailable(problem)
        connection = self._open(apsw.SQLITE_OPEN_READONLY)
        connection.pragma("cache_size", -READER_CACHE)
        return connection

    def meta(self, name: str) -> str | None:
        value: str | None = self.writer.execute(
            "SELECT value FROM meta WHERE name = ?", (name,)
        ).get
        return value

    def set_meta(self, name: str, value: str) -> None:
        self.writer.execute(PUT_META, (name, value))

    def forget_meta(self, name: str) -> None:
        self.writer.execute("DELETE FROM meta WHERE name = ?", (name,))

    def lead(self, engine: str | None) -> None:
        """Say where the store's log is; None: in this file. No other is awaited any more."""
        self.forget_meta(AWAITED)
        if engine is not None:
            self.set_meta("engine", engine)
        else:
            self.forget_meta("engine")

    def settle(self, data_dir: Path) -> None:
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
                    self.forget_meta(name)
                self.set_meta("home", home)

    def own_id(self) -> str:
        """Of this file, which several may have of one store; made when it is asked for first.

        The name of this computer and random digits, so that people know whom they read of.
        """
        known = self.meta("node")
        if known is None:
            host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:HOST] or "node"
            known = f"{host}-{secrets.token_hex(4)}"
            self.set_meta("node", known)
        return known

    def follow(self, store: str, engine: str | None, kept: Sequence[tuple[str, int, int]]) -> None:
        """Make this new file the replica of a store whose log is at `engine`, as `lead` says.

        `kept` are the prefix, revision and time in ms from which on the log's past is whole.
        """
        if self.path:
            lost_store.remember(self.path, "")  # power may fail: the next start names it
        with transaction(self.writer):
            self.set_meta("store", store)
            self.lead(engine)
            self.writer.executemany(
                "INSERT INTO horizons VALUES (?1, ?2, ?3, ?2, '', NULL) ON CONFLICT DO UPDATE SET "
                "revision = excluded.revision, at = excluded.at, done_revision = excluded.revision",
                kept,
            )
            self.writer.execute(seal("horizons"))

    def relax(self) -> None:
        """Commit without waiting for the disk: what a power failure takes, the log has."""
        self.writer.pragma("synchronous", "NORMAL")
        self._is_relaxed = True

    def commits_at_once(self, changes: int) -> bool:
        """Whether a commit of so many changes waits for no disk, which is asked before it begins.

        When it is relaxed it does so only where the write-ahead log has become so long that it is
        brought to the file.
        """
        if not self._is_relaxed:
            return False
        pages, _ = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        more = PAGES_A_COMMIT + PAGES_A_CHANGE * changes
        return bool(pages + more < self.writer.pragma("wal_autocheckpoint"))

    def checkpoint_when_due(self, in_background: Callable[[Callable[[], None]], object]) -> None:
        """Have `in_background` run `checkpoint` where a commit would have much to bring."""
        if self._is_in_checkpoint:
            return
        with suppress(apsw.Error):  # it is after a commit, which has succeeded whatever comes now
            pages, there = self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if pages - there > DUE_PAGES:
                self._is_in_checkpoint = True
                in_background(self.checkpoint)

    def checkpoint(self) -> None:
        """Bring the write-ahead log to the file, on a connection of its own: the writer goes on.

        What cannot be brought now, as while somebody else is at it, a later commit brings.
        """
        if self.presence.problem():
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

    def reserve(self) -> int:
        """The bytes that are free in the file, less those by which its write-ahead log will let it
        grow.
        """
        if self.path is None:
            return 0
        size = int(self.writer.pragma("page_size"))
        taken = int(self.writer.pragma("page_count")) - int(self.writer.pragma("freelist_count"))
        return self.path.stat().st_size - taken * size

    def log_bytes(self) -> int:
        """The length of the write-ahead log, also of what is in the file already."""
        return lost_store.log_size(self.path) if self.path else 0

    def shorten(self) -> None:
        """Bring the write-ahead log to the file and give back what it takes of the disk.

        Where somebody reads what is in it alone, as much is brought as can be.
        """
        self._bring(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def restart_log(self) -> None:
        """As `shorten`, but keep the log's length, for the next commit."""
        self._bring(apsw.SQLITE_CHECKPOINT_RESTART)

    def _bring(self, mode: int) -> None:
        if self.presence.is_cut_off():
            return
        self.writer.set_busy_timeout(BRIEFLY)
        try:
            with suppress(apsw.Error):
                self.writer.wal_checkpoint(mode=mode)
        finally:
            self.writer.set_busy_timeout(PATIENTLY)

    def bytes_used(self) -> int:
        """The size on disk, write-ahead log included, in bytes; in memory the database's own."""
        if self.path is None:
            return int(self.writer.pragma("page_count")) * int(self.writer.pragma("page_size"))
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        if self.presence.is_cut_off():
            self.writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.presence.close()  # the last one to close brings the log to the file
        self.writer.close()
        if self.path and self.presence.has_refused:
            lost_store.forget(self.path)

    def _open(self, flags: int) -> apsw.Connection:
        try:
            connection = apsw.Connection(self._name, flags=flags | apsw.SQLITE_OPEN_URI)
        except apsw.Error as error:
            raise not_opened(self._called, self.path, error) from error
        connection.set_busy_timeout(PATIENTLY)
        connection.create_scalar_function("regexp", _matches, 2, deterministic=True)
        connection.create_scalar_function("row_checksum", of_row, deterministic=True)
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


def _matches(*arguments: Any) -> bool:
    regex, text = arguments
    return re.fullmatch(regex, text) is not None


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
    _migrate(connection)


def newer_schema(version: int) -> UnknownVersion:
    return UnknownVersion(
        f"The store has schema version {version}; this Signalbox knows {SCHEMA_VERSION}. "
        "Open it with the newer Signalbox that wrote it."
    )


def _migrate(connection: apsw.Connection) -> None:
    version = int(connection.pragma("user_version"))
    if version > SCHEMA_VERSION:
        raise newer_schema(version)
    if version == SCHEMA_VERSION:
        return  # there may be no room to write anything
    if version == 0:
        _mark(connection)
    with connection:
        while version < SCHEMA_VERSION:
            steps, version = _MIGRATIONS[version]
            for step in steps:
                connection.execute(step)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute(
            "INSERT OR IGNORE INTO meta VALUES ('store', ?1, row_checksum('store', ?1))",
            (secrets.token_hex(8),),
        )
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def _mark(connection: apsw.Connection) -> None:
    """Have a new file tell of its write-ahead log, before anything is in that alone.

    The log stays where nothing more succeeds, as on a full disk: it would be said to be lost.
    """
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.pragma("application_id", lost_store.MARK)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
