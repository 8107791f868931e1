"""Logging of the window's process: to stderr, and while it shows windows to a file as well."""

import logging
import threading
from pathlib import Path
from typing import Final

from signalbox.desktop import paths
from signalbox.server.log_file import FORMAT, LogFile, old_log

log: Final = logging.getLogger("signalbox.desktop")
client_log: Final = logging.getLogger("signalbox")
"""What the client logs has the program's name in it, since scripts use it as well."""


def log_to_stderr() -> None:
    """Log as the other lines of this process are written; libraries keep their own handlers."""
    for logger, line in ((log, "signalbox: %(message)s"), (client_log, "%(message)s")):
        _add_handler(logger, logging.StreamHandler(), line)
    log.propagate = False
    threading.excepthook = _log_thread_error


def log_to_file(file: Path) -> None:
    """Log to `file` as well. Raises `NotRunning` for what is no file, and `OSError`."""
    paths.check_files(file, old_log(file))
    handler = LogFile(file)
    for logger in (log, client_log):
        _add_handler(logger, handler, FORMAT)


def _add_handler(logger: logging.Logger, handler: logging.Handler, line: str) -> None:
    """Have the window's process log by this handler, in lines of this form."""
    handler.setFormatter(logging.Formatter(line))
    logger.addHandler(handler)


def _log_thread_error(failed: threading.ExceptHookArgs) -> None:
    """What ended a thread: by default it is printed, which nobody sees without a terminal."""
    if failed.exc_type is not SystemExit:
        log.error("Unexpected error.", exc_info=failed.exc_value)
