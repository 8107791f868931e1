"""A process that outlives a test run and ends what the run has left behind.

Its stdin is a pipe that nobody but the run holds open: it ends with the run, however that ended. A
parent-death signal would not do: it follows the thread that forked, and is lost by grandchildren.
What the run started is known by its environment, which carries the run's mark.
"""

import os
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

import psutil

VARIABLE: Final = "SIGNALBOX_TEST_RUNS"
"""Holds the marks of all runs that a process belongs to: of a worker and of what started it."""
SECONDS: Final = 10.0
PAUSE: Final = 0.05


def marked(mark: str) -> list[psutil.Process]:
    """Every process that was started by the run with that mark, directly or not."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and _carries(one, mark)]


def end(mark: str) -> None:
    """Kill them, again until none is left: whoever is being started meanwhile has no mark yet."""
    last = monotonic() + SECONDS
    quiet = 0
    while quiet < 2 and monotonic() < last:
        found = marked(mark)
        for process in found:
            _kill(process)
        quiet = 0 if found else quiet + 1
        sleep(PAUSE)


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return mark in process.environ().get(VARIABLE, "")
    except (psutil.Error, OSError):  # it has ended, or is somebody else's
        return False


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):  # it was faster
        process.kill()


if __name__ == "__main__":
    sys.stdin.buffer.read()  # until the run has ended
    end(sys.argv[1])
