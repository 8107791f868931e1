"""The processes that a benchmark starts, and what it costs them to run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from support.harness import ROOT, Server

HERE: Final = Path(__file__).resolve().parent
ENVIRONMENT: Final = os.environ | {
    "PYTHONPATH": os.pathsep.join(
        [str(ROOT), str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    )
}


class Program:
    """A script beside this file; it is given one JSON object and says when it is ready.

    `ready` is the object in its first line.
    """

    def __init__(self, script: str, **given: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(given)],
            env=ENVIRONMENT,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.read_line()

    def read_line(self) -> Any:
        """The next line that it prints, decoded. Raises `RuntimeError` where it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        return json.loads(line)

    def write_line(self, **given: Any) -> None:
        """Write one JSON line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def running(script: str, **given: Any) -> Iterator[Program]:
    """A `Program` for the length of a `with` block."""
    program = Program(script, **given)
    try:
        yield program
    finally:
        program.end()


def result_of(script: str, **given: Any) -> Any:
    """What a script prints that does one thing and ends."""
    with running(script, **given) as program:
        return program.ready


@contextmanager
def serving(data_dir: Path, *options: str) -> Iterator[Server]:
    """Signalbox's own server for the length of a `with` block."""
    server = Server(data_dir, *options)
    try:
        yield server
    finally:
        server.kill()


def memory(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in MB; its highest so far with `VmHWM` (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{field} is not in /proc/{pid}/status")


def cpu_milliseconds(pid: int) -> float:
    """The CPU that the threads of a process have used so far, exactly (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def fsync_milliseconds(folder: Path, times: int = 200) -> float:
    """The median time that `folder`'s disk needs to make 4 KiB durable."""
    path, spent = folder / "fsync", []
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        for number in range(times):
            os.pwrite(descriptor, bytes(4096), number * 4096)
            started = perf_counter()
            os.fsync(descriptor)
            spent.append(perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(spent)[times // 2] * 1000
