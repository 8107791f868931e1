"""Which time of this computer's clock is trusted: stamps and retention go by a `Clock`.

What only waits goes by a steady clock, which nobody can set.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from signalbox.server.model.times import iso

DAY: Final = 86_400.0
MAX_LEAP_AT_START: Final = 400 * DAY
"""How much later than the last run a start may be: a user who returns after a year is trusted."""
MAX_LEAP_ON_RETURN: Final = 100 * DAY
"""How far beyond its old reading a clock may be that returns to where an earlier run had it."""
MAX_LEAP_WHILE_RUNNING: Final = DAY
"""How much more time than has passed the clock may show within a day of running."""
EARLIEST_PLAUSIBLE: Final = 1_767_225_600.0
"""2026-01-01: a clock that shows less has not been set yet, as where a battery is empty."""


def steady_seconds() -> float:
    """Seconds of a clock that nobody can set; they include the time that the computer slept."""
    source = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if source is None else time.clock_gettime(source)  # none on Windows


class UnconfirmedLeap(NamedTuple):
    """A forward leap of the clock that is trusted, but not yet observed for a day of running.

    It happened at a start, or back to where the clock was before it was set back.
    """

    time_before: float
    """The last trusted time without the leap, in seconds since 1970."""
    observed_seconds: float
    """For how many seconds the server has run since."""
    last_reading: float
    """The last trusted time: a clock that shows something else has leapt again."""

    @property
    def latest_plausible(self) -> float:
        """The time that retention may go by: it would be right if the clock had not leapt."""
        return self.time_before + self.observed_seconds + MAX_LEAP_WHILE_RUNNING


class Clock:
    """Calling it returns the trusted time, in seconds since 1970.

    `last_run` is the last trusted time of the previous run, 0 where that is not known.
    `unconfirmed_leap` is one that the previous run had; it continues if the clock still shows the
    same. `highest` is the latest time that was ever trusted: more than `last_run` where the clock
    was slow, as at each start of a computer that has no battery and gets the time a little later.
    `wall` reads the computer's clock, `steady` a steady one.

    A wall clock that leaps too far ahead is not trusted until it is right again or somebody
    confirms it: time goes on from the last trusted time. A clock that is set back is trusted: it
    was fast before, or it is slow now. The writer makes sure that stamps never decrease, and the
    clock's return is trusted as a leap at a start is.
    """

    def __init__(
        self,
        last_run: float,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_seconds,
        unconfirmed_leap: UnconfirmedLeap | None = None,
        highest: float = 0.0,
    ) -> None:
        """A clock that trusts `last_run`, the trusted time of the last run, 0 where there was none.

        `wall` is the computer's clock and `steady` one that is never set, both in seconds;
        `highest` is the highest time at which a server has run.
        """
        self.wall, self.steady = wall, steady
        self._trusted, self._trusted_at = last_run or max(wall(), EARLIEST_PLAUSIBLE), steady()
        """The last trusted time, and the steady clock's reading then."""
        self._max_leap = MAX_LEAP_AT_START if last_run else inf
        was_slow = 0 < last_run < highest - MAX_LEAP_WHILE_RUNNING
        self._offset_before_set_back = highest - self._trusted_at if was_slow else -inf
        """Trusted time minus steady clock before the clock was set back."""
        self._uncounted = MAX_LEAP_ON_RETURN
        """How much time may have passed since then in which no server ran."""
        self._refused_leap: tuple[float, float] | None = None
        """What the clock showed, and what was expected, while a leap is not trusted."""
        self._leap: tuple[float, float] | None = None
        """The unconfirmed leap: the trusted time before, and the steady clock's reading then."""
        if unconfirmed_leap:
            self._continue_leap(unconfirmed_leap)

    def __call__(self) -> float:
        """The trusted time; a leap that is too large is refused, and the steady clock counts on."""
        wall, expected = self.wall(), self._expected()
        if wall > max(expected + self._max_leap, self._returned() + MAX_LEAP_WHILE_RUNNING):
            self._refused_leap = self._refused_leap or (wall, expected)
            if self.unconfirmed_leap():
                self._begin_leap(expected)  # the clock has left the reading that was observed
            return expected
        self._refused_leap = None
        if wall >= min(self._trusted, EARLIEST_PLAUSIBLE):  # else it has not been set yet
            self._accept(wall, expected)
        return wall

    def for_retention(self) -> float:
        """The time by which changes are too old: without a leap that is not confirmed yet."""
        now, leap = self(), self.unconfirmed_leap()
        return min(now, leap.latest_plausible) if leap else now

    def unconfirmed_leap(self) -> UnconfirmedLeap | None:
        """The leap that has not been observed for a day yet, if there is one."""
        if self._leap is None:
            return None
        time_before, begun = self._leap
        observed = self.steady() - begun
        return UnconfirmedLeap(time_before, observed, self._expected()) if observed < DAY else None

    def confirm(self) -> None:
        """Trust the computer's clock as it is: a person knows that it is right."""
        self._refused_leap = self._leap = None
        self._offset_before_set_back = -inf
        self._trust(self.wall())

    def seconds_behind(self) -> float:
        """How far trusted time is behind a wall clock that is not trusted; 0 where it is."""
        now = self()
        return self.wall() - now if self._refused_leap else 0.0

    def problem(self) -> str | None:
        """Why the computer's clock is not trusted, None where it is; the same until that ends."""
        self()
        if self._refused_leap is None:
            return None
        wall, expected = (iso(int(seconds * 1000)) for seconds in self._refused_leap)
        return (
            f"This computer's clock has leapt from {expected} to {wall}, which is not believed: "
            "times go on from where they were, and nothing is removed from the history for its age."
        )

    def _expected(self) -> float:
        """The time that follows from the last trusted one by the steady clock."""
        return self._trusted + self.steady() - self._trusted_at

    def _continue_leap(self, leap: UnconfirmedLeap) -> None:
        """Go on observing an earlier run's leap, unless the clock shows less, or far too much."""
        later = self.wall() - leap.last_reading
        if -MAX_LEAP_WHILE_RUNNING <= later <= MAX_LEAP_AT_START:
            self._leap = (leap.time_before, self._trusted_at - leap.observed_seconds)
            self._trusted = leap.last_reading
        else:
            self._trusted = leap.time_before + leap.observed_seconds

    def _accept(self, wall: float, expected: float) -> None:
        """Update what is trusted: `wall` is accepted where `expected` was expected."""
        leap = self.unconfirmed_leap()
        if wall > expected + MAX_LEAP_WHILE_RUNNING:
            self._begin_leap(expected)
            self._trust(min(wall, max(self._returned(), expected + self._max_leap)))
            if wall >= self._offset_before_set_back + self.steady():
                self._uncounted = 0.0
        elif wall < expected - MAX_LEAP_WHILE_RUNNING:
            self._set_back(leap, wall, expected)
        elif wall >= self._trusted and (
            self._max_leap > MAX_LEAP_WHILE_RUNNING or expected >= self._trusted + DAY
        ):
            self._trust(wall)
        self._max_leap = MAX_LEAP_WHILE_RUNNING

    def _set_back(self, leap: UnconfirmedLeap | None, wall: float, expected: float) -> None:
        """Trust a clock that was set back; drop an unconfirmed leap if it is plausible again."""
        if leap:
            self._begin_leap(expected)
            self._leap = self._leap if wall > leap.latest_plausible else None
        else:
            offset = expected - self.steady()
            self._uncounted = self._uncounted if self._offset_before_set_back >= offset else 0.0
            self._offset_before_set_back = max(self._offset_before_set_back, offset)
        self._trust(wall)

    def _returned(self) -> float:
        """The most that a clock shows which was set back and then set as it was before."""
        return self._offset_before_set_back + self.steady() + self._uncounted

    def _begin_leap(self, expected: float) -> None:
        """Observe a leap from now on; one that is observed already counts from its beginning."""
        leap = self.unconfirmed_leap()
        time_before = leap.time_before + leap.observed_seconds if leap else expected
        self._leap = (time_before, self.steady())

    def _trust(self, wall: float) -> None:
        """Trust the wall clock as it is now, and go on from there by the steady clock."""
        self._trusted, self._trusted_at = wall, self.steady()
        self._max_leap = MAX_LEAP_WHILE_RUNNING
