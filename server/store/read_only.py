"""A store that lies where nothing can be written, or no file can be made: what reads it works on a
copy of its files.
"""

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
from signalbox.server.store import ballast, open_checks, store_marker

TRIES: Final = 5
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a new folder in it is made as in any other
"""Where Linux has files in memory: for a copy that the temporary folder has no room for either."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
LOG_HEADER: Final = 32
"""Bytes at the beginning of a write-ahead log that are others when it begins anew."""


def is_read_only(store: Path) -> bool:
    """Whether there is a store, and SQLite could not open it as it does: it writes files beside."""
    files = [store.parent, *(file for file in _files(store) if file.exists())]
    return store.exists() and not all(os.access(file, os.W_OK) for file in files)


def lacks_files(store: Path, *others: Path) -> bool:
    """Whether SQLite needs a file to open it, or one of `others` is needed, that is not there and
    cannot be made, as where the disk has no free inode.

    A full disk has room for files without content, once its ballast is given back.
    """
    needed = [store.with_name(store.name + ending) for ending in ("", "-wal", "-shm")]
    missing = sum(not file.exists() for file in [*needed, *others])
    if not _has_no_room_for(missing, store.parent):
        return False
    ballast.remove(store)
    return _has_no_room_for(missing, store.parent)


def no_files(store: Path) -> str:
    """What is told of a store for which `lacks_files` is true, as a part of a sentence."""
    return (
        f"no more files can be made in {store.parent}, since its disk or a quota has as many as it "
        "takes: remove some that nobody needs"
    )


def not_opened(called: Path, path: Path | None, error: apsw.Error) -> StoreError:
    """SQLite does not say that no file can be made, only that one cannot be opened."""
    why = reason(error)
    if path and isinstance(error, apsw.CantOpenError) and lacks_files(path):
        why = no_files(path)
    return StoreError(f"{called} cannot be opened as a Signalbox store: {why}.")


def _has_no_room_for(files: int, folder: Path) -> bool:
    with ExitStack() as stack:
        try:
            for _ in range(files):
                stack.enter_context(TemporaryFile(dir=folder))
        except OSError as error:
            return error.errno in _NO_ROOM
    return False


@contextmanager
def temporary_copy(store: Path) -> Iterator[Path]:
    """A copy of the store in a temporary folder that goes afterwards.

    Of both files: what an open that takes the store for immutable leaves out stands in the second.
    Raises `StoreError` where there is no room for it, or where another program goes on writing.
    """
    open_checks.check_regular_file(store)
    store_marker.check_not_lost(store)
    with ExitStack() as stack:
        try:
            folder = _copy_somewhere(store, stack)
        except OSError as error:
            why = no_files(store) if lacks_files(store) else "it is read-only"
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


def _copy_somewhere(store: Path, stack: ExitStack) -> Path | None:
    """The folder with it, which goes with `stack`; None where no copy was of one moment."""
    for place in _places():
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="signalbox-", dir=place)))
            return folder if any(_copy(store, folder) for _ in range(TRIES)) else None
        except OSError as error:
            if error.errno not in _NO_ROOM or place == MEMORY:
                raise
    raise OSError(errno.ENOSPC, "no temporary folder has room")


def _places() -> Iterator[Path]:
    with suppress(OSError):  # no file can be made in any folder for temporary ones
        yield Path(gettempdir())
    if MEMORY.is_dir():
        yield MEMORY


def _copy(store: Path, folder: Path) -> bool:
    """Whether the copies are of one moment.

    The log is copied behind the file, so it has whatever was brought from it to the file meanwhile,
    and an end that is not whole is no commit: it must only not have begun anew.
    """
    try:
        before = _state(store)
        for file in _files(store):
            copy = folder / file.name
            copy.unlink(missing_ok=True)
            if file.exists():
                shutil.copyfile(file, copy)
        return _state(store) == before
    except FileNotFoundError:
        return False


def _state(store: Path) -> tuple[object, ...]:
    """What is another once a log has begun anew, or the file was written to without one."""
    file, log = _files(store)
    found = file.stat()
    return found.st_ino, _begin(log) or (found.st_size, found.st_mtime_ns)


def _begin(log: Path) -> bytes:
    """Empty where there is no log, or nothing in it."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        return file.read(LOG_HEADER)


def _files(store: Path) -> tuple[Path, Path]:
    return store, store.with_name(store.name + "-wal")
