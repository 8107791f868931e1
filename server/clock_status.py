"""Reports problems with the computer's clock: in `status`, window, compaction and log."""

import logging
from pathlib import Path
from typing import Any, Final

from signalbox.server.feed import Feed
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.times import iso
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.trusted_clock import MAX_LEAP_WHILE_RUNNING, Clock
from signalbox.server.settings import command_line

logger: Final = logging.getLogger(__name__)


class ClockStatus:
    """Called, it returns `{"time", "computer", "problem"}`: the time that is used, that of the
    computer's clock, and one sentence where something is wrong, else None.

    `data_dir` is for the command that confirms the clock.
    """

    def __init__(self, clock: Clock, readmodel: ReadModel, feed: Feed, data_dir: Path) -> None:
        """The status of `clock`; a problem of it wakes the windows by `feed`."""
        self._clock, self._readmodel, self._feed = clock, readmodel, feed
        self._confirmation = command_line(data_dir, "compact", "--confirm")
        self._reported: str | None = None

    def __call__(self) -> dict[str, Any]:
        """The clock's fields of `/queries/status`; a new problem is logged, and windows show it."""
        problem = self._clock_problem() or self._future_times_problem()
        if problem != self._reported:
            self._reported = problem
            if problem:
                logger.warning(problem)
            else:
                logger.info("Times are right again.")
            self._feed.wake()
        return {
            "time": iso(int(self._clock() * 1000)),
            "computer": iso(int(self._clock.wall() * 1000)),
            "problem": problem,
        }

    def _clock_problem(self) -> str | None:
        """Why the computer's clock is not trusted, and the command that confirms it."""
        problem = self._clock.problem()
        return f"{problem} If it is right: {self._confirmation}" if problem else None

    def _future_times_problem(self) -> str | None:
        """Whether stored times lie in the future, as after a clock that was far ahead."""
        try:
            newest = self._readmodel.log.time_of(self._readmodel.revision)
        except Unavailable:
            return None  # a problem of the store, which the status reports separately
        if newest <= (self._clock() + MAX_LEAP_WHILE_RUNNING) * 1000:
            return None
        return (
            f"The newest change is stamped {iso(newest)}, a time that has not come yet: until then "
            "all changes get that time, and retention goes by how long they have been here."
        )
