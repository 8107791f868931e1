"""Processes that stand still: they keep what they have, and answer nothing."""

import signal
from time import monotonic, sleep
from typing import Final

import psutil

SECONDS: Final = 20.0


def freeze(pid: int) -> None:
    """Return once it stands still; `thaw` lets it go on.

    A process that waits for a processor goes on for a while after the signal was sent.
    """
    process, end = psutil.Process(pid), monotonic() + SECONDS
    process.send_signal(signal.SIGSTOP)
    while process.status() != psutil.STATUS_STOPPED:
        assert monotonic() < end, f"{pid} is {process.status()}"
        sleep(0.005)  # only its parent would get an event


def thaw(pid: int) -> None:
    psutil.Process(pid).send_signal(signal.SIGCONT)
