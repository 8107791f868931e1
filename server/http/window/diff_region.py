"""The window's view of what differs between two moments."""

from functools import partial
from time import monotonic
from typing import Final

from signalbox.server.http.window.background_job import BackgroundJob, with_pauses
from signalbox.server.http.window.window_query import RegionContent, RegionRenderer, WindowQuery
from signalbox.server.read.history import Diff
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views
from signalbox.ui.value_diff import delta

REST: Final = 3
"""Comparing rests this many times as long as it has taken before it is done again."""


class DiffRegion:
    """Compares anew where one of the moments is now and something has happened."""

    def __init__(self, ask: WindowQuery, readmodel: ReadModel) -> None:
        self._ask, self._readmodel = ask, readmodel
        self._found: Diff | None = None
        self._rows: list[views.Row] = []
        self._aside = BackgroundJob()
        self._due = 0.0

    def in_sight(self) -> dict[str, RegionRenderer]:
        return {"diff": self._diff}

    def _diff(self, now: int) -> RegionContent:
        since, until = self._moments()
        if self._aside.is_busy or self._is_due(since, until):
            self._aside.is_done(partial(self._compare, since.revision, until.revision))
        return self._html(since, until, now), {}, not self._aside.is_busy

    def _is_due(self, since: views.Moment, until: views.Moment) -> bool:
        found = self._found
        is_known = found and (found.since, found.until) == (since.revision, until.revision)
        return not is_known and monotonic() >= self._due

    def _compare(self, since: int, until: int) -> None:
        ask, started = self._ask, monotonic()
        self._found = self._readmodel.log.diff(
            since, until, self._match(), ask.behind or None, ask.differences
        )
        self._rows = [
            views.Row(key, before, after, delta(before, after))
            for key, before, after in with_pauses(self._found.items)
        ]
        self._due = monotonic() + REST * (monotonic() - started)

    def _match(self) -> str:
        ask = self._ask
        if ask.scope == "key" and ask.key:
            return ask.key
        return "**" if ask.scope == "all" else f"{ask.prefix}**"

    def _moments(self) -> tuple[views.Moment, views.Moment]:
        newest = self._readmodel.revision
        since, until = min(self._ask.since, newest), min(self._ask.until, newest)
        at = self._readmodel.log.time_of
        if until < 0:
            return views.Moment(since, at(since)), views.Moment(newest, at(newest), True)
        return views.Moment(since, at(since)), views.Moment(until, at(until))

    def _html(self, since: views.Moment, until: views.Moment, now: int) -> str:
        found = self._found
        return views.diff(
            self._rows,
            since=since,
            until=until,
            total=found.total if found else -1,
            compacted=found.compacted if found else [],
            behind=self._ask.behind,
            following=found.next if found else None,
            now=now,
        )
