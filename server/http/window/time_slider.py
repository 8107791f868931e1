"""The region of the time slider: its range of time, with the number of changes per interval."""

from typing import Any, Final

from signalbox.server.http.window.window_query import RegionContent, WindowQuery
from signalbox.server.model.keys import is_key
from signalbox.server.read import log_sql
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views

TICKS: Final = 70
SPAN_MS: Final = {"15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}
"""In ms; any other name means the whole history that is kept."""
SHORTEST: Final = 10_000
TICK: Final = 1_000
NO_KEY: Final = "_"
"""In place of a key where none is selected."""


class TimeSlider:
    """The slider of one stream; `query.at` is the revision that is shown."""

    def __init__(self, query: WindowQuery, readmodel: ReadModel) -> None:
        """The time slider of a page stream whose window asks for `query`."""
        self._query, self._readmodel = query, readmodel

    def render(self, now: int) -> RegionContent:
        """The HTML of the slider's ticks: how many changes fall into each interval."""
        start, end = self._time_range(now)
        ticks = self._readmodel.log.transactions_per_interval(start, end, TICKS)
        return views.ticks(ticks, start=start, end=end), {}, True

    def _time_range(self, now: int) -> tuple[int, int]:
        """Start and end in ms, at limits of intervals, so that they do not move all the time."""
        first = self._readmodel.log.first_time() or now
        span = max(SHORTEST, min(now - first, SPAN_MS.get(self._query.stretch, now)))
        tick = max(TICK, span // TICKS)
        end = (now // tick + 1) * tick
        return end - span - tick, end

    def _neighbour_revisions(self) -> list[int | None]:
        """The revisions before and after the one shown: of any key, and of the selected key."""
        query, newest = self._query, self._readmodel.revision
        at = newest if query.at is None else query.at
        key = query.key if is_key(query.key) else NO_KEY
        with self._readmodel.snapshot() as connection:
            return [
                log_sql.adjacent_revision(connection, at, False, "**"),
                log_sql.adjacent_revision(connection, at, True, "**"),
                log_sql.adjacent_revision(connection, at + (query.at is None), False, key),
                log_sql.adjacent_revision(connection, at, True, key),
            ]

    def slider_signals(self, now: int) -> dict[str, Any]:
        """The signals of the time slider: the revision that is shown, and those around it."""
        query, around = self._query, {"_steps": self._neighbour_revisions()}
        if query.at is None or not query.is_past:
            return {"_past": "", "_pastAt": 0, "_pastRevision": -1} | around
        past, at = views.moment(query.moment or self.at, now, query.at), query.moment or self.at
        return {"_past": past, "_pastAt": at, "_pastRevision": query.at} | around

    @property
    def at(self) -> int:
        """When the revision that is shown was made, in ms."""
        return self._readmodel.log.time_of(self._query.at or 0)
