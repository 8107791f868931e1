"""Logging of the server: the logger `signalbox` writes to stderr or to a rotating file."""

import logging
import os
import shutil
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import gevent

from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason
from signalbox.server.store import plain_file

MAX_BYTES: Final = 1 << 20
"""A log that is larger becomes the old log, of which there is one."""
FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"

logger: Final = logging.getLogger("signalbox")


def configure(file: Path | None) -> None:
    """Log to `file`, else to stderr. Raises `StoreError` where the file cannot be written."""
    try:
        handler = logging.StreamHandler() if file is None else LogFile(file)
    except OSError as error:
        raise StoreError(f"The log {file} cannot be written: {reason(error)}.") from error
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # By default the hub prints what ends a greenlet.
    vars(gevent.get_hub())["print_exception"] = _log_exception


class LogFile(RotatingFileHandler):
    """A file that only its owner can read.

    The process that starts the server may make it its stderr as well, so that it has what a crash
    of the interpreter prints. So the file is emptied, not renamed: everybody appends. Raises
    `StoreError` for what is no file, and `OSError`.
    """

    def __init__(self, file: Path) -> None:
        plain_file.check_regular(file, old_log(file))
        super().__init__(file, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8")
        self.namer = lambda _: str(old_log(file))
        self.rotator = _copy_and_empty

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=open_private)


def rotate_if_large(file: Path) -> None:
    """Where nothing is logged: what earlier servers left when they crashed may be much."""
    if file.stat().st_size > MAX_BYTES:
        _copy_and_empty(str(file), str(old_log(file)))


def old_log(file: Path) -> Path:
    """Where the log before `file` is."""
    return file.with_suffix(".old.log")


def open_private(name: str, flags: int) -> int:
    """An opener for `open`: a file that is made is for its owner only."""
    return os.open(name, flags, 0o600)


def _copy_and_empty(source: str, old: str) -> None:
    with suppress(OSError):  # as on a full disk: the log goes on to grow
        shutil.copyfile(source, old)
        Path(old).chmod(0o600)
        os.truncate(source, 0)


def _log_exception(
    context: Any,
    kind: type[BaseException] | None,
    error: BaseException | str | None,
    traceback: TracebackType | None,
) -> None:
    """What ended a greenlet; `context` is the greenlet, or the request that it served."""
    del context, kind, traceback  # a request's environment has the token
    assert isinstance(error, BaseException)  # the hub makes one of whatever it was given
    logger.error("Unexpected error.", exc_info=error)
