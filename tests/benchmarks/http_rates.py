"""Requests a second over HTTP, and the server's CPU for each, beside a peer and a bare handler.

First the same server beside itself: where the two differ, the machine is too noisy, and the other
rows claim nothing.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from load import KEYS
from programs import fsync_milliseconds, result_of, running, serving
from rows import Row, at_least, no_more_than, ratio_of
from support.redis_server import DURABLE, RedisServer

PEER: Final = "uvicorn + uvloop + httptools"
BARE: Final = "gevent + bottle doing nothing"
NOISE: Final = 0.08
"""How far apart the same server may be from itself."""


class Side(NamedTuple):
    """A program that answers `script`'s requests, to which `given` is given."""

    process: psutil.Process
    script: str
    given: dict[str, Any]

    def measure(self, seconds: float, **load: Any) -> "Sample":
        before = sum(self.process.cpu_times()[:2])
        done = result_of(self.script, **self.given, seconds=seconds, **load)
        cpu = sum(self.process.cpu_times()[:2]) - before
        return Sample(done["requests"] / done["seconds"], cpu / done["requests"] * 1e6)


class Sample(NamedTuple):
    """Requests a second, and the server's CPU for one, in µs."""

    rate: float
    cpu: float


class Wanted(NamedTuple):
    """The least ratio of our rate to that of another side, and the highest of our CPU."""

    name: str
    rate: float
    cpu: float | None = None


class Load(NamedTuple):
    """What is sent to each side, and what is wanted of it."""

    what: str
    given: dict[str, Any]
    wanted: tuple[Wanted, ...]


LOADS: Final = (
    Load("durable set, 1 connection", {"kind": "set", "connections": 1}, (Wanted(PEER, 0.9),)),
    Load(
        "durable set, 8 connections",
        {"kind": "set", "connections": 8},
        (Wanted(PEER, 1.0, 1.1), Wanted(BARE, 0.9)),
    ),
    Load(
        "durable set, 32 connections",
        {"kind": "set", "connections": 32},
        (Wanted(PEER, 0.9, 1.2), Wanted(BARE, 1.25)),
    ),
    Load("one key, 8 connections", {"kind": "get", "connections": 8}, (Wanted(PEER, 1.0),)),
    Load("page of 100, 8 connections", {"kind": "page", "connections": 8}, (Wanted(PEER, 0.8),)),
)
REDIS: Final = "redis-py, a pipeline of 100, appendfsync always"
BATCHES: Final = Load("batches of 100 sets, one at a time", {}, (Wanted(REDIS, 0.5),))


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (5, 0.5) if quick else (15, 1.0)
    yield Row("fsync of 4 KiB, median", f"{fsync_milliseconds(folder):.3f} ms")
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder / "ours"))
        peer = stack.enter_context(running("peer.py", path=str(folder / "peer.db")))
        bare = stack.enter_context(running("bare.py"))
        redis = stack.enter_context(RedisServer(folder / "redis", *DURABLE))
        ours = {"port": server.port, "token": server.write_token}
        us = _side(server.pid, "load.py", ours)
        others = {
            PEER: _side(peer.process.pid, "load.py", {"port": peer.ready["port"], "token": ""}),
            BARE: _side(bare.process.pid, "load.py", {"port": bare.ready["port"], "token": ""}),
        }
        for side in (us, *others.values()):
            side.measure(0.2, **LOADS[1].given, least=KEYS)  # so that there are all keys
        control = _control(us, rounds, seconds)
        yield control
        for load in LOADS:
            yield from _compared(load, us, others, rounds, seconds, bool(control.met))
        us = _side(server.pid, "batches.py", ours | {"client": "signalbox"})
        given = {"client": "redis", "port": redis.port}
        others = {REDIS: _side(redis.process.pid, "batches.py", given)}
        yield from _compared(BATCHES, us, others, rounds, seconds, bool(control.met))


def _side(pid: int, script: str, given: dict[str, Any]) -> Side:
    return Side(psutil.Process(pid), script, given)


def _control(us: Side, rounds: int, seconds: float) -> Row:
    """The same server beside itself; also warms it up."""
    what, twin = "durable set, 8 connections, the same server twice", "itself"
    samples = _samples({"": us, twin: us}, LOADS[1].given, rounds, seconds)
    rates = [[sample.rate for sample in side] for side in samples.values()]
    is_quiet = abs(ratio_of(*rates) - 1) <= NOISE
    row = at_least(what, rates[0], twin, rates[1], "/s")
    target = f"within {NOISE:.0%}, else too noisy"
    return row._replace(target=target, met=is_quiet)


def _compared(
    load: Load, us: Side, others: dict[str, Side], rounds: int, seconds: float, is_quiet: bool
) -> Iterator[Row]:
    """The rates of one load, and what one request costs each server."""
    names = [wanted.name for wanted in load.wanted]
    sides = {"": us} | {name: others[name] for name in names}
    samples = _samples(sides, load.given, rounds, seconds)
    ours = samples.pop("")
    for wanted in load.wanted:
        theirs = samples[wanted.name]
        rates, cpu = ([[one[n] for one in side] for side in (ours, theirs)] for n in (0, 1))
        rows = [
            at_least(load.what, rates[0], wanted.name, rates[1], "/s", wanted.rate),
            no_more_than(f"{load.what}: CPU", cpu[0], wanted.name, cpu[1], "µs", wanted.cpu),
        ]
        yield from (row if is_quiet else row._replace(ratio="too noisy", met=None) for row in rows)


def _samples(
    sides: dict[str, Side], load: dict[str, Any], rounds: int, seconds: float
) -> dict[str, list[Sample]]:
    """What each side did in each round; they take turns."""
    for side in sides.values():
        side.measure(0.2, **load)  # warms up
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            samples[name].append(side.measure(seconds, **load))
    return samples
