"""The inspector's regions about the past of the chosen key: its history and its chart."""

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
from signalbox.server.read.history import Version
from signalbox.server.read.read_model import ReadModel
from signalbox.ui import views
from signalbox.ui.value_diff import delta


class Inspector:
    """Asks again only for what may have changed since the picture before."""

    def __init__(self, ask: WindowQuery, readmodel: ReadModel, charts: ChartCache) -> None:
        self._ask, self._readmodel, self._charts = ask, readmodel, charts
        self._read_for: object = None
        self._versions: list[views.Version] = []
        self._has_more = self._is_cut = False
        self._drawn_for: object = None
        self._drawn = ""
        self._aside = BackgroundJob()

    def in_sight(self) -> dict[str, RegionRenderer]:
        return {"history": self._history, "chart": self._chart} if self._ask.key else {}

    def _history(self, now: int) -> RegionContent:
        ask, revision = self._ask, self._revision()
        read_for = (revision, self._readmodel.log.horizons())
        if read_for != self._read_for:
            self._read()
            self._read_for = read_for
        newest = self._versions[0].revision if self._versions and not ask.before else 0
        html = views.history(
            self._versions,
            key=ask.key,
            current=revision or newest,
            before=ask.before,
            has_more=self._has_more,
            is_cut=self._is_cut,
            is_past=ask.is_past,
            now=now,
            own=ask.actor,
        )
        return html, {}, True

    def _revision(self) -> int:
        """The key's, 0 where it does not exist; what is past does not change."""
        item = self._readmodel.current.get(self._ask.key) if self._ask.at is None else None
        return item.revision if item else 0

    def _read(self) -> None:
        ask = self._ask
        bounds = [] if ask.at is None else [ask.at + 1]
        bounds += [ask.before] if ask.before else []
        # One more than is listed: what the oldest one has changed.
        found = self._readmodel.log.history(ask.key, min(bounds, default=None), ask.versions + 1)
        known = {version.revision: version for version in self._versions}
        self._versions = [
            known.get(later.revision) or _version(later, earlier.raw)
            for later, earlier in with_pauses(pairwise(found.items))
        ]
        self._has_more = len(found.items) > ask.versions
        if not self._has_more:
            self._versions += [_version(oldest, None) for oldest in found.items[-1:]]
        self._is_cut = bool(found.compacted) and not self._has_more

    def _chart(self, now: int) -> RegionContent:
        ask, readmodel = self._ask, self._readmodel
        is_past = ask.at is not None
        revision = readmodel.revision if ask.at is None else ask.at
        made = readmodel.log.time_of(revision)
        until = made if is_past else max(now, made)
        wanted = ChartQuery(ask.key, ask.span, until, revision)
        known = self._charts.known(wanted, is_past)
        key_revision = self._revision()
        drawn_for = (key_revision, known and until // known.width)
        if self._aside.is_busy or drawn_for != self._drawn_for:
            self._aside.is_done(partial(self._draw, wanted, is_past, known, key_revision))
        html = self._drawn or views.chart_to_come(key=ask.key)
        return html, {}, not self._aside.is_busy

    def _draw(
        self, wanted: ChartQuery, is_past: bool, known: Chart | None, key_revision: int
    ) -> None:
        def ask(connection: apsw.Connection) -> Chart | None:
            is_possible = is_chartable(connection, wanted.key, wanted.revision)
            return read_chart(connection, wanted, known) if is_possible else None

        found = self._readmodel.in_thread(ask)
        if found:
            self._charts.keep(wanted, is_past, found)
        self._drawn_for = (key_revision, found and wanted.until // found.width)
        self._drawn = views.chart(
            None if found is None or found.is_crowded else found,
            key=wanted.key,
            span=wanted.span,
            is_drawn=found is not None,
        )


def _version(version: Version, before: str | None) -> views.Version:
    change = delta(before, version.raw)
    return views.Version(version.revision, version.at, version.actor, version.raw, change)
