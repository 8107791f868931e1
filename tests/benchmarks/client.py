"""What clients cost: the CPU of one request in Python, of a knob, and of the command line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from programs import ENVIRONMENT, result_of, running, serving
from rows import Row, at_most
from support.harness import ROOT, Server
from support.redis_server import RedisServer

BARE: Final = (sys.executable, "-c", "import json, socket")
PROGRAM: Final = str(Path(sys.executable).with_name("signalbox"))


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, times = (3, 500) if quick else (11, 3_000)
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder / "store"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        at_once = int(stack.enter_context(running("unread.py")).ready["port"])
        yield from _requests(server, at_once, redis, rounds, times)
        yield _knob(server, rounds, 100 * times)
        yield _command_line(server, 2 * rounds)


def _requests(
    server: Server, at_once: int, redis: RedisServer, rounds: int, times: int
) -> Iterator[Row]:
    """The client's own CPU, beside that of redis-py: a process that has slept is slower at first.

    So also where its requests are answered at once, by the program at the port `at_once`, as Redis
    answers; a durable set is answered once the disk has it.
    """
    sides = {
        "of our server": {
            "client": "signalbox",
            "port": server.port,
            "token": server.write_token,
        },
        "answered at once": {"client": "signalbox", "port": at_once, "token": ""},
        "redis-py": {"client": "redis", "port": redis.port},
    }
    for kind in ("set", "get"):
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                result = result_of("client_requests.py", kind=kind, times=times, **side)
                spent[name].append(result["microseconds"])
        beside = ("redis-py", median(spent.pop("redis-py")))
        for name, ours in spent.items():
            what = f"Python client: its own CPU for one {kind}, {name}"
            yield at_most(what, median(ours), "µs", None, beside, 0.9)


def _knob(server: Server, rounds: int, times: int) -> Row:
    """A read of a knob, which asks nobody, beside one of an attribute."""
    port, token = server.port, server.write_token
    spent = result_of("knob_reads.py", port=port, token=token, times=times, rounds=rounds)
    beside = ("an attribute", spent["attribute"])
    return at_most("Python client: CPU for one knob.value", spent["knob"], "ns", 1_000, beside)


def _command_line(server: Server, rounds: int) -> Row:
    """CPU of `signalbox get` as a process, beside a Python that has what any client needs."""
    server.set("bench.key", 1)
    command = (PROGRAM, "--data-dir", str(server.data_dir), "get", "bench.key")
    pairs = [(_cpu(command), _cpu(BARE)) for _ in range(rounds + 1)][1:]  # the first warms up
    ours, bare = (median(side) for side in zip(*pairs, strict=True))
    beside = ('python -c "import json, socket"', bare)
    return at_most("signalbox get, CPU of the process", ours, "ms", None, beside, 2.5)


def _cpu(command: tuple[str, ...]) -> float:
    """Milliseconds of CPU, user and system, that a process takes from its start to its end."""
    process = subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command!r} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000
