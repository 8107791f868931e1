"""A wrong clock takes nothing from the history: retention by a clock that can be believed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from signalbox.server import maintenance
from signalbox.server.clock_status import ClockStatus
from signalbox.server.runtime.trusted_clock import DAY, Clock
from signalbox.server.store import clock_records
from signalbox.server.store.log_table import last_time
from signalbox.server.write.compactor import Compactor, Report
from support.fake_computer_clock import NOW, FakeComputer
from support.local_store import Store

DAY_MS = int(DAY * 1000)


class Run(Store):
    """A store with its compactor, from a start of the server to its end."""

    def __init__(self, path: Path, computer: FakeComputer) -> None:
        with_file = Store(path)  # as the server does: what the file knows comes first
        last_run = clock_records.last_use_seconds(with_file.database.writer, computer.says)
        trial = clock_records.recorded_leap(with_file.database.writer)
        highest = clock_records.highest_use_seconds(with_file.database.writer)
        with_file.close()
        super().__init__(path, times := computer.clock(last_run, trial, highest))
        self.times: Clock = times
        told = ClockStatus(times, self.readmodel, self.feed, path.parent)
        self.compactor = Compactor(
            self.readmodel, self.feed, self.writer, times, told, self.database.checkpoint
        )

    def keep(self, max_age: str | None) -> None:
        assert not self.run(
            type="set", key="_signalbox.retention", value={"max_age": max_age}
        ).error

    def history(self) -> list[str | None]:
        """What the key `a` was, oldest first."""
        return [one.raw for one in reversed(self.readmodel.log.history("a", limit=1000).items)]

    def stamp(self) -> float:
        return last_time(self.database.writer) / 1000

    def compact(self, **how: bool) -> Report:
        return self.compactor.compact(**how)

    def close(self) -> None:
        self.compactor.close()
        super().close()


@pytest.fixture
def computer() -> FakeComputer:
    return FakeComputer()


@contextmanager
def running(folder: Path, computer: FakeComputer) -> Iterator[Run]:
    with Run(folder / "signalbox.db", computer) as run:
        yield run


def test_a_minute_of_a_wrong_clock_erases_nothing(
    tmp_path: Path, computer: FakeComputer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with running(tmp_path, computer) as run:
        for number in range(20):
            run.set(a=number)
        computer.leap(400 * DAY)
        told = run.compact()["clock"]
        assert told["problem"].endswith(f"signalbox --data-dir {tmp_path} compact --confirm")
        assert (told["time"][:4], told["computer"][:4]) == ("2026", "2028")
        run.set(a="wrong")
        assert run.stamp() < NOW + DAY
        computer.wait(60)
        run.compact()
        computer.leap(-400 * DAY)
        assert run.compact()["clock"]["problem"] is None
        run.set(a="right")
        assert (len(run.history()), run.stamp()) == (22, computer.says)
    first, second = caplog.messages  # once each
    assert first == told["problem"]
    assert second == "Times are right again."


def test_what_a_clock_stamps_before_it_is_set_is_no_older_than_it_was_seen(tmp_path: Path) -> None:
    """As of a computer without a battery for its clock."""
    computer = FakeComputer(0.0)
    with running(tmp_path, computer) as run:
        run.keep("10d")
        for number in range(3):
            run.set(a=number)
        computer.leap(NOW)
        run.set(a="right")
        computer.wait(60)
        run.compact()
        assert len(run.history()) == 4
        run.compact(confirm=True)
        assert len(run.history()) == 4
        for _ in range(12):
            computer.wait(DAY)
            run.compact()
        assert run.history() == ['"right"']


def test_a_start_years_ahead_erases_nothing(tmp_path: Path, computer: FakeComputer) -> None:
    for leap in (0, -DAY, 3650 * DAY, -3649 * DAY):
        computer.leap(leap)
        with running(tmp_path, computer) as run:
            run.set(a=leap)
            run.compact()
            run.set(a=leap, b=leap)
            assert run.stamp() <= NOW + 400 * DAY
    with running(tmp_path, computer) as run:
        assert len(run.history()) == 4
        assert run.compact()["clock"]["problem"] is None
        assert run.stamp() == NOW


def test_after_less_than_a_year_retention_works_as_usual(
    tmp_path: Path, computer: FakeComputer
) -> None:
    with running(tmp_path, computer) as run:
        run.set(a=1)
        run.set(a=2)
        run.compact()
    computer.leap(390 * DAY)  # switched off meanwhile
    with running(tmp_path, computer) as run:
        assert run.compact()["clock"]["problem"] is None
        assert run.history() == ["1", "2"]
        computer.wait(DAY)
        run.compact()
        assert run.history() == ["2"]


@pytest.mark.parametrize("hours", [0, 2])
def test_starts_with_a_wrong_clock_erase_nothing_however_many(
    tmp_path: Path, computer: FakeComputer, hours: int
) -> None:
    with running(tmp_path, computer) as run:
        for number in range(3):
            run.set(a=number)
        run.compact()
    for _ in range(11):
        computer.leap(370 * DAY)
        with running(tmp_path, computer) as run:
            assert run.compact()["changes"] == 0
            computer.wait(hours * 3600)
            assert run.compact()["changes"] == 0
        computer.leap(-370 * DAY)
    with running(tmp_path, computer) as run:
        assert run.compact(dry_run=True)["changes"] == 0
    computer.leap(370 * DAY)
    with running(tmp_path, computer) as run:
        assert run.compact()["changes"] == 0
        assert run.compact(dry_run=True, confirm=True)["changes"] == 2
        assert run.compact(confirm=True)["changes"] == 2
    with running(tmp_path, computer) as run:
        assert run.times.for_retention() == computer.says


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_trusted_time_goes_back_with_the_clock(
    tmp_path: Path, computer: FakeComputer, is_confirmed: bool
) -> None:
    """Once it was believed wrongly: in a new store, or since somebody confirmed it."""
    if is_confirmed:
        with running(tmp_path, computer) as run:
            run.compact()
    computer.leap(399 * DAY)
    with running(tmp_path, computer) as run:
        assert run.compact(confirm=is_confirmed)["clock"]["problem"] is None
        run.set(a=1)
        newest = run.stamp()
    computer.leap(-399 * DAY)
    for further in (798, 1197, 1596):
        with running(tmp_path, computer) as run:
            assert run.compact()["clock"]["time"][:4] == "2026"
        computer.leap(further * DAY)
        with running(tmp_path, computer) as run:
            told = run.compact()["clock"]
            assert "has leapt" in told["problem"]
            assert (told["time"][:4], run.times.for_retention()) == ("2026", NOW)
            run.set(a=further)
            assert run.stamp() == newest
        computer.leap(-further * DAY)


def test_days_of_eight_hours_are_one_unconfirmed_leap_and_then_none(
    tmp_path: Path, computer: FakeComputer
) -> None:
    with running(tmp_path, computer) as run:
        run.set(a=1)
        run.set(a=2)
        run.compact()
    computer.leap(390 * DAY)  # switched off meanwhile
    for found in (["1", "2"], ["1", "2"], ["2"], ["2"]):
        with running(tmp_path, computer) as run:
            for _ in range(8):
                run.compact()
                computer.wait(3600)
            run.compact()
            assert run.history() == found
        computer.leap(16 * 3600)
    with running(tmp_path, computer) as run:
        assert run.times.unconfirmed_leap() is None


def test_a_store_that_is_only_read_was_in_use_too(tmp_path: Path, computer: FakeComputer) -> None:
    with running(tmp_path, computer) as run:
        run.set(a=1)
        run.compact()
    for _ in range(2):
        computer.leap(300 * DAY)
        with running(tmp_path, computer) as run:
            assert run.compact()["clock"]["problem"] is None


def test_a_leap_that_is_right_is_confirmed_once(tmp_path: Path, computer: FakeComputer) -> None:
    with running(tmp_path, computer) as run:
        run.set(a=1)
        run.set(a=2)
        computer.leap(1000 * DAY)
        assert run.compact(dry_run=True)["changes"] == 0
        assert run.compact(dry_run=True, confirm=True)["changes"] == 1
        assert run.compact()["changes"] == 0
        assert run.compact(confirm=True)["changes"] == 1
        run.set(a=3)
        assert run.stamp() == computer.says
    with running(tmp_path, computer) as run:
        assert run.compact()["clock"]["problem"] is None
        assert run.times() == computer.says


def ahead(run: Run, *revisions: int) -> None:
    """Stamp these as a Signalbox did whose clock was ten years ahead."""
    run.database.writer.executemany(
        "UPDATE transactions SET at = at + 3650 * 86400000 WHERE revision = ?",
        [(one,) for one in revisions],
    )


def forget_that_it_ran(run: Run) -> None:
    """As in a store of a Signalbox that did not remember it."""
    run.database.delete_meta(clock_records.LAST_RUN)


def test_stamps_from_the_future_hold_up_retention_for_as_long_as_it_says(
    tmp_path: Path, computer: FakeComputer
) -> None:
    with running(tmp_path, computer) as run:
        run.keep("10d")
        for number in range(3):
            run.set(a=number)
        ahead(run, 2, 3, 4)
        forget_that_it_ran(run)
    computer.wait(DAY)
    with running(tmp_path, computer) as run:
        problem = run.compact()["clock"]["problem"]
        assert "2036" in problem
        for _ in range(9):
            computer.wait(DAY)
            run.compact()
        run.set(a="late")
        assert run.stamp() > NOW + 3000 * DAY  # stamps never decrease
        assert run.history() == ["0", "1", "2", '"late"']
        computer.wait(2 * DAY)
        run.compact()
        assert run.history() == ["2", '"late"']
        computer.wait(12 * DAY)
        run.compact()
        computer.wait(12 * DAY)
        run.compact()
        assert run.history() == ['"late"']
    assert maintenance.verify(tmp_path)["problems"] == []


def test_time_without_a_server_makes_nothing_older(tmp_path: Path, computer: FakeComputer) -> None:
    """The stamps were right, and the clock was not: which of the two, nobody can tell."""
    with running(tmp_path, computer) as run:
        run.keep("10d")
        for number in range(3):
            run.set(a=number)
        forget_that_it_ran(run)
    computer.leap(-250 * DAY)
    with running(tmp_path, computer) as run:
        run.compact()
    computer.leap(250 * DAY)
    with running(tmp_path, computer) as run:
        run.compact()
        assert run.history() == ["0", "1", "2"]


def test_a_clock_that_is_not_set_yet_makes_nothing_older(
    tmp_path: Path, computer: FakeComputer
) -> None:
    with running(tmp_path, computer) as run:
        run.keep("10d")
        for number in range(3):
            run.set(a=number)
    says, computer.says = computer.says, 0.0
    with running(tmp_path, computer) as run:
        run.compact()
        computer.says = says
        assert run.compact()["clock"]["problem"] is None
        run.set(a=3)
        assert (run.history(), run.stamp()) == (["0", "1", "2", "3"], says)


def test_a_single_wrong_stamp_counts_as_the_next_right_one(
    tmp_path: Path, computer: FakeComputer
) -> None:
    with running(tmp_path, computer) as run:
        run.keep("10d")
        for number in range(12):
            computer.wait(DAY)
            run.set(a=number)
        ahead(run, 2, 3, 6, 7, 13)
        run.compact()
        # Ten days ago was revision 3, stamped wrongly; the next one, 4, is too young.
        assert run.history() == [str(number) for number in range(12)]
        for days, oldest in ((4.5, 3), (1, 6)):
            computer.wait(days * DAY)
            run.compact()
            assert run.history() == [str(number) for number in range(oldest, 12)]


def test_many_sightings_are_few(tmp_path: Path, computer: FakeComputer) -> None:
    with running(tmp_path, computer) as run:
        run.set(a=1)
        ahead(run, 1)
        database = run.database.writer
        with database:
            for number in range(5000):
                clock_records.record_use(database, int(NOW * 1000), 60_000 * (1 + number % 7))
        seen = clock_records.read_observed(database)
        assert 20 < len(seen.revisions) < 200
        for earlier, later in zip(seen.revisions, seen.revisions[1:], strict=False):
            assert later[1] - earlier[1] <= max(420_000, (seen.observed_ms - earlier[1]) / 4)
