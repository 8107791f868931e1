"""The time slider's region: which stretch of time it covers, and how busy each part of that was."""

from typing import Any, Final

from signalbox.server.http.window.window_query import RegionContent, WindowQuery
from signalbox.server.model.keys import is_key
from signalbox.server.read import history
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views

TICKS: Final = 70
STRETCHES: Final = {"15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}
"""In ms; any other name stands for all that is kept."""
SHORTEST: Final = 10_000
TICK: Final = 1_000
NO_KEY: Final = "_"
"""Where none is chosen."""


class TimeSlider:
    """Of one stream; `ask.at` is the revision that is shown."""

    def __init__(self, ask: WindowQuery, readmodel: ReadModel) -> None:
        self._ask, self._readmodel = ask, readmodel

    def look(self, now: int) -> RegionContent:
        start, end = self._covered(now)
        ticks = self._readmodel.log.transactions_per_interval(start, end, TICKS)
        return views.ticks(ticks, start=start, end=end), {}, True

    def _covered(self, now: int) -> tuple[int, int]:
        """From when to when: to the end of a tick, so that it need not move all the time."""
        first = self._readmodel.log.first_time() or now
        span = max(SHORTEST, min(now - first, STRETCHES.get(self._ask.stretch, now)))
        tick = max(TICK, span // TICKS)
        end = (now // tick + 1) * tick
        return end - span - tick, end

    def _steps(self) -> list[int | None]:
        """The revisions of the changes before and after this picture: any, and the chosen key's."""
        ask, newest = self._ask, self._readmodel.revision
        at = newest if ask.at is None else ask.at
        key = ask.key if is_key(ask.key) else NO_KEY
        with self._readmodel.snapshot() as connection:
            return [
                history.adjacent_revision(connection, at, False, "**"),
                history.adjacent_revision(connection, at, True, "**"),
                history.adjacent_revision(connection, at + (ask.at is None), False, key),
                history.adjacent_revision(connection, at, True, key),
            ]

    def facts(self, now: int) -> dict[str, Any]:
        """The past moment that is shown, as signals, and the changes around the picture."""
        ask, around = self._ask, {"_steps": self._steps()}
        if ask.at is None or not ask.is_past:
            return {"_past": "", "_pastAt": 0, "_pastRevision": -1} | around
        past, at = views.moment(ask.moment or self.at, now, ask.at), ask.moment or self.at
        return {"_past": past, "_pastAt": at, "_pastRevision": ask.at} | around

    @property
    def at(self) -> int:
        """When the revision that is shown was made, in ms."""
        return self._readmodel.log.time_of(self._ask.at or 0)
