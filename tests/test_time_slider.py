"""The time slider's intervals: what is counted in each, while the log grows and is thinned out."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from signalbox.server.http.window.time_slider import SPAN_MS, TICKS, TimeSlider
from signalbox.server.http.window.window_query import WindowQuery
from support.local_store import Store, Ticks

START = 1_800_000_000.0


@pytest.fixture
def clock() -> Ticks:
    return Ticks(START)


@pytest.fixture
def store(clock: Ticks) -> Iterator[Store]:
    with Store(clock=clock) as store:
        yield store


def counted(times: list[int], start: int, length: int, count: int) -> list[int]:
    limits = [start + number * length for number in range(count + 1)]
    return [sum(low <= at < high for at in times) for low, high in pairwise(limits)]


@pytest.mark.parametrize("seed", range(5))
def test_each_interval_counts_its_transactions_while_the_log_grows(
    store: Store, clock: Ticks, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(30):
        for _ in range(dice.randrange(4)):
            clock.seconds += dice.choice((0.0, 0.002, 3.0, 500.0))
            store.set(**{f"k{dice.randrange(3)}": dice.random()})
        times = [one.at for one in store.readmodel.log.transactions(0, 1_000)]
        length = dice.choice((1, 7, 1_000, 60_000))
        start = (
            dice.choice([*times, int(START * 1000)]) // length * length - dice.randrange(9) * length
        )
        found = store.readmodel.log.transactions_per_interval(start, length, 50)
        assert found == counted(times, start, length, 50)


def test_intervals_begin_at_multiples_of_their_length_and_reach_from_the_span_to_now(
    store: Store,
) -> None:
    dice, first = random.Random(1), int(START * 1000)
    store.set(one=1)
    for stretch in (*SPAN_MS, "all"):
        slider = TimeSlider(WindowQuery(stretch=stretch), store.readmodel)  # type: ignore[arg-type]
        for _ in range(50):
            now = first + int(10 ** dice.uniform(3, 11))
            start, length = slider.first_interval(now)
            span = min(now - first, SPAN_MS.get(stretch, now))
            assert start % length == 0
            assert start <= now - span
            assert now < start + TICKS * length <= now + length
