"""What a sender feels while the whole past is removed."""

import json
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import Any, Final

from programs import Program, running
from rows import Row, at_most, format_number, percentile
from support.harness import Server

RATE: Final = 100
"""Commands a second."""
HOLD_MS: Final = 20
"""For so long a step may hold the writer, and thereby a command that comes meanwhile."""
TIMEOUT_SECONDS: Final = 3_600.0


def measure(server: Server, changes: int, age: int, seconds: float) -> Iterator[Row]:
    """Without compaction for so many seconds, then until the `changes` older than `age` are done.

    `age` is in seconds.
    """
    before = server.get("/queries/status").json()["bytes"]
    token = server.write_token
    with running("steady.py", port=server.port, token=token, rate=RATE) as sender:
        sleep(seconds / 5)
        _waits(sender)  # these made its keys
        sleep(seconds)
        alone = _waits(sender)
        spent = _compact(server, age)
        meanwhile = _waits(sender)
    what = f"compaction of {changes:,} changes"
    yield Row(
        what, f"{format_number(changes / spent)} /s", f"{spent:.1f} s", _sizes(server, before)
    )
    what += f", {RATE} sets a second meanwhile"
    p99, without = percentile(meanwhile, 0.99), percentile(alone, 0.99)
    bound = round(without + HOLD_MS, 1)
    yield at_most(f"{what}: p99", p99, "ms", bound, ("without it", without))
    yield at_most(f"{what}: longest", max(meanwhile), "ms", None, ("without it", max(alone)))


def _waits(sender: Program) -> list[float]:
    sender.write_line()
    waits: list[float] = sender.read_line()["waits"]
    return waits


def _compact(server: Server, age: int) -> float:
    """Seconds until nothing so old is left that a newer change has replaced."""
    started = perf_counter()
    server.set("_signalbox.retention", {"max_age": f"{age}s"})
    connection = server.connect(TIMEOUT_SECONDS)  # it may wait for the one in the background
    connection.request("POST", "/commands/compact", headers=server.authorization())
    response = connection.getresponse()
    answer: Any = json.loads(response.read())
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"The compaction was refused: {answer}")
    return perf_counter() - started


def _sizes(server: Server, before: int) -> str:
    status = server.get("/queries/status").json()
    return f"{before / 1e6:.0f} MB, then {status['free_bytes'] / 1e6:.0f} of them free"
