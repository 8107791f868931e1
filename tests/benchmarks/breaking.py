"""Which keys break a rule, asked among many keys: how many are looked at in a second."""

from collections.abc import Iterator
from statistics import median
from typing import Final

from asks import Asker
from programs import cpu_milliseconds
from rows import Row, format_number
from support.harness import Server

RULE: Final = "_signalbox.rules.benchmark"
NUMBERS: Final = {"match": "site**", "schema": {"type": ["number", "boolean"], "maximum": 249_000}}
KEYS_PER_SECOND: Final = 150_000


def measure(lot: Server, many: int, times: int = 5) -> Iterator[Row]:
    """The rate on `lot`, with `many` keys, of which some break the rule."""
    rates, cpu = list[float](), list[float]()
    for _ in range(times):
        before = cpu_milliseconds(lot.pid)
        rates.append(many / every_key(lot) * 1_000)
        cpu.append(cpu_milliseconds(lot.pid) - before)
    what, rate = f"{many:,} keys: those that break a rule", median(rates)
    yield Row(
        f"{what}, keys looked at in a second",
        format_number(rate),
        target=f">= {KEYS_PER_SECOND:,}",
        met=rate >= KEYS_PER_SECOND,
    )
    yield Row(f"{what}, the server's CPU", f"{format_number(median(cpu))} ms")
    lot.post({"type": "delete", "key": RULE})


def every_key(server: Server) -> float:
    """Ask after a change, so that all keys are looked at again; milliseconds."""
    server.set(RULE, NUMBERS)
    server.post({"type": "toggle", "key": "benchmark.asked"})
    return Asker(server).ask("/queries/violations")


def asking(server: Server) -> None:
    """Ask once."""
    every_key(server)
