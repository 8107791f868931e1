"""A file that takes a little of a disk which fills up, so that others cannot: without it there is
room for the next start, and for deleting.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES: Final = 256 * 1024
ENDING: Final = "-ballast"
"""Of its name, behind that of the store's file."""
PLENTY: Final = 256 * 1024 * 1024
"""With more than this nothing need be measured: no transaction takes as much."""


def create(path: Path) -> None:
    """Have a ballast beside the store at `path`, where there is room."""
    file = _file(path)
    try:
        if _size(file) != BYTES:
            file.write_bytes(os.urandom(BYTES))  # some file systems keep no zeros
    except OSError:
        remove(path)


def remove(path: Path) -> None:
    """Give back what it takes."""
    with suppress(OSError):
        _file(path).unlink(missing_ok=True)


def remove_if_full(path: Path) -> None:
    """As `remove`, where opening the store may need it: its files take a little."""
    if (left := free_if_scarce(path)) is not None and left < BYTES:
        remove(path)


def remove_if_full_for_reading(path: Path) -> None:
    """As `remove_if_full`, unless there is an index of the write-ahead log, as while a server has
    the store open, which needs its ballast: then SQLite makes no file.
    """
    if not _size(path.with_name(f"{path.name}-shm")):
        remove_if_full(path)


def free_if_scarce(path: Path) -> int | None:
    """The bytes that are left where `path` lies; None where that is plenty, or not known."""
    try:
        disk = shutil.disk_usage(path.parent)
    except OSError:
        return None
    return disk.free if disk.total and disk.free < PLENTY else None


def _file(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def _size(file: Path) -> int | None:
    with suppress(OSError):
        return file.stat().st_size
    return None
