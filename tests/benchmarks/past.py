"""A million keys, ten million changes: any moment of them, their replay, and their removal."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import compacting
import past_store
from asks import Asker
from programs import memory, result_of, serving
from rows import Row, at_least, at_most, format_number, percentile
from signalbox.server.store.file_names import STORE_FILE

PAGE: Final = 100
EARLY: Final = 100
"""The first hundredth of all moments knows a fiftieth of all keys."""


class Size(NamedTuple):
    """`old` changes are compacted; `seconds` is how long a sender is watched without that."""

    keys: int
    changes: int
    old: int
    times: int
    rounds: int
    seconds: float


QUICK: Final = Size(50_000, 500_000, 100_000, 100, 2, 2.0)
FULL: Final = Size(1_000_000, 10_000_000, 500_000, 400, 1, 20.0)


class Asked(NamedTuple):
    """Queries of a store with so many revisions; each gives its milliseconds."""

    asker: Asker
    revisions: int

    def live(self) -> float:
        return self._page()

    def then(self) -> float:
        return self._page(at=_dice.randint(1, self.revisions))

    def early(self) -> float:
        return self._page(at=_dice.randint(1, self.revisions // EARLY))

    def root(self) -> float:
        return self.asker.ask("/queries/tree", limit=PAGE)

    def root_then(self) -> float:
        at = _dice.randint(1, self.revisions)
        return self.asker.ask("/queries/tree", limit=PAGE, at=at)

    def _page(self, **more: int) -> float:
        group = f"group{_dice.randrange(past_store.GROUPS):02}"
        return self.asker.ask("/queries/state", after=group, limit=PAGE, **more)


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    size, store = QUICK if quick else FULL, folder / "store"
    store.mkdir()
    path = str(store / STORE_FILE)
    made = result_of("past_store.py", path=path, keys=size.keys, changes=size.changes)
    yield from _replays(store, size)
    yield _verified(store, size)
    with serving(store) as server:
        what = f"{size.keys:,} keys, {size.changes:,} changes"
        yield from _questions(Asked(Asker(server), made["revisions"]), what, size.times)
        yield Row(f"{what}: memory of the server", f"{format_number(memory(server.pid))} MB")
        age = past_store.age(size.changes - size.old)
        yield from compacting.measure(server, size.old, age, size.seconds)
        yield Row(
            f"{what}: most memory of the server", f"{format_number(memory(server.pid, 'VmHWM'))} MB"
        )


def _replays(store: Path, size: Size) -> Iterator[Row]:
    ours, raw, whole = [], [], []
    for _ in range(size.rounds):
        did = result_of("raw_rebuild.py", path=str(store / STORE_FILE))
        raw.append(did["changes"] / did["seconds"])
        did = result_of("rebuilt.py", folder=str(store))
        assert did["ok"]
        ours.append(size.changes / did["seconds"])
        whole.append(did["whole"])
    what = f"rebuild from {size.changes:,} changes"
    yield at_least(what, ours, "apsw alone", raw, "changes/s", 0.5)
    yield Row(f"{what}, committed and verified", f"{format_number(median(whole))} s")


def _verified(store: Path, size: Size) -> Row:
    did = result_of("verified.py", folder=str(store))
    assert did["ok"]
    rate = f"{format_number(size.changes / did['seconds'])} changes/s"
    memory_used = f"most memory: {format_number(did['megabytes'])} MB"
    return Row(f"verify of {size.changes:,} changes", rate, memory_used)


def _questions(asked: Asked, what: str, times: int) -> Iterator[Row]:
    live, then, early = _in_turn(times, asked.live, asked.then, asked.early)
    beside = "live", percentile(live, 0.95)
    page = f"{what}: a page of {PAGE}"
    yield at_most(f"{page} at any moment, p95", percentile(then, 0.95), "ms", None, beside, 3)
    moment = f"{page} before most keys, p95"
    yield at_most(moment, percentile(early, 0.95), "ms", 500, beside)
    root, root_then = _in_turn(times, asked.root, asked.root_then)
    beside = "live", percentile(root, 0.95)
    counts = f"{what}: the root's counts at any moment, p95"
    yield at_most(counts, percentile(root_then, 0.95), "ms", 50, beside)


def _in_turn(times: int, *asks: Callable[[], float]) -> tuple[list[float], ...]:
    """Milliseconds of each; the first turns warm up."""
    warm = times // 10
    spent = [[ask() for ask in asks] for _ in range(warm + times)]
    return tuple([each[one] for each in spent[warm:]] for one in range(len(asks)))


_dice: Final = random.Random(2)
