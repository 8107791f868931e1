"""Files of ours: regular ones, since opening a pipe or a device may wait forever, and private."""

import os
import stat
from pathlib import Path
from typing import Final

from signalbox.server.model.errors import StoreError

NON_BLOCKING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags: opening does not wait; on Windows, bytes are read unchanged."""


def other_kind(path: Path) -> str | None:
    """The kind of what is at `path`, in words; None where it is a regular file, or nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # opening it says why
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def check_regular(*paths: Path) -> None:
    """Raises `StoreError` for the first path that is no regular file."""
    for path in paths:
        if kind := other_kind(path):
            raise StoreError(
                f"{path} is {kind}, where Signalbox has a file of its own: move it away."
            )


def open_private(name: str, flags: int) -> int:
    """An opener for `open`: a file that is made is for its owner only."""
    return os.open(name, flags, 0o600)


def read(path: Path) -> bytes:
    """The content of a regular file. Raises `OSError` where there is none."""
    number = os.open(path, os.O_RDONLY | NON_BLOCKING)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no file")
    with os.fdopen(number, "rb") as file:
        return file.read()
