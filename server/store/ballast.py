"""The ballast: a file that reserves a little of a disk that is filling up.

Removing it makes room for the next start, and for deletions.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES: Final = 256 * 1024
ENDING: Final = "-ballast"
"""Suffix of its name, after that of the store's file."""
PLENTY: Final = 256 * 1024 * 1024
"""With more free bytes than this nothing need be measured: no transaction takes as much."""


def create(path: Path) -> None:
    """Create the ballast beside the store at `path`, where there is room."""
    file = _ballast_file(path)
    try:
        if _size(file) != BYTES:
            file.write_bytes(os.urandom(BYTES))  # some file systems keep no zeros
    except OSError:
        remove(path)


def remove(path: Path) -> None:
    """Remove the ballast, which frees its space."""
    with suppress(OSError):
        _ballast_file(path).unlink(missing_ok=True)


def remove_if_full(path: Path) -> None:
    """Remove the ballast where the disk is so full that opening the store may need its space."""
    if (free := free_if_scarce(path)) is not None and free < BYTES:
        remove(path)


def remove_if_full_for_reading(path: Path) -> None:
    """Remove the ballast as `remove_if_full`, unless the write-ahead log has an index file: then
    SQLite creates no file, and a server may have the store open, which needs its ballast.
    """
    if not _size(path.with_name(f"{path.name}-shm")):
        remove_if_full(path)


def free_if_scarce(path: Path) -> int | None:
    """The free bytes of the disk that a ballast is for; None where plenty, or unknown."""
    try:
        disk = shutil.disk_usage(path.parent)
    except OSError:
        return None
    return disk.free if disk.total and disk.free < PLENTY else None


def _ballast_file(path: Path) -> Path:
    """The file of the ballast of the store at `path`."""
    return path.with_name(path.name + ENDING)


def _size(file: Path) -> int | None:
    """The size in bytes of the ballast, or of another file; None where there is none."""
    with suppress(OSError):
        return file.stat().st_size
    return None
