"""A thousand keys beside a million: what somebody who looks must not notice."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

import breaking
import browsing
import growing
import ndjson
import searching
import start
from asks import Asker
from programs import memory, serving
from rows import Row, at_most, format_number, percentile
from support.harness import Server

FEW: Final = 1_000
PAGE: Final = 100
_SMALL: Final = f"{FEW:,} keys"
ROWS: Final = 60

Ask = Callable[[Asker, int], float]
"""Asks one question of a store with so many keys; milliseconds."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    many, times, loads = (100_000, 60, 3) if quick else (1_000_000, 600, 11)
    with serving(folder / "few") as server:
        ndjson.send(server, ndjson.lines(FEW))
    with serving(folder / "many") as server:
        yield from growing.measure(server, many)
        server.stop()
    ready = [start.until_ready(folder / "many") for _ in range(3)]
    yield Row(f"{many:,} keys: serve until ready", f"{format_number(median(ready))} ms")
    with serving(folder / "many") as lot, serving(folder / "few") as few:
        yield from _queries(lot, few, many, times)
        yield from searching.measure(lot, few, many, FEW, max(times // 10, 12))
        yield _beside_searches(lot, many, max(times // 10, 12))
        yield from _differences(lot, many)
        yield from breaking.measure(lot, many)
        yield from browsing.measure(lot, few, many, loads)
        yield at_most(f"{many:,} keys: memory of the server", memory(lot.pid), "MB", 200)


def _queries(lot: Server, few: Server, many: int, times: int) -> Iterator[Row]:
    """Those that no number of keys may slow down; the answers are of one size on both sides."""
    sides = ((Asker(lot), many), (Asker(few), FEW))
    for name, ask in _QUESTIONS.items():
        ours, others = _in_turn(ask, sides, times)
        beside = _SMALL, percentile(others, 0.95)
        what = f"{many:,} keys: {name}, p95"
        yield at_most(what, percentile(ours, 0.95), "ms", 10, beside, 2)


def _differences(lot: Server, many: int) -> Iterator[Row]:
    """Between the empty store and now; the first page comes with the number of all."""
    asker, what = Asker(lot), f"{many:,} keys: what differs from the empty store"
    first, again = (asker.ask("/queries/diff", **{"from": 0}) for _ in range(2))
    yield at_most(f"{what}, counted", first, "ms", 4_000)
    yield at_most(f"{what}, once it was counted", again, "ms", 1_000)


def _beside_searches(lot: Server, many: int, times: int) -> Row:
    """Whoever asks for something else must not wait for searches."""
    asker = Asker(lot)
    alone = [_one(asker, many) for _ in range(600)]
    with ThreadPoolExecutor(1) as pool:
        searches = pool.submit(searching.every_kind, lot, times)
        meanwhile: list[float] = []
        while not searches.done():
            meanwhile.append(_one(asker, many))
        searches.result()
    what = f"{many:,} keys: one key while searches run, p99"
    return at_most(
        what, percentile(meanwhile, 0.99), "ms", 10, ("none running", percentile(alone, 0.99))
    )


def _in_turn(ask: Ask, sides: tuple[tuple[Asker, int], ...], times: int) -> tuple[list[float], ...]:
    """Milliseconds of each side, measured one after the other; the first time warms up."""
    spent = [[ask(asker, keys) for asker, keys in sides] for _ in range(times + 1)]
    return tuple([each[side] for each in spent[1:]] for side in range(len(sides)))


def _by_key(asker: Asker, _keys: int) -> float:
    after = f"site{_dice.randrange(8)}.device{_dice.randrange(100):02}"
    return asker.ask("/queries/state", after=after, limit=PAGE)


def _by_prefix(asker: Asker, _keys: int) -> float:
    return asker.ask("/queries/state", match=f"site{_dice.randrange(10)}.**", limit=PAGE)


def _at_offset(asker: Asker, keys: int) -> float:
    """What the window does; it asks for the tree, the counts and their HTML at the same time."""
    return asker.picture(**{"from": _dice.randrange(keys - ROWS), "rows": ROWS})


def _tree(asker: Asker, _keys: int) -> float:
    prefix = _dice.choice(["", f"site{_dice.randrange(10)}."])
    return asker.ask("/queries/tree", prefix=prefix)


def _count(asker: Asker, _keys: int) -> float:
    site, device = _dice.randrange(10), _dice.randrange(100)
    match = _dice.choice([f"site{site}.**", f"site{site}.device{device:02}.**"])
    return asker.ask("/queries/state", match=match, limit=1)


def _one(asker: Asker, keys: int) -> float:
    return asker.ask(f"/queries/state/{ndjson.key(_dice.randrange(keys))}")


_QUESTIONS: Final[dict[str, Ask]] = {
    f"a page of {PAGE} behind a key": _by_key,
    f"a page of {PAGE} below a prefix": _by_prefix,
    f"the window's picture, {ROWS} rows at any offset": _at_offset,
    "the tree": _tree,
    "the count of a prefix": _count,
}
_dice: Final = random.Random(1)
