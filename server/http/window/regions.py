"""The regions of a window: each is read from the read model and rendered as HTML."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from signalbox.server.feed import Feed
from signalbox.server.http.window.diff_region import DiffRegion
from signalbox.server.http.window.inspector import Inspector
from signalbox.server.http.window.time_slider import TimeSlider
from signalbox.server.http.window.window_query import (
    MAX_ATTEMPTS,
    RegionContent,
    RegionRenderer,
    WindowQuery,
)
from signalbox.server.model import values
from signalbox.server.model.app_settings import COMPUTER
from signalbox.server.model.errors import Compacted, Unavailable
from signalbox.server.read.charts import ChartCache
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import Filter, Item, StateQuery
from signalbox.server.sources import computer
from signalbox.ui import views

DEFAULT_CHILDREN: Final = 100
"""Children of a prefix that the tree lists unless more are requested."""
MAX_REJECTIONS: Final = 100
"""Rejections that the page counts as new since Activity was last open, at most."""


class Regions:
    """The regions of one page stream, for one query."""

    def __init__(
        self,
        query: WindowQuery,
        readmodel: ReadModel,
        feed: Feed,
        engine: Callable[[], dict[str, Any]],
        charts: ChartCache,
    ) -> None:
        """The regions of the page that asks for `query`; `engine` reports the engine's status."""
        self._query, self._readmodel, self._feed, self._engine = query, readmodel, feed, engine
        self._view = readmodel.at(query.at)
        self._time_slider = TimeSlider(query, readmodel)
        self._trends = charts.current if query.at is None else charts.as_of
        self._inspector = Inspector(query, readmodel, charts)
        self._comparison = DiffRegion(query, readmodel)
        self._filter = query.filter()
        self._is_counted = StateQuery(self._filter, query.sort, None, 0, 0).is_indexed
        self._match_count = -1
        self._compacted_text = ""

    def renderers(self) -> dict[str, RegionRenderer]:
        """How to render each visible region, in the order of sending."""
        main: dict[str, RegionRenderer] = {
            "keys": self._rows,
            "activity": self._activity,
            "sources": self._sources,
            **self._comparison.renderers(),
        }
        chosen: dict[str, RegionRenderer] = {"about": self._about, "fact": self._fact}
        chosen |= self._inspector.renderers()
        frame: dict[str, RegionRenderer] = {
            "found": self._found,
            "tree": self._tree,
            "nav": self._nav,
            "ticks": self._time_slider.render,
            "foot": self._foot,
        }
        return {self._query.view: main[self._query.view]} | chosen | frame

    def close(self) -> None:
        """End what runs in the background for these regions."""
        self._comparison.close()
        self._inspector.close()

    def initial_html(self, now: int) -> dict[str, str]:
        """The HTML of the regions that a new page contains from the beginning."""
        looks = {"rows": self._rows, "tree": self._tree, "about": self._about, "foot": self._foot}
        return {name: look(now)[0] for name, look in looks.items()}

    def now(self, now: int) -> int:
        """The time in ms that the regions' ages count from: that of an earlier revision shown."""
        return now if self._query.at is None else self._time_slider.at

    def slider_signals(self, now: int) -> dict[str, Any]:
        """The signals of the time slider: which revision is shown."""
        return self._time_slider.slider_signals(now)

    def setting(self, key: str, default: Any) -> Any:
        """The value of one of the app's own keys, for a region that shows it."""
        item = self._readmodel.current.get(key)
        return values.decode(item.raw.encode()) if item else default

    def _rows(self, now: int) -> RegionContent:
        """The region of the list: its visible rows with sparklines, and the total."""
        query = self._query
        # Rows first: where counting has to visit every key, the total is sent later.
        is_final, self._is_counted = self._is_counted, True
        start = self._start()
        items = self._page(start, with_total=is_final)
        if start and is_final and self._match_count < start + query.rows:
            start = max(0, self._match_count - query.rows)
            items = self._page(start, with_total=True)
        match, search = self._filter.match, self._filter.search or ""
        with self._readmodel.snapshot() as connection:
            trends = self._trends.sparklines(connection, items)
        html = views.rows(
            items,
            trends,
            start=start,
            total=self._match_count,
            now=now,
            own=query.actor,
            search=search,
            is_past=query.is_past,
        )
        signals = {
            "_total": self._match_count,
            "_match": match,
            "_search": search,
            "_lost": self._compacted_text,
        }
        return html, signals, is_final

    def _start(self) -> int:
        """The position of the first row; a key to find is in the middle."""
        query = self._query
        position = None
        if query.find and query.sort == "key":
            position = self._view.position(self._filter, query.find)
        return query.start if position is None else max(0, position - query.rows // 2)

    def _page(self, start: int, with_total: bool) -> list[Item]:
        """The rows of the list from a position on, for the region `rows`."""
        query = self._query
        page = self._view.page(self._filter, query.sort, None, start, query.rows, with_total)
        self._match_count = page.total
        self._compacted_text = views.compacted_text(page.compacted)
        return page.items

    def _found(self, _now: int) -> RegionContent:
        """The region with the number of keys that match the filter."""
        is_filtered = self._query.view == "keys" and bool(self._query.text or self._query.type)
        return views.found(self._match_count, is_filtered), {}, True

    def _activity(self, now: int) -> RegionContent:
        """The region of the last attempts, those that were undone marked."""
        query = self._query
        actor = query.by if query.by not in ("", "*") else None
        before = (query.at + 1, 0) if query.is_past and query.at is not None else None
        without = None if query.by else computer.ACTOR
        attempts, more = self._readmodel.attempts(
            actor, query.only or None, before, query.attempts, without
        )
        has_more = more is not None and query.attempts < MAX_ATTEMPTS
        undone = self._readmodel.log.reversed_among(
            record["revision"] for record in attempts if record.get("changed")
        )
        html = views.activity(
            attempts,
            undone,
            only=query.only,
            has_more=has_more,
            is_past=query.is_past,
            now=now,
            own=query.actor,
        )
        return html, {}, True

    def _sources(self, _now: int) -> RegionContent:
        """The region with the switch of the source *this computer*."""
        item = self._readmodel.current.get(COMPUTER)
        keys = self._readmodel.current.count(Filter("computer.**"))
        revision = item.revision if item else 0
        html = views.sources(
            self._computer(),
            node=self._node(),
            revision=revision,
            keys=keys,
            is_past=self._query.is_past,
        )
        return html, {}, True

    def _about(self, now: int) -> RegionContent:
        """The region about the selected key or prefix."""
        query = self._query
        item = self._item()
        keys = 0 if query.key else self._view.count(Filter(f"{query.prefix}**"))
        html = views.about(
            item,
            key=query.key,
            prefix=query.prefix,
            keys=keys,
            now=now,
            own=query.actor,
            is_past=query.is_past,
        )
        return html, {}, True

    def _fact(self, _now: int) -> RegionContent:
        """The region with the selected key's value as data for the editor."""
        query, item = self._query, self._item()
        return views.key_data(item, key=query.key, own=query.actor), {}, True

    def _item(self) -> Item | None:
        """The selected key at the revision shown; None where retention has removed its past."""
        try:
            return self._view.get(self._query.key) if self._query.key else None
        except Compacted:
            return None

    def _tree(self, _now: int) -> RegionContent:
        """The region with the tree: the branches that are open in this window."""
        branches = list(self._branches("", 1, dict(self._query.open)))
        total = self._view.keys()
        return views.tree(branches, total=total, selected=self._query.prefix), {}, True

    def _branches(self, prefix: str, depth: int, listed: dict[str, int]) -> Iterator[views.Branch]:
        """The open branches of the tree below a prefix, with a line for those not listed."""
        limit = listed.get(prefix, DEFAULT_CHILDREN)
        tree = self._view.tree(prefix, None, limit)
        for child in tree.children:
            below = child.prefix or ""
            is_open = below in listed and bool(below)
            yield views.Branch(depth, below, child.segment, child.key, child.keys, is_open)
            if is_open:
                yield from self._branches(below, depth + 1, listed)
        if tree.next is not None:
            unlisted = tree.total - sum(child.keys for child in tree.children)
            yield views.Branch(depth, prefix, "", None, 0, more=unlisted)

    def _nav(self, _now: int) -> RegionContent:
        """Signals of the navigation bar: how many keys, rejections and sources there are."""
        rejected, _ = self._readmodel.attempts(None, "rejected", None, MAX_REJECTIONS)
        signals = {
            "_keys": self._readmodel.current.keys(),
            "_rejected": [record["at"] for record in rejected],
            "_sources": "1 on" if self._computer()["enabled"] else "",
            "_node": self._node(),
        }
        return "", signals, True

    def _foot(self, _now: int) -> RegionContent:
        """The region of the status bar."""
        query, keys = self._query, self._key_count()  # which may find the problem that it shows
        engine = self._engine()
        html = views.status_bar(
            engine=engine,
            revision=self._view.revision,
            keys=keys,
            rate=None if query.is_past else self._feed.rate(),
        )
        shared = engine["log"]
        return html, {"_stale": bool(shared and shared["stale_since"])}, True

    def _key_count(self) -> int | None:
        """The number of keys for the status bar; None where the store cannot be read."""
        try:
            return self._view.keys()
        except Unavailable:
            return None

    def _computer(self) -> dict[str, Any]:
        """The setting of the source *this computer*."""
        return {"enabled": False, "every": 1.0, "node": None} | dict(self.setting(COMPUTER, {}))

    def _node(self) -> str:
        """The name of this node, which the page shows; empty where the store is not shared."""
        shared = self._engine()["log"]
        return str(shared["node"]) if shared else ""
