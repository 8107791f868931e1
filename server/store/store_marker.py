"""The marker beside every store, by which a lost store is detected: no new one replaces it.

A young store exists in its write-ahead log alone: where that is lost, or the file beside it, SQLite
sees a new file, and deletes what is left of the log. A power failure while a store is created
leaves an empty file as well; there nothing is lost, and the next start creates the store.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from signalbox.server.model.errors import StoreError
from signalbox.server.store import plain_file
from signalbox.server.store.file_names import ENDPOINT_FILE, MARKER_SUFFIX, STORE_FILE

_SEPARATOR: Final = " has the Signalbox store "
"""In the marker, between the name of the store's file and the store's id."""
HEADER: Final = 100
"""Bytes at the beginning of every SQLite file."""
MAGIC: Final = b"SQLite format 3\0"
_SCHEMA_COOKIE: Final = slice(40, 44)
"""The number of schema changes in the header; zero in a file without tables."""
_APPLICATION_ID: Final = slice(68, 72)
APPLICATION_ID: Final = int.from_bytes(b"SBOX")
"""The file's `application_id`, set once the write-ahead log beside it is safely on the disk."""


def check_not_lost(path: Path) -> None:
    """Raises `StoreError` where files beside `path` show that there was a store, and it is lost."""
    size, log = _size(path), _size(wal_path(path))
    if not size and (log or _has_marker(path) or (size == 0 and _has_endpoint(path))):
        raise StoreError(_lost_message(path, "is empty" if size == 0 else "is missing"))
    if size and not log and _is_marked_without_table(path):
        raise StoreError(
            _lost_message(path, "has no table", f"{wal_path(path).name} is missing or empty")
        )


def is_unfinished(path: Path) -> bool:
    """Whether creating a store was interrupted; the next start creates it."""
    size, log = _size(path), _size(wal_path(path))
    return not log and (size == 0 or (bool(size) and _has_no_table(path)))


def write_marker(path: Path, store: str) -> None:
    """Write the marker of the store with this id, which may be empty, and sync it to the disk.

    Where that fails, the store is used without it.
    """
    text = f"{path.name}{_SEPARATOR}{store}.\n".encode()
    with suppress(OSError):
        if not _has_marker(path) or plain_file.read(marker_path(path)) != text:
            with marker_path(path).open("wb", buffering=0) as file:
                file.write(text)
                os.fsync(file.fileno())


def marked_store_id(path: Path) -> str:
    """The store's id in the marker; empty where there is none."""
    with suppress(OSError, UnicodeError):
        words = plain_file.read(marker_path(path)).decode().split(_SEPARATOR)
        return words[1].rstrip(".\n") if len(words) == 2 else ""
    return ""


def remove_marker(path: Path) -> None:
    """Remove the marker where the store's file is gone: the next start may create another store.

    For a server that has refused a command because the file is gone: somebody knows of it.
    """
    if _size(path) is None:
        with suppress(OSError):
            marker_path(path).unlink(missing_ok=True)


def remove_stale_endpoint(path: Path) -> None:
    """Remove an `endpoint.json` without a store beside it: it is that of an earlier store."""
    if _has_endpoint(path) and _size(path) is None and _size(wal_path(path)) is None:
        with suppress(OSError):
            _endpoint(path).unlink(missing_ok=True)


def check_empty_file(path: Path) -> None:
    """As `check_not_lost`, for a file in which SQLite has found no table."""
    if _size(path) and (_has_marker(path) or _has_endpoint(path)):
        unread = (f"{wal_path(path).name} cannot be read",) if wal_size(path) else ()
        raise StoreError(_lost_message(path, "has no table", *unread))


def wal_size(path: Path) -> int:
    """The size of the store's write-ahead log in bytes; 0 where there is none."""
    return _size(wal_path(path)) or 0


def wal_path(path: Path) -> Path:
    """The path of the store's write-ahead log."""
    return path.with_name(path.name + "-wal")


def marker_path(path: Path) -> Path:
    """The path of the marker beside the store."""
    return path.with_name(path.name + MARKER_SUFFIX)


def _has_marker(path: Path) -> bool:
    """Whether a store was here, by its marker."""
    return marker_path(path).exists()


def _has_endpoint(path: Path) -> bool:
    """Whether a server has not ended properly: else it has removed its `endpoint.json`.

    A file with another name belongs to a data directory that reaches it by a link.
    """
    return path.name == STORE_FILE and _endpoint(path).exists()


def _endpoint(path: Path) -> Path:
    """The file in which a running server of this store names its address."""
    return path.with_name(ENDPOINT_FILE)


def _is_marked_without_table(path: Path) -> bool:
    """Whether the file is a store that lost everything but its header."""
    return _header(path)[_APPLICATION_ID] == APPLICATION_ID.to_bytes(4) and _has_no_table(path)


def _has_no_table(path: Path) -> bool:
    """Whether a SQLite file has no tables, by its header alone."""
    header = _header(path)
    return header.startswith(MAGIC) and not any(header[_SCHEMA_COOKIE])


def _header(path: Path) -> bytes:
    """The header of a SQLite file; empty where it cannot be read, which opening it will report."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER)
    except OSError:
        return b""


def _lost_message(path: Path, *problems: str) -> str:
    """The message of a lost store, with the files that are there."""
    files = [
        f"{file.name} ({size:,} bytes)"
        for file in (path, wal_path(path), marker_path(path))
        if (size := _size(file)) is not None
    ]
    return (
        f"The store {path} {', and '.join(problems)}: what was written to it is lost or elsewhere. "
        f"There is {' and '.join(files)}. Nothing was changed. Put back what is missing, or a "
        "backup; to begin anew, move these away."
    )


def _size(path: Path) -> int | None:
    """The size of a file of the store in bytes; None where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None
