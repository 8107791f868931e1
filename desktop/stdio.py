"""The standard streams: whether a terminal shows them, and where they are closed or full."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE: Final = (*FULL, errno.EIO, errno.EBADF)


def has_terminal() -> bool:
    """Whether somebody reads what is written to stderr. A windowed program has none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def reopen_closed_streams() -> None:
    """Put the null device where a standard stream is closed, as services and cron start programs.

    Else the next file or socket would take its number, and be written to or read by mistake.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115


def discard_stdout() -> None:
    """Send what stdout has not written to the null device: Python would report it once more when
    it ends.
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stdout_error(error: OSError) -> str | None:
    """One sentence where stdout could not be written to; None for any other error."""
    if error.errno not in UNWRITABLE or error.filename is not None:
        return None
    if error.errno in FULL:
        return "Not all could be printed: what stdout is written to is full."
    return "Not all could be printed: stdout cannot be written to."
