"""What time it is, as far as this computer's clock can be believed: the one place that decides it.

Whatever is stamped with a time, or removed for its age, goes by a `Clock`. What merely waits, goes
by a steady clock, which nobody can set.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from signalbox.server.model.times import iso

DAY: Final = 86_400.0
AFTER_A_START: Final = 400 * DAY
"""How much later than the last run a start may be: who comes back after a year is believed."""
AFTER_A_RETURN: Final = 100 * DAY
"""How much later than it was a clock may be that has returned to where it was in an earlier run."""
WHILE_RUNNING: Final = DAY
"""How much more time than has passed the clock may show within a day of running."""
EARLIEST: Final = 1_767_225_600.0
"""2026-01-01: a clock that says less has not been set yet, as where a battery is empty."""


def steady() -> float:
    """Seconds since some moment, those included in which the computer was asleep."""
    source = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if source is None else time.clock_gettime(source)  # none on Windows


class ClockTrial(NamedTuple):
    """A leap that is believed, but has not been seen for a day of running.

    At a start, or to where the clock was before it was set back.
    """

    before: float
    """What could be believed last without it, in seconds since 1970."""
    watched: float
    """For how many seconds the server has run since."""
    shown: float
    """What was believed last: a clock that says something else leaps anew."""

    @property
    def latest(self) -> float:
        """What retention may go by: it would be right if the clock had not leapt."""
        return self.before + self.watched + WHILE_RUNNING


class Clock:
    """Called, it tells the seconds since 1970 that can be believed.

    `last_run` is what it told last when the store was in use before, 0 where that is not known.
    `trial` is one that was not over then; it goes on where the clock still says the same.
    `highest` is the latest that it ever told: more than `last_run` where the clock was behind, as
    at each start of a computer that keeps none while it is off and is told the time a little later.
    `wall` is the computer's clock; `passing` counts seconds steadily. A wall clock that has leapt
    too far ahead is not believed until it is right again or somebody confirms it: time goes on
    from what was believed before. One that is set back is believed, and shows that it was ahead
    before, or that it is behind now: whoever stamps what happens sees to it that stamps never
    decrease, and its return is believed as a leap at a start is.
    """

    def __init__(
        self,
        last_run: float,
        wall: Callable[[], float] = time.time,
        passing: Callable[[], float] = steady,
        trial: ClockTrial | None = None,
        highest: float = 0.0,
    ) -> None:
        self.wall, self.passing = wall, passing
        self._known, self._since = last_run or max(wall(), EARLIEST), passing()
        """What was true at which count of the steady clock."""
        self._allowed = AFTER_A_START if last_run else inf
        was_behind = 0 < last_run < highest - WHILE_RUNNING
        self._highest = highest - self._since if was_behind else -inf
        """What was true before the clock was set back, at count 0 of the steady clock."""
        self._off = AFTER_A_RETURN
        """How much time may have passed since then in which nobody counted."""
        self._leap: tuple[float, float] | None = None
        self._trial: tuple[float, float] | None = None
        """What was believed before, and at which count of the steady clock it began."""
        if trial:
            self._go_on(trial)

    def __call__(self) -> float:
        wall, held = self.wall(), self._known + self.passing() - self._since
        if wall > max(held + self._allowed, self._returned() + WHILE_RUNNING):
            self._leap = self._leap or (wall, held)
            if self.trial():
                self._try_anew(held)  # the clock does not say any more what is on trial
            return held
        self._leap = None
        if wall >= min(self._known, EARLIEST):  # else it has not been set yet
            self._learn(wall, held)
        return wall

    def for_retention(self) -> float:
        """By which history may be too old: a leap at a start must be seen for a day before."""
        now, trial = self(), self.trial()
        return min(now, trial.latest) if trial else now

    def trial(self) -> ClockTrial | None:
        """The one that is under way."""
        if self._trial is None:
            return None
        before, begun = self._trial
        watched = self.passing() - begun
        shown = self._known + self.passing() - self._since
        return ClockTrial(before, watched, shown) if watched < DAY else None

    def confirm(self) -> None:
        """Somebody knows that the computer's clock is right."""
        self._leap = self._trial = None
        self._highest = -inf
        self._believe(self.wall())

    def behind(self) -> float:
        """So many seconds it is behind a clock that is not believed; 0 where that is believed."""
        now = self()
        return self.wall() - now if self._leap else 0.0

    def problem(self) -> str | None:
        """Why the computer's clock is not believed, None where it is; the same until that ends."""
        self()
        if self._leap is None:
            return None
        wall, held = (iso(int(seconds * 1000)) for seconds in self._leap)
        return (
            f"This computer's clock has leapt from {held} to {wall}, which is not believed: times "
            "go on from where they were, and nothing is removed from the history for its age."
        )

    def _go_on(self, trial: ClockTrial) -> None:
        """With a trial of an earlier run, unless the clock says less by now, or far too much."""
        later = self.wall() - trial.shown
        if -WHILE_RUNNING <= later <= AFTER_A_START:
            self._trial = (trial.before, self._since - trial.watched)
            self._known = trial.shown
        else:
            self._known = trial.before + trial.watched

    def _learn(self, wall: float, held: float) -> None:
        """What may be believed from now on, where `wall` is believed and `held` would have been."""
        trial = self.trial()
        if wall > held + WHILE_RUNNING:
            self._try_anew(held)
            self._believe(min(wall, max(self._returned(), held + self._allowed)))
            if wall >= self._highest + self.passing():
                self._off = 0.0
        elif wall < held - WHILE_RUNNING:
            self._set_back(trial, wall, held)
        elif wall >= self._known and (self._allowed > WHILE_RUNNING or held >= self._known + DAY):
            self._believe(wall)
        self._allowed = WHILE_RUNNING

    def _set_back(self, trial: ClockTrial | None, wall: float, held: float) -> None:
        """A leap that was on trial was wrong; of anything else nobody knows which of the two is."""
        if trial:
            self._try_anew(held)
            self._trial = self._trial if wall > trial.latest else None
        else:
            self._off = self._off if self._highest >= held - self.passing() else 0.0
            self._highest = max(self._highest, held - self.passing())
        self._believe(wall)

    def _returned(self) -> float:
        """What a clock says now that was set back and is set as it was before."""
        return self._highest + self.passing() + self._off

    def _try_anew(self, held: float) -> None:
        trial = self.trial()
        before = trial.before + trial.watched if trial else held
        self._trial = (before, self.passing())

    def _believe(self, wall: float) -> None:
        self._known, self._since, self._allowed = wall, self.passing(), WHILE_RUNNING
