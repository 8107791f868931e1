"""A store that lies where nothing can be written: what reads it works on a copy of its files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.failures import reason
from signalbox.server.store import lost_store, store_file

TRIES: Final = 5
LOG_HEADER: Final = 32
"""Bytes at the beginning of a write-ahead log that are others when it begins anew."""


def is_read_only(store: Path) -> bool:
    """Whether there is a store, and SQLite could not open it as it does: it writes files beside."""
    files = [store.parent, *(file for file in _files(store) if file.exists())]
    return store.exists() and not all(os.access(file, os.W_OK) for file in files)


@contextmanager
def copied(store: Path) -> Iterator[Path]:
    """A copy of the store in a temporary folder that goes afterwards.

    Of both files: what an open that takes the store for immutable leaves out stands in the second.
    Raises `StoreError` where there is no room for it, or where another program goes on writing.
    """
    store_file.check_kind(store)
    lost_store.check(store)
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="signalbox-")))
            is_whole = any(_copy(store, folder) for _ in range(TRIES))
        except OSError as error:
            raise StoreError(
                f"{store} is read-only, and a copy to read it from cannot be made in "
                f"{gettempdir()}: {reason(error)}. The environment variable TMPDIR chooses another "
                "folder."
            ) from error
        if not is_whole:
            raise StoreError(
                f"{store} is read-only here, and another program writes to it while it is copied: "
                "end that, or try again."
            )
        yield folder / store.name


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
