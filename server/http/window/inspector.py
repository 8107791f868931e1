"""The regions of a window about the past of the selected key: its history and its chart."""

from functools import partial
from itertools import pairwise

import apsw

from signalbox.server.http.window.background_job import BackgroundJob, with_pauses
from signalbox.server.http.window.window_query import RegionContent, RegionRenderer, WindowQuery
from signalbox.server.read.charts import (
    Chart,
    ChartCache,
    ChartQuery,
    is_chartable,
    read_chart,
)
from signalbox.server.read.log_sql import Version
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views
from signalbox.ui.value_diff import delta


class Inspector:
    """Reads again only what may have changed since the previous frame."""

    def __init__(self, query: WindowQuery, readmodel: ReadModel, charts: ChartCache) -> None:
        """The inspector of the key that `query` selects; `charts` are cached for all windows."""
        self._query, self._readmodel, self._charts = query, readmodel, charts
        self._history_key: object = None
        self._versions: list[views.Version] = []
        self._has_more = self._is_cut = False
        self._chart_key: object = None
        self._chart_html = ""
        self._job = BackgroundJob()

    def renderers(self) -> dict[str, RegionRenderer]:
        """How to render the history and the chart of the selected key, if one is selected."""
        return {"history": self._history, "chart": self._chart} if self._query.key else {}

    def close(self) -> None:
        """End the chart that is read in the background."""
        self._job.end()

    def _history(self, now: int) -> RegionContent:
        """The HTML of the key's history."""
        query, revision = self._query, self._revision()
        read_for = (revision, self._readmodel.log.horizons())
        if read_for != self._history_key:
            self._read_history()
            self._history_key = read_for
        newest = self._versions[0].revision if self._versions and not query.before else 0
        html = views.history(
            self._versions,
            key=query.key,
            current=revision or newest,
            before=query.before,
            has_more=self._has_more,
            is_cut=self._is_cut,
            is_past=query.is_past,
            now=now,
            own=query.actor,
        )
        return html, {}, True

    def _revision(self) -> int:
        """The revision of the key, 0 where it does not exist or an earlier moment is shown."""
        item = self._readmodel.current.get(self._query.key) if self._query.at is None else None
        return item.revision if item else 0

    def _read_history(self) -> None:
        """Read the versions that the history lists, with what changed in each."""
        query = self._query
        bounds = [] if query.at is None else [query.at + 1]
        bounds += [query.before] if query.before else []
        # One more than is listed: the oldest listed version needs the one before it for its delta.
        history = self._readmodel.log.history(
            query.key, min(bounds, default=None), query.versions + 1
        )
        known = {version.revision: version for version in self._versions}
        self._versions = [
            known.get(later.revision) or _version(later, earlier.raw)
            for later, earlier in with_pauses(pairwise(history.items))
        ]
        self._has_more = len(history.items) > query.versions
        if not self._has_more:
            self._versions += [_version(oldest, None) for oldest in history.items[-1:]]
        self._is_cut = bool(history.compacted) and not self._has_more

    def _chart(self, now: int) -> RegionContent:
        """The HTML of the key's chart, which a background job reads."""
        query, readmodel = self._query, self._readmodel
        is_past = query.at is not None
        revision = readmodel.revision if query.at is None else query.at
        made = readmodel.log.time_of(revision)
        until = made if is_past else max(now, made)
        chart_query = ChartQuery(query.key, query.span, until, revision)
        cached = self._charts.get(chart_query, is_past)
        key_revision = self._revision()
        drawn_for = (key_revision, cached and until // cached.width)
        if self._job.is_busy or drawn_for != self._chart_key:
            self._job.run(partial(self._render_chart, chart_query, is_past, cached, key_revision))
        html = self._chart_html or views.chart_to_come(key=query.key)
        return html, {}, not self._job.is_busy

    def _render_chart(
        self, chart_query: ChartQuery, is_past: bool, cached: Chart | None, key_revision: int
    ) -> None:
        """Read the chart as far as it is not cached, and render it."""

        def query(connection: apsw.Connection) -> Chart | None:
            is_possible = is_chartable(connection, chart_query.key, chart_query.revision)
            return read_chart(connection, chart_query, cached) if is_possible else None

        chart = self._readmodel.in_thread(query)
        if chart:
            self._charts.put(chart_query, is_past, chart)
        self._chart_key = (key_revision, chart and chart_query.until // chart.width)
        self._chart_html = views.chart(
            None if chart is None or chart.is_crowded else chart,
            key=chart_query.key,
            span=chart_query.span,
            is_drawn=chart is not None,
        )


def _version(version: Version, before: str | None) -> views.Version:
    """A version of the key as the history shows it, with what has changed."""
    change = delta(before, version.raw)
    return views.Version(version.revision, version.at, version.actor, version.raw, change)
