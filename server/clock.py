"""What time it is, as far as this computer's clock can be believed: the one place that decides it.

Whatever is stamped with a time, or removed for its age, goes by a `Clock`. What merely waits, goes
by a steady clock, which nobody can set.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final

from server.times import iso

DAY: Final = 86_400.0
AFTER_A_START: Final = 400 * DAY
"""How much later than the last run a start may be: who comes back after a year is believed."""
WHILE_RUNNING: Final = DAY
"""How much more time than has passed the clock may show within a day of running."""
EARLIEST: Final = 1_767_225_600.0
"""2026-01-01: a clock that says less has not been set yet, as where a battery is empty."""


def steady() -> float:
    """Seconds since some moment, those included in which the computer was asleep."""
    source = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if source is None else time.clock_gettime(source)  # none on Windows


class Clock:
    """Called, it tells the seconds since 1970 that can be believed.

    `last_run` is what it told last when the store was in use before, 0 where that is not known.
    `wall` is the computer's clock; `passing` counts seconds steadily. A wall clock that has leapt
    too far ahead is not believed until it is right again or somebody confirms it: time goes on
    from what was believed before. One that is set back is believed: whoever stamps what happens
    sees to it that stamps never decrease.
    """

    def __init__(
        self,
        last_run: float,
        wall: Callable[[], float] = time.time,
        passing: Callable[[], float] = steady,
    ) -> None:
        self.wall, self.passing = wall, passing
        self._known, self._since = last_run or EARLIEST, passing()
        """What was true at which count of the steady clock."""
        self._allowed = AFTER_A_START if last_run else inf
        self._leap: tuple[float, float] | None = None

    def __call__(self) -> float:
        wall, passed = self.wall(), self.passing() - self._since
        held = self._known + passed
        if wall > held + self._allowed:
            self._leap = self._leap or (wall, held)
            return held
        self._leap = None
        is_due = passed >= DAY or self._allowed > WHILE_RUNNING
        if is_due and wall >= self._known:
            self._believe(wall)
        return wall

    def confirm(self) -> None:
        """Somebody knows that the computer's clock is right."""
        self._leap = None
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

    def _believe(self, wall: float) -> None:
        self._known, self._since, self._allowed = wall, self.passing(), WHILE_RUNNING
