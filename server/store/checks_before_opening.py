"""Checks before a store is opened: it is no other program's database, no other server writes to it,
and its write-ahead log is undamaged and belongs to it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from signalbox.server.model.errors import StoreError
from signalbox.server.store import ballast, file_names, plain_file, store_marker
from signalbox.server.store.store_marker import marker_path, wal_path
from signalbox.server.store.wal_file import (
    hidden_commits,
    misses_pages,
    truncate_interrupted_commit,
)

BESIDE: Final = ("-wal", "-shm", "-journal", file_names.MARKER_SUFFIX, ballast.ENDING)
"""Suffixes of the names of the files that SQLite and we keep beside a store's file."""
FIRST_TABLES: Final = {"meta", "transactions", "changes", "state"}
"""Tables that a store has had since the first schema, before `application_id` was set."""


def resolve_link(path: Path) -> Path:
    """The file that a symbolic link leads to, beside which SQLite keeps its log; else `path`.

    Raises `StoreError` where a link in the path is broken, as with a disk that is not mounted: a
    new store there would be taken for the missing one.
    """
    for link in (path, *path.parents):
        if link.is_symlink() and not link.exists():
            raise StoreError(
                f"{link} is a symbolic link to {os.path.realpath(link)}, where nothing is: is its "
                "disk mounted? Nothing was made there. To begin a new store, remove the link, or "
                f"make an empty {'file' if link == path else 'folder'} where it leads."
            )
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def check_regular_file(path: Path) -> None:
    """Raises `StoreError` for what is no file, in its place or in that of one beside it."""
    if kind := plain_file.other_kind(path):
        raise StoreError(f"{path} cannot be opened as a Signalbox store: it is {kind}, no file.")
    plain_file.check_regular(*(path.with_name(path.name + ending) for ending in BESIDE))


def check_exists(path: Path) -> None:
    """Raises `StoreError` where there is no store at `path`, or none yet."""
    path = resolve_link(path)
    check_regular_file(path)
    store_marker.check_not_lost(path)
    if not path.exists():
        raise StoreError(f"There is no store in {path.parent}.")
    if store_marker.is_unfinished(path):
        raise StoreError(f"There is no store in {path.parent} yet. Its next start makes one.")


def check_is_store(path: Path, connection: apsw.Connection) -> None:
    """Raises `StoreError` where the database is another program's, and leaves it as it is.

    A store is recognised by its `application_id` or its tables: one of the two may be damaged.
    """
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    mark = connection.pragma("application_id")
    if mark == store_marker.APPLICATION_ID or names >= FIRST_TABLES or not (names or mark):
        return
    if store_marker.wal_size(path):  # which closing would checkpoint
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    raise StoreError(
        f"{path} is another program's database and no Signalbox store: nothing was changed; move "
        "it away, or choose another folder with --data-dir."
    )


def check_wal(path: Path, connection: apsw.Connection) -> None:
    """Raises `StoreError` where opening the store would lose commits, and leaves all as it is.

    Else what an interrupted commit has left in the log is removed.
    """
    check_wal_belongs_to(path, connection)
    if misses_pages(connection):
        raise _foreign_wal(path, connection, f"of what it counts, {path.name} lacks a part")
    if hidden := count_lost_commits(connection):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        raise StoreError(
            f"{wal_path(path)} is damaged: the last {hidden} commits come after the damage "
            "and would be lost. Nothing was changed. Replace the store by a "
            f"backup, and remove {path.name}-wal and {path.name}-shm; "
            "`signalbox backup FILE` copies it as it was before them."
        )
    truncate_interrupted_commit(connection)


def check_wal_belongs_to(path: Path, connection: apsw.Connection) -> None:
    """Raises `StoreError` where with its log the file is another store than its marker names."""
    if store_marker.wal_size(path) and (marked := store_marker.marked_store_id(path)):
        store = connection.execute("SELECT value FROM meta WHERE name = 'store'").get
        if store != marked:
            why = f"it is of the store {store}, and {marker_path(path).name} names {marked}"
            raise _foreign_wal(path, connection, why)


def _foreign_wal(path: Path, connection: apsw.Connection, why: str) -> StoreError:
    """The error where the write-ahead log belongs to another file."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return StoreError(
        f"{wal_path(path)} does not belong to {path.name}: {why}. Nothing was changed. To "
        f"begin from {path.name} alone, as with a backup in its place, move {path.name}-wal and "
        f"{path.name}-shm away."
    )


def count_lost_commits(connection: apsw.Connection) -> int:
    """Commits after damage in the write-ahead log; none of a replica, which reads its log again."""
    is_replica = connection.execute("SELECT 1 FROM meta WHERE name = 'engine'").get
    return 0 if is_replica else hidden_commits(connection)


def check_not_open_elsewhere(path: Path) -> None:
    """Raises `StoreError` where another process has a file of this store open for writing.

    That happens with a hard link of the file in another folder, which has another lock. Only Linux
    shows it, and only of this user's processes (proc(5)).
    """
    linked = set()
    for file in (path, wal_path(path)):
        with suppress(OSError):  # there may be no log
            status = file.stat()
            linked |= {(status.st_dev, status.st_ino)} if status.st_nlink > 1 else set()
    if linked and (pid := _writer_of(linked)) is not None:
        raise StoreError(
            f"{path} is a hard link of a file that the process {pid} has open, by another name, to "
            "write to it: two servers of one file would destroy it. End that one, or make a copy "
            "of its store with `signalbox backup`."
        )


def _writer_of(files: set[tuple[int, int]]) -> int | None:
    """A process that has one of the files open for writing; a file is (device, inode)."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            others = (process / "fd").iterdir() if int(process.name) != os.getpid() else ()
            if any(_is_one_of(files, opened) for opened in others):
                return int(process.name)
    return None


def _is_one_of(files: set[tuple[int, int]], opened: Path) -> bool:
    """Whether another process has opened one of the store's `files` to write to it."""
    with suppress(OSError):  # it was closed
        status = opened.stat()
        return (status.st_dev, status.st_ino) in files and _is_writable(opened)
    return False


def _is_writable(opened: Path) -> bool:
    """Whether a file that a process has opened (`/proc/<pid>/fd/<n>`) can be written to."""
    lines = (opened.parents[1] / "fdinfo" / opened.name).read_text().splitlines()
    flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    return bool(int(flags, 8) & (os.O_WRONLY | os.O_RDWR))
