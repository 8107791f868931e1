"""Stores on read-only or full disks: whether one is, and a temporary copy to read it from."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, gettempdir
from typing import Final

import apsw

from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason
from signalbox.server.store import ballast, checks_before_opening, store_marker, wal_file

MAX_COPIES: Final = 5
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a new folder in it is made as in any other
"""Where Linux keeps files in memory, for copies that the temporary folder has no room for."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def is_read_only(store: Path) -> bool:
    """Whether there is a store that SQLite cannot write to: it also writes files beside it."""
    files = [store.parent, *(file for file in _files(store) if file.exists())]
    return store.exists() and not all(os.access(file, os.W_OK) for file in files)


def cannot_create_files(store: Path, *others: Path) -> bool:
    """Whether a file that SQLite needs to open the store, or one of `others`, is missing and cannot
    be created, as on a disk without a free inode.

    A full disk has room for empty files, once its ballast is removed.
    """
    needed = [store.with_name(store.name + ending) for ending in ("", "-wal", "-shm")]
    missing = sum(not file.exists() for file in [*needed, *others])
    if not _is_out_of_inodes(missing, store.parent):
        return False
    ballast.remove(store)
    return _is_out_of_inodes(missing, store.parent)


def no_more_files(store: Path) -> str:
    """The reason for messages where `cannot_create_files` is true, as a part of a sentence."""
    return (
        f"no more files can be made in {store.parent}, since its disk or a quota has as many as it "
        "takes: remove some that nobody needs"
    )


def open_error(called: Path, path: Path | None, error: apsw.Error) -> StoreError:
    """The error of a failed open. SQLite only says that a file cannot be opened, also where it
    cannot be created.
    """
    why = reason(error)
    if path and isinstance(error, apsw.CantOpenError) and cannot_create_files(path):
        why = no_more_files(path)
    return StoreError(f"{called} cannot be opened as a Signalbox store: {why}.")


def _is_out_of_inodes(files: int, folder: Path) -> bool:
    """Whether so many files cannot be created in the folder."""
    with ExitStack() as stack:
        try:
            for _ in range(files):
                stack.enter_context(TemporaryFile(dir=folder))
        except OSError as error:
            return error.errno in _NO_ROOM
    return False


@contextmanager
def temporary_copy(store: Path) -> Iterator[Path]:
    """A copy of the store and its write-ahead log in a temporary folder, removed afterwards.

    The log has commits that opening the file as immutable would ignore. Raises `StoreError` where
    there is no room for the copy, or where another program goes on writing.
    """
    checks_before_opening.check_regular_file(store)
    store_marker.check_not_lost(store)
    with ExitStack() as stack:
        try:
            folder = _copy_to_temporary(store, stack)
        except OSError as error:
            why = no_more_files(store) if cannot_create_files(store) else "it is read-only"
            raise StoreError(
                f"{store} cannot be written ({why}), and a temporary copy to read it from cannot "
                f"be made: {reason(error)}. The environment variable TMPDIR chooses another folder "
                "for that."
            ) from error
        if folder is None:
            raise StoreError(
                f"{store} is read-only here, and another program writes to it while it is copied: "
                "end that, or try again."
            )
        yield folder / store.name


def _copy_to_temporary(store: Path, stack: ExitStack) -> Path | None:
    """The folder with the copy, which `stack` removes; None where no copy was consistent."""
    for parent in _temporary_folders():
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="signalbox-", dir=parent)))
            return folder if any(_copy(store, folder) for _ in range(MAX_COPIES)) else None
        except OSError as error:
            if error.errno not in _NO_ROOM or parent == MEMORY_FOLDER:
                raise
    raise OSError(errno.ENOSPC, "no temporary folder has room")


def _temporary_folders() -> Iterator[Path]:
    """The folders for a temporary copy of the store: on a disk, else in memory."""
    with suppress(OSError):  # no file can be created in any temporary folder
        yield Path(gettempdir())
    if MEMORY_FOLDER.is_dir():
        yield MEMORY_FOLDER


def _copy(store: Path, folder: Path) -> bool:
    """Copy the store and its write-ahead log to `folder`; whether the copy is consistent.

    The log is copied after the file, so it has all that a checkpoint has meanwhile brought to the
    file, and an incomplete end is no commit: it must only not have been restarted.
    """
    try:
        before = _state_of_files(store)
        for file in _files(store):
            copy = folder / file.name
            copy.unlink(missing_ok=True)
            if file.exists():
                shutil.copyfile(file, copy)
        return _state_of_files(store) == before
    except FileNotFoundError:
        return False


def _state_of_files(store: Path) -> tuple[object, ...]:
    """A value that changes when the log is restarted, or the file is written to without one."""
    file, log = _files(store)
    status = file.stat()
    return status.st_ino, wal_file.read_header(log) or (status.st_size, status.st_mtime_ns)


def _files(store: Path) -> tuple[Path, Path]:
    """The store's file and its write-ahead log."""
    return store, store.with_name(store.name + "-wal")
