"""The rotating file of a log, which the server and the window's process have."""

import logging
import os
import shutil
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from time import monotonic
from typing import Final

from signalbox.server.store import plain_file

MAX_BYTES: Final = 1 << 20
"""A log that is larger becomes the old log, of which there is one."""
RETRY_SECONDS: Final = 60.0
"""The pause after a log could not be rotated."""
FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


class LogFile(RotatingFileHandler):
    """A file that only its owner can read.

    The process that starts the server may make it its stderr as well, so that it has what a crash
    of the interpreter prints. So the file is emptied, not renamed: everybody appends. Raises
    `StoreError` for what is no file, and `OSError`.
    """

    def __init__(self, file: Path) -> None:
        """Open the server's log, in a regular file alone."""
        plain_file.check_regular(file, old_log(file))
        super().__init__(file, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8")
        self._retry_at = 0.0
        """When to rotate again after that has failed, by the monotonic clock, in seconds."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether to begin a new log file; not at once again where that has failed."""
        return monotonic() >= self._retry_at and bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        """Unlike the base class keep the old log until there is a new one."""
        if not _copy_and_empty(Path(self.baseFilename)):
            self._retry_at = monotonic() + RETRY_SECONDS

    def _open(self) -> TextIOWrapper:
        """Open the log file, which only its owner may read."""
        return open(self.baseFilename, "a", encoding=self.encoding, opener=plain_file.open_private)


def rotate_if_large(file: Path) -> None:
    """Rotate a log to which nothing is logged: servers that crashed may have left much."""
    if file.stat().st_size > MAX_BYTES:
        _copy_and_empty(file)


def old_log(file: Path) -> Path:
    """The path of the log before `file`, of which there is one."""
    return file.with_suffix(".old.log")


def _copy_and_empty(file: Path) -> bool:
    """Copy the log and empty it; False where that fails, as on a full disk: nothing is lost."""
    old = old_log(file)
    part = old.with_suffix(".part")
    try:
        part.touch(0o600)
        shutil.copyfile(file, part)
        part.chmod(0o600)
        part.replace(old)
        os.truncate(file, 0)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return False
    return True
