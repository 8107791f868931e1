"""Which time is believed: a clock that leaps ahead is not, and time goes on all the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalbox.server.runtime.trusted_clock import DAY, EARLIEST_PLAUSIBLE
from support.fake_computer_clock import HOUR, NOW, FakeComputer


@pytest.fixture
def computer() -> FakeComputer:
    return FakeComputer()


def test_a_leap_is_not_trusted_and_time_goes_on(computer: FakeComputer) -> None:
    clock = computer.clock()
    computer.wait(HOUR)
    assert clock() == NOW + HOUR
    computer.leap(400 * DAY)
    assert clock() == NOW + HOUR
    computer.wait(60)
    assert clock() == NOW + HOUR + 60
    assert clock.seconds_behind() == 400 * DAY
    said = clock.problem()
    assert said is not None
    assert "2028" in said  # what the computer says
    computer.wait(60)
    assert clock.problem() == said
    computer.leap(-400 * DAY)
    assert clock() == computer.says
    assert (clock.problem(), clock.seconds_behind()) == (None, 0)


def test_a_leap_that_ended_before_anyone_read_the_clock_is_not_reported(
    computer: FakeComputer,
) -> None:
    clock = computer.clock()
    computer.leap(2 * DAY)
    computer.leap(-2 * DAY)
    assert clock.problem() is None


def test_a_clock_that_creeps_ahead_gains_a_day_a_day_at_most(computer: FakeComputer) -> None:
    clock = computer.clock()
    clock()
    for _ in range(10):
        computer.leap(20 * HOUR)
        computer.wait(60)
        assert clock() <= NOW + DAY + 600
    computer.wait(3 * DAY)
    assert clock() == NOW + 3 * DAY + 600


def test_time_asleep_counts(computer: FakeComputer) -> None:
    clock = computer.clock()
    clock()
    computer.wait(90 * DAY)  # both go on while a laptop is closed
    assert clock() == NOW + 90 * DAY


def test_small_corrections_are_trusted_for_years(computer: FakeComputer) -> None:
    clock = computer.clock()
    for _ in range(500):
        computer.wait(DAY)
        computer.leap(HOUR)
        assert clock() == computer.says


@pytest.mark.parametrize(("pause", "is_believed"), [(399 * DAY, True), (401 * DAY, False)])
def test_a_start_may_be_more_than_a_year_after_the_last_run(
    computer: FakeComputer, pause: float, is_believed: bool
) -> None:
    clock = computer.clock(NOW - pause)
    assert clock() == (NOW if is_believed else NOW - pause)
    computer.wait(5)
    assert clock() == (NOW + 5 if is_believed else NOW - pause + 5)
    assert (clock.problem() is None) is is_believed


def test_a_start_that_is_not_trusted_is_corrected_with_the_clock(computer: FakeComputer) -> None:
    clock = computer.clock(NOW - 4000 * DAY)
    assert clock() == NOW - 4000 * DAY
    computer.leap(-3999 * DAY)
    assert clock() == NOW - 3999 * DAY
    computer.leap(2 * DAY)  # it runs by now: only a day more is believed
    assert clock() == NOW - 3999 * DAY


def test_a_clock_that_is_set_back_is_trusted_and_so_is_its_return(computer: FakeComputer) -> None:
    clock = computer.clock()
    clock()
    computer.leap(-100 * DAY)
    assert clock() == NOW - 100 * DAY
    computer.leap(100 * DAY)
    assert clock() == NOW
    computer.leap(2 * DAY)
    assert clock() == NOW


@pytest.mark.parametrize("last_run", [0, NOW - 30 * DAY])
def test_a_clock_that_was_not_set_yet_may_be_set(last_run: float) -> None:
    computer = FakeComputer(says=0.0)  # an empty battery
    clock = computer.clock(last_run)
    assert clock() == 0.0
    computer.wait(20)
    computer.leap(NOW - 20)
    assert clock() == NOW
    computer.leap(2 * DAY)
    assert clock() == NOW


def test_a_clock_that_was_not_set_yet_is_not_set_to_anything(computer: FakeComputer) -> None:
    computer.leap(-DAY)
    clock = computer.clock(NOW)
    clock()
    computer.leap(402 * DAY)
    assert clock() == NOW


def test_a_clock_that_was_behind_at_the_start_gains_a_day_at_most(computer: FakeComputer) -> None:
    computer.leap(-HOUR)
    clock = computer.clock(NOW)
    assert clock() == NOW - HOUR
    computer.leap(390 * DAY)
    assert clock() == NOW
    assert clock.problem() is not None
    computer.leap(-390 * DAY + 20 * HOUR)
    assert clock() == NOW + 19 * HOUR


def test_a_leap_at_a_start_is_observed_for_a_day_before_retention_uses_it(
    computer: FakeComputer,
) -> None:
    clock = computer.clock(NOW - 390 * DAY)
    before = NOW - 389 * DAY
    assert (clock(), clock.for_retention()) == (NOW, before)
    computer.wait(DAY - 1)
    assert (clock(), clock.for_retention()) == (NOW + DAY - 1, before + DAY - 1)
    computer.wait(1)
    assert clock.for_retention() == clock() == NOW + DAY


def test_an_unconfirmed_leap_continues_after_a_start_with_the_same_clock(
    computer: FakeComputer,
) -> None:
    clock = computer.clock(NOW - 390 * DAY)
    for _ in range(2):
        clock()
        computer.wait(10 * HOUR)
        assert clock.for_retention() < NOW - 388 * DAY
        unconfirmed_leap = clock.unconfirmed_leap()
        computer.wait(14 * HOUR)  # nobody runs meanwhile
        clock = computer.clock(NOW - 390 * DAY, unconfirmed_leap)
    clock()
    computer.wait(5 * HOUR)
    assert clock.for_retention() == clock() == computer.says


def test_an_unconfirmed_leap_begins_again_with_another_reading(computer: FakeComputer) -> None:
    clock = computer.clock(NOW - 2 * DAY)
    clock()
    computer.wait(23 * HOUR)
    unconfirmed_leap = clock.unconfirmed_leap()
    computer.leap(365 * DAY)
    clock = computer.clock(NOW - 2 * DAY, unconfirmed_leap)
    clock()
    computer.wait(2 * HOUR)
    assert clock.for_retention() == NOW - 2 * DAY + 23 * HOUR + DAY + 2 * HOUR


def test_an_unconfirmed_leap_ends_with_the_leap(computer: FakeComputer) -> None:
    clock = computer.clock(NOW - HOUR)
    computer.leap(365 * DAY)
    assert clock() == NOW + 365 * DAY
    computer.leap(-365 * DAY)
    assert clock() == clock.for_retention() == NOW
    assert clock.unconfirmed_leap() is None
    computer.leap(365 * DAY)
    assert clock() == clock.for_retention() == NOW


def test_the_return_of_a_clock_is_an_unconfirmed_leap(computer: FakeComputer) -> None:
    clock = computer.clock(NOW)
    computer.leap(390 * DAY)
    clock()
    computer.wait(DAY)
    assert clock.for_retention() == clock() == computer.says  # seen for a day, though wrong
    computer.leap(-390 * DAY)
    right = clock()
    assert clock.for_retention() == right == computer.says
    computer.leap(390 * DAY)
    assert (clock(), clock.for_retention()) == (computer.says, right + DAY)


def test_a_leap_beyond_the_reading_before_a_set_back_is_not_trusted(computer: FakeComputer) -> None:
    clock = computer.clock()
    clock()
    for _ in range(3):
        computer.leap(-100 * DAY)
        assert clock() == NOW - 100 * DAY
        computer.leap(102 * DAY)
        assert clock() == clock.for_retention() == NOW - 100 * DAY
        computer.leap(-DAY - HOUR)  # nearly as it was before: a day ahead of that at most
        assert clock() == NOW + 23 * HOUR
        computer.leap(-23 * HOUR)


def test_confirming_a_clock_that_was_set_back_forgets_its_old_reading(
    computer: FakeComputer,
) -> None:
    clock = computer.clock()
    clock()
    computer.leap(-100 * DAY)
    clock()
    clock.confirm()
    computer.leap(100 * DAY)
    assert clock() == NOW - 100 * DAY
    assert clock.problem() is not None


def test_an_unconfirmed_leap_pauses_during_another_reading(computer: FakeComputer) -> None:
    clock = computer.clock(NOW - 390 * DAY)
    clock()
    for leap in (1000 * DAY, -1000 * DAY, -100 * DAY):
        computer.leap(leap)
        clock()
        computer.wait(23 * HOUR)
        clock()
        computer.wait(59 * 60)
        assert clock.for_retention() < NOW - 380 * DAY
    computer.wait(60)
    assert clock.for_retention() == computer.says


def test_confirming_ends_an_unconfirmed_leap(computer: FakeComputer) -> None:
    clock = computer.clock(NOW - 390 * DAY)
    clock()
    clock.confirm()
    assert (clock.for_retention(), clock.unconfirmed_leap()) == (NOW, None)


def test_a_new_store_trusts_the_clock() -> None:
    later = EARLIEST_PLAUSIBLE + 4000 * DAY
    assert FakeComputer(says=later).clock(0)() == later


def test_a_user_confirms_the_clock(computer: FakeComputer) -> None:
    clock = computer.clock()
    clock()
    computer.leap(1000 * DAY)
    clock.confirm()
    assert clock() == NOW + 1000 * DAY
    assert clock.problem() is None
    computer.leap(2 * DAY)
    assert clock() == NOW + 1000 * DAY


STEPS = st.tuples(st.floats(0, 3 * DAY), st.just(0.0) | st.floats(-500 * DAY, 500 * DAY))


@given(st.lists(STEPS, max_size=30))
def test_whatever_the_clock_does_it_is_never_much_later_than_can_be(
    steps: list[tuple[float, float]],
) -> None:
    computer = FakeComputer()
    clock = computer.clock()
    clock()
    total = 0.0
    for passes, leaps in steps:
        computer.wait(passes)
        computer.leap(leaps)
        total += passes
        # A day ahead for each day that has begun.
        assert clock() <= NOW + total + (total // DAY + 1) * DAY + 0.001
