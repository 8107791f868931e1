"""The region of a window that shows the difference between two revisions."""

from functools import partial
from time import monotonic
from typing import Final

from signalbox.server.http.window.background_job import BackgroundJob, with_pauses
from signalbox.server.http.window.window_query import RegionContent, RegionRenderer, WindowQuery
from signalbox.server.read.log_sql import Diff
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views
from signalbox.ui.value_diff import delta

REST_FACTOR: Final = 3
"""The pause before the next comparison, as a multiple of what the last one has taken."""


class DiffRegion:
    """Compares again where one of the revisions is the current one and there are new changes."""

    def __init__(self, query: WindowQuery, readmodel: ReadModel) -> None:
        """The region of differences of a window that asks for `query`."""
        self._query, self._readmodel = query, readmodel
        self._diff_result: Diff | None = None
        self._rows: list[views.Row] = []
        self._job = BackgroundJob()
        self._due = 0.0

    def renderers(self) -> dict[str, RegionRenderer]:
        """How to render the region of differences."""
        return {"diff": self._diff}

    def close(self) -> None:
        """End the comparison that runs in the background."""
        self._job.end()

    def _diff(self, now: int) -> RegionContent:
        """The region's HTML; a comparison runs in the background meanwhile."""
        since, until = self._compared_revisions()
        if self._job.is_busy or self._is_due(since, until):
            self._job.run(partial(self._compare, since.revision, until.revision))
        return self._html(since, until, now), {}, not self._job.is_busy

    def _is_due(self, since: views.Moment, until: views.Moment) -> bool:
        """Whether to compare now: the revisions have changed, and the last time is long ago."""
        result = self._diff_result
        is_known = result and (result.since, result.until) == (since.revision, until.revision)
        return not is_known and monotonic() >= self._due

    def _compare(self, since: int, until: int) -> None:
        """Compare the two revisions; the next comparison waits in proportion to its duration."""
        query, started = self._query, monotonic()
        self._diff_result = self._readmodel.log.diff(
            since, until, self._match(), query.behind or None, query.differences
        )
        self._rows = [
            views.Row(key, before, after, delta(before, after))
            for key, before, after in with_pauses(self._diff_result.items)
        ]
        self._due = monotonic() + REST_FACTOR * (monotonic() - started)

    def _match(self) -> str:
        """The pattern of the keys that are compared: one key, the shown prefix, or all."""
        query = self._query
        if query.scope == "key" and query.key:
            return query.key
        return "**" if query.scope == "all" else f"{query.prefix}**"

    def _compared_revisions(self) -> tuple[views.Moment, views.Moment]:
        """The two revisions that the window compares, with their times."""
        newest = self._readmodel.revision
        since, until = min(self._query.since, newest), min(self._query.until, newest)
        at = self._readmodel.log.time_of
        if until < 0:
            return views.Moment(since, at(since)), views.Moment(newest, at(newest), True)
        return views.Moment(since, at(since)), views.Moment(until, at(until))

    def _html(self, since: views.Moment, until: views.Moment, now: int) -> str:
        """The region's HTML with the last comparison."""
        result = self._diff_result
        return views.diff(
            self._rows,
            since=since,
            until=until,
            total=result.total if result else -1,
            compacted=result.compacted if result else [],
            behind=self._query.behind,
            following=result.next if result else None,
            now=now,
        )
