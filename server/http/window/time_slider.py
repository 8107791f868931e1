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
"""In ms."""
NO_KEY: Final = "_"
"""In place of a key where none is selected."""


class TimeSlider:
    """The slider of one stream; `query.at` is the revision that is shown."""

    def __init__(self, query: WindowQuery, readmodel: ReadModel) -> None:
        """The time slider of a page stream whose window asks for `query`."""
        self._query, self._readmodel = query, readmodel

    def render(self, now: int) -> RegionContent:
        """The HTML of the slider's ticks: how many changes fall into each interval."""
        start, tick = self.first_interval(now)
        ticks = self._readmodel.log.transactions_per_interval(start, tick, TICKS)
        return views.ticks(ticks, start=start, end=start + TICKS * tick), {}, True

    def first_interval(self, now: int) -> tuple[int, int]:
        """Start of the first interval and length of each, in ms.

        Starts are multiples of the length, which changes rarely: most intervals are those of the
        frame before, and their counts are remembered.
        """
        first = self._readmodel.log.first_time() or now
        span = max(SHORTEST, min(now - first, SPAN_MS.get(self._query.stretch, now)))
        tick = _rounded_up(-(-span // (TICKS - 1)))
        return (now // tick + 1 - TICKS) * tick, tick

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


def _rounded_up(length: int) -> int:
    """The next number that two digits and zeros make."""
    unit: int = 10 ** max(0, len(str(length)) - 2)
    return -(-length // unit) * unit
