"""Searches for words of four kinds among many keys, each word for the first time."""

import random
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
INDEXED_SECONDS: Final = 120.0
"""The longest that the index of a million keys may take."""


def _common() -> Iterator[str]:
    """Parts of words that a tenth to all of the keys have."""
    for word in ("device", "metric", "state", "of unit", ".device", "site"):
        for start in range(len(word) - 2):
            yield from (word[start:end] for end in range(start + 3, len(word) + 1))


COMMON: Final = tuple(dict.fromkeys(_common()))
KINDS: Final = {
    "a rare word": [f"of unit {100_000 + 7_919 * number % 900_000}" for number in range(60)],
    "a word of many keys": COMMON,
    "two letters": [str(number) for number in range(10, 70)],
    "a word found nowhere": [f"nowhere {number}" for number in range(60)],
}


def measure(lot: Server, few: Server, many: int, keys_of_few: int, times: int) -> Iterator[Row]:
    """Of `lot`, with `many` keys, beside `few`; `times` searches of each kind."""
    yield from _first(lot, many)
    asker, other = Asker(lot), Asker(few)
    for kind, texts in KINDS.items():
        waits, cpu, others = list[float](), list[float](), list[float]()
        for text in texts[:times]:
            others.append(_search(other, text))
            before = cpu_milliseconds(lot.pid)
            waits.append(_search(asker, text))
            cpu.append(cpu_milliseconds(lot.pid) - before)
        what = f"{many:,} keys: search for {kind}, p95"
        beside = f"{keys_of_few:,} keys", percentile(others, 0.95)
        yield at_most(what, percentile(waits, 0.95), "ms", P95_MS, beside)
        yield Row(f"{what} of the server's CPU", f"{format_number(percentile(cpu, 0.95))} ms")
    again = [_search(asker, COMMON[-1]) for _ in range(times + 1)][1:]
    yield at_most(f"{many:,} keys: the same word again, p95", percentile(again, 0.95), "ms", P95_MS)
    changed = [_search(asker, text, sort="changed") for text in islice(_mixed(), times)]
    what = f"{many:,} keys: words of all kinds, newest matches first, p95"
    yield at_most(what, percentile(changed, 0.95), "ms", P95_MS)


def _first(server: Server, many: int) -> Iterator[Row]:
    """The first search, which lets the index be made, and how long that takes."""
    asker, started = Asker(server), perf_counter()
    begun = cpu_milliseconds(server.pid)
    first = _search(asker, NOWHERE)
    without = cpu_milliseconds(server.pid) - begun
    yield at_most(f"{many:,} keys: the first search", first, "ms", 2 * P95_MS)
    spent = without
    while spent > without / 4 and perf_counter() - started < INDEXED_SECONDS:
        sleep(1.0)
        before = cpu_milliseconds(server.pid)
        _search(asker, NOWHERE)
        spent = cpu_milliseconds(server.pid) - before
    seconds = format_number(perf_counter() - started)
    cpu = format_number((cpu_milliseconds(server.pid) - begun) / 1_000)
    yield Row(f"{many:,} keys: their index is made within", f"{seconds} s, {cpu} s of CPU")


def every_kind(server: Server, times: int = 12) -> None:
    """Searches for words of each kind in turn."""
    asker = Asker(server)
    for text in islice(_mixed(), times):
        _search(asker, text)


def _mixed() -> Iterator[str]:
    """Any words, of each kind in turn, without end."""
    for texts in cycle(KINDS.values()):
        yield _dice.choice(texts)


def _search(asker: Asker, text: str, **more: str) -> float:
    return asker.ask("/queries/state", search=text, limit=PAGE, **more)


_dice: Final = random.Random(1)
