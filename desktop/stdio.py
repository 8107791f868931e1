"""Standard streams that are closed, full, or read by nobody any more."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LOST: Final = (*FULL, errno.EIO, errno.EBADF)


def open_closed() -> None:
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


def forget_output() -> None:
    """Let go of what stdout has not taken: Python would complain about it once more at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def why_lost(error: OSError) -> str | None:
    """One sentence where stdout could not take what was printed; None for any other error."""
    if error.errno not in LOST or error.filename is not None:
        return None
    if error.errno in FULL:
        return "Not all could be printed: what stdout is written to is full."
    return "Not all could be printed: stdout cannot be written to."
