"""Searches for words of four kinds among many keys, with and before their index."""

from collections.abc import Iterator
from itertools import cycle, islice
from time import perf_counter, sleep
from typing import Final

from asks import Asker
from programs import cpu_milliseconds
from rows import Row, at_most, format_number, percentile
from support.harness import Server

PAGE: Final = 100
P95_MS: Final = 150
NOWHERE: Final = "found nowhere"
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "a rare word": ("of unit 4321", "DEVICE77.METRIC01", "976 of unit 1"),
    "a word in a hundredth to all of the keys": ("DEVICE77", "of unit", "site"),
    "two letters": ("of", "77", "qq"),
    "a word found nowhere": (NOWHERE, "zebra", "unit unit"),
}
TEXTS: Final = [text for kind in KINDS.values() for text in kind]
INDEXED_SECONDS: Final = 120.0
"""The longest that the index of a million keys may take."""


def measure(lot: Server, few: Server, many: int, keys_of_few: int, times: int) -> Iterator[Row]:
    """Of `lot`, with `many` keys, beside `few`; `times` searches of each kind."""
    yield from _first(lot, many)
    asker, other = Asker(lot), Asker(few)
    for kind, texts in KINDS.items():
        waits, cpu, others = list[float](), list[float](), list[float]()
        for text in islice(cycle(texts), times):
            _search(asker, text), _search(other, text)  # warms up
            before = cpu_milliseconds(lot.pid)
            waits.append(_search(asker, text))
            cpu.append(cpu_milliseconds(lot.pid) - before)
            others.append(_search(other, text))
        what = f"{many:,} keys: search for {kind}, p95"
        beside = f"{keys_of_few:,} keys", percentile(others, 0.95)
        yield at_most(what, percentile(waits, 0.95), "ms", P95_MS, beside)
        yield Row(f"{what} of the server's CPU", f"{format_number(percentile(cpu, 0.95))} ms")
    changed = [_search(asker, text, sort="changed") for text in islice(cycle(TEXTS), times)]
    what = f"{many:,} keys: the same words, newest matches first, p95"
    yield at_most(what, percentile(changed, 0.95), "ms", P95_MS)


def _first(server: Server, many: int) -> Iterator[Row]:
    """The first search, which lets the index be made, and how long that takes."""
    asker = Asker(server)
    started, cpu = perf_counter(), cpu_milliseconds(server.pid)
    first = _search(asker, NOWHERE)
    yield at_most(f"{many:,} keys: the first search", first, "ms", 2 * P95_MS)
    while _search(asker, NOWHERE) > first / 4 and perf_counter() - started < INDEXED_SECONDS:
        sleep(1.0)
    seconds = format_number(perf_counter() - started)
    spent = format_number((cpu_milliseconds(server.pid) - cpu) / 1_000)
    yield Row(f"{many:,} keys: their index is made within", f"{seconds} s, {spent} s of CPU")


def every_kind(server: Server, times: int = 1) -> None:
    """`times` searches for each of the words."""
    asker = Asker(server)
    for text in TEXTS * times:
        _search(asker, text)


def _search(asker: Asker, text: str, **more: str) -> float:
    return asker.ask("/queries/state", search=text, limit=PAGE, **more)
