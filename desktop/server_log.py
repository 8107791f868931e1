"""The server's log: a file that its owner alone reads, and that stays small while it is written."""

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from signalbox.desktop import paths

MOST_BYTES: Final = 1 << 20
"""A log that is larger becomes the old log, and begins anew."""
LOOK_SECONDS: Final = 60.0


def open_log(path: Path) -> BinaryIO:
    """For appending, begun anew where it is large. Raises `NotRunning` for what is no file."""
    paths.check_files(path, old(path))
    rotate(path)
    return open(path, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600))


def rotate(path: Path) -> None:
    """Make a large log the old one; whoever is writing goes on in the same file, from its start."""
    if not path.exists() or path.stat().st_size <= MOST_BYTES:
        return
    shutil.copyfile(path, old(path))
    old(path).chmod(0o600)
    os.truncate(path, 0)  # everybody appends, so nobody leaves a hole


def old(path: Path) -> Path:
    """What was said before."""
    return path.with_suffix(".old.log")


def bound(path: Path, closed: threading.Event, seconds: float = LOOK_SECONDS) -> None:
    """Look at it again and again until `closed`; also where its server runs for years."""
    while not closed.wait(seconds):
        with suppress(OSError):  # as where something else is in its place by now
            rotate(path)
