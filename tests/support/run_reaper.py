"""A process that outlives a test run and kills the processes that the run has left.

Its stdin is a pipe that only the run holds open, so it is closed however the run ends. A
parent-death signal would not do: it follows the thread that forked, and is lost by grandchildren.
The processes of a run are found by their environment, which has the run's mark.
"""

import os
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

import psutil

RUN_MARKS_VARIABLE: Final = "SIGNALBOX_TEST_RUNS"
"""Holds the marks of all runs that a process belongs to: of a worker and of what started it."""
TIMEOUT: Final = 10.0
PAUSE: Final = 0.05


def processes_of_run(mark: str) -> list[psutil.Process]:
    """Every process that was started by the run with that mark, directly or not."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and _has_mark(one, mark)]


def kill_run(mark: str) -> None:
    """Kill them until none is left: one that is just being started has no mark yet."""
    deadline = monotonic() + TIMEOUT
    quiet = 0
    while quiet < 2 and monotonic() < deadline:
        found = processes_of_run(mark)
        for process in found:
            _kill(process)
        quiet = 0 if found else quiet + 1
        sleep(PAUSE)


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return mark in process.environ().get(RUN_MARKS_VARIABLE, "")
    except (psutil.Error, OSError):  # it has ended, or is somebody else's
        return False


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):  # it was faster
        process.kill()


if __name__ == "__main__":
    sys.stdin.buffer.read()  # until the run has ended
    kill_run(sys.argv[1])
