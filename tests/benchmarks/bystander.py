"""The innocent bystander: who sets 50 times a second while one other client asks for much."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

import ndjson
from loads import LOADS, Load
from programs import Program, running, serving
from rows import Row, at_most, format_number, percentile
from support.harness import Server

RATE: Final = 50
"""Commands a second."""
P99_MS: Final = 50
LONGEST_MS: Final = 250
"""What the load may add to what a command waits without it."""
QUICK_DIVISOR: Final = 5
"""A quick run has so many times fewer keys."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    """Every load on a store of its own, so that none finds what another has left."""
    alone_seconds, load_seconds = (1.0, 1.5) if quick else (5.0, 6.0)
    quiet: list[float] = []
    loads = [load for load in LOADS if load.is_quick or not quick]
    for number, load in enumerate(loads):
        keys = load.keys // QUICK_DIVISOR if quick else load.keys
        store = folder / f"load-{number}"
        shutil.copytree(_filled(folder, keys), store)
        with serving(store) as server:
            given = {"port": server.port, "token": server.write_token, "rate": RATE}
            with running("steady.py", **given) as innocent:
                _waits(innocent, 0.5)  # these made its keys
                alone = _waits(innocent, alone_seconds)
                meanwhile, times = _under(load, server, innocent, load_seconds)
        quiet += alone
        yield from _rows(load.what.format(keys=f"{keys:,}"), meanwhile, alone, times)
        shutil.rmtree(store)
    what = f"{RATE} sets a second, nobody else: p99, longest"
    yield Row(what, f"{format_number(percentile(quiet, 0.99))} ms, {format_number(max(quiet))} ms")


def _filled(folder: Path, keys: int) -> Path:
    """A data directory with so many keys, which no server uses."""
    store = folder / f"keys-{keys}"
    if not store.exists():
        with serving(store) as server:
            ndjson.send(server, ndjson.lines(keys))
            server.stop()
    return store


def _under(
    load: Load, server: Server, innocent: Program, seconds: float
) -> tuple[list[float], list[float]]:
    """The waits while the load runs again and again for so long, at least once; its times in s."""
    started, times = perf_counter(), list[float]()
    while not times or (load.repeats and perf_counter() - started < seconds):
        begun = perf_counter()
        load.run(server)
        times.append(perf_counter() - begun)
    return _waits(innocent, 1.0), times  # in the last second what still waited is answered


def _waits(innocent: Program, seconds: float) -> list[float]:
    """Milliseconds of each command of the last so many seconds, and of those before them."""
    sleep(seconds)
    innocent.write_line()
    waits: list[float] = innocent.read_line()["waits"]
    return waits


def _rows(
    what: str, meanwhile: list[float], alone: list[float], times: list[float]
) -> Iterator[Row]:
    took = f"{what}, each {format_number(min(times))} s"
    for name, bound, ours, without in (
        ("p99", P99_MS, percentile(meanwhile, 0.99), percentile(alone, 0.99)),
        ("longest", LONGEST_MS, max(meanwhile), max(alone)),
    ):
        target = round(bound + without, 1)
        yield at_most(f"a set beside {took}: {name}", ours, "ms", target, ("alone", without))
