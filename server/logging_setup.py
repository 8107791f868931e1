"""Logging of the server: the logger `signalbox` writes to stderr or to a rotating file."""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import gevent

from signalbox.server.log_file import FORMAT, LogFile
from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason

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
