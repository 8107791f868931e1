"""Whatever a clock says from start to start: no horizon follows what was not watched for a day."""

import random
from collections.abc import Iterator
from contextlib import closing

import apsw

from signalbox.server.runtime.trusted_clock import DAY
from signalbox.server.store import clock_records
from signalbox.server.store.database import Database
from support.fake_computer_clock import HOUR, NOW, FakeComputer

AHEAD = [0, 0, 0, 200, 399, 798, 1197, -100, -300]
"""Days."""
LASTS = [60.0, HOUR, 8 * HOUR, 30 * HOUR]
STEPS = 25


class Starts(FakeComputer):
    """A store that is opened again and again on a computer whose clock says what it likes."""

    def __init__(self, database: apsw.Connection) -> None:
        super().__init__()
        self._database, self._began = database, self.passed
        self.watched = 0.0
        """How many seconds it ran while its clock was ahead, since that was seen to be right."""
        self.start()
        self.look(is_noted=True)

    @property
    def right(self) -> float:
        return NOW + self.passed - self._began

    def show(self, days: float) -> None:
        self.says = self.right + days * DAY

    def start(self) -> None:
        known = (
            clock_records.last_use_seconds(self._database, self.says),
            clock_records.recorded_leap(self._database),
        )
        self.believed = self.clock(*known, clock_records.highest_use_seconds(self._database))

    def lasts(self, seconds: float) -> None:
        self.watched += seconds if self.says > self.right + HOUR else 0
        self.wait(seconds)

    def look(self, is_noted: bool) -> None:
        now, trial = int(self.believed() * 1000), self.believed.unconfirmed_leap()
        if is_noted and clock_records.is_record_due(self._database, now, trial):
            clock_records.record_use(self._database, now, 0, trial)
        if is_noted and self.says <= self.right + HOUR:
            self.watched = 0


def steps(dice: random.Random, computer: Starts) -> Iterator[str]:
    """What happens one after another, each done when it is named."""
    for _ in range(STEPS):
        what = dice.choice(("shows", "lasts", "starts"))
        if what == "lasts":
            computer.lasts(seconds := dice.choice(LASTS))
            yield f"lasts {seconds / HOUR:.1f} hours"
            continue
        computer.show(days := dice.choice(AHEAD))
        if what == "starts":
            computer.start()
        computer.look(is_noted := dice.random() < 0.9)
        yield f"{what} {days} days, {is_noted}"


def test_retention_uses_no_time_that_was_not_observed_for_a_day() -> None:
    for seed in range(300):
        done = []
        with closing(Database(None)) as database:
            computer = Starts(database.writer)
            for step in steps(random.Random(seed), computer):
                done.append(step)
                beyond = computer.believed.for_retention() - computer.right
                assert beyond <= DAY + HOUR or computer.watched >= DAY, (seed, beyond / DAY, done)


UNSET = -180
"""Days: what a clock says that begins at a fixed date, here 180 days before the first run."""


def test_a_computer_whose_clock_is_set_after_each_start_has_its_times() -> None:
    """As one without a battery, which gets the time from the network a minute after the start."""
    with closing(Database(None)) as database:
        computer = Starts(database.writer)
        for day in range(1, 500):
            off = 16 * HOUR if day % 100 else 90 * DAY
            computer.wait(off)
            computer.says = NOW + UNSET * DAY
            computer.start()
            computer.look(is_noted=True)
            computer.lasts(60.0)
            computer.look(is_noted=True)
            computer.show(0)
            for _ in range(8):
                assert computer.believed() == computer.right, day
                assert computer.believed.problem() is None
                computer.look(is_noted=True)
                computer.lasts(HOUR)
            assert computer.believed.for_retention() <= computer.right


def test_a_clock_that_was_fast_for_an_hour_allows_no_larger_leap_later() -> None:
    with closing(Database(None)) as database:
        computer = Starts(database.writer)
        for days in (399, 0, 798, -100, 798, 0, 1197):
            computer.show(days)
            computer.start()
            computer.look(is_noted=True)
            computer.lasts(HOUR)
            assert computer.believed() <= computer.right + 400 * DAY
