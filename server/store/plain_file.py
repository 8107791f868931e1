"""What lies in the place of a file that is ours: who opens a pipe or a device may wait forever."""

import os
import stat
from pathlib import Path
from typing import Final

from signalbox.server.model.errors import StoreError

AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Opening waits for nobody; on Windows, bytes are read as they are."""


def what_else(path: Path) -> str | None:
    """What is there where it is no file; None where it is one, or nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # opening it says why
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def check(*paths: Path) -> None:
    """Raises `StoreError` for the first that is no file."""
    for path in paths:
        if what := what_else(path):
            raise StoreError(
                f"{path} is {what}, where Signalbox has a file of its own: move it away."
            )


def read(path: Path) -> bytes:
    """All of a file. Raises `OSError` where there is none, and for whatever else is there."""
    number = os.open(path, os.O_RDONLY | AT_ONCE)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no file")
    with os.fdopen(number, "rb") as file:
        return file.read()
