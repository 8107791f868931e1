"""What each region of a window reads from the read model."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from signalbox.server.feed import Feed
from signalbox.server.http.window.diff_region import DiffRegion
from signalbox.server.http.window.inspector import Inspector
from signalbox.server.http.window.time_slider import TimeSlider
from signalbox.server.http.window.window_query import (
    MOST_ATTEMPTS,
    RegionContent,
    RegionRenderer,
    WindowQuery,
)
from signalbox.server.model import values
from signalbox.server.model.app_settings import COMPUTER
from signalbox.server.model.errors import Compacted
from signalbox.server.read.charts import ChartCache
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import Filter, Item, StateQuery
from signalbox.server.sources import computer
from signalbox.ui import views

BRANCHES: Final = 100
"""Children of a prefix that the tree lists until more are asked for."""
MOST_NEWS: Final = 100
"""How many rejections the page can tell to be new since Activity was last open."""


class Regions:
    """The regions of one stream's picture."""

    def __init__(
        self,
        ask: WindowQuery,
        readmodel: ReadModel,
        feed: Feed,
        engine: Callable[[], dict[str, Any]],
        charts: ChartCache,
    ) -> None:
        self._ask, self._readmodel, self._feed, self._engine = ask, readmodel, feed, engine
        self._view = readmodel.at(ask.at)
        self._timeline = TimeSlider(ask, readmodel)
        self._trends = charts.live if ask.at is None else charts.past
        self._inspector = Inspector(ask, readmodel, charts)
        self._comparison = DiffRegion(ask, readmodel)
        self._filter = ask.filter()
        self._is_counted = StateQuery(self._filter, ask.sort, None, 0, 0).is_indexed
        self._total = -1
        self._lost = ""

    def in_sight(self) -> dict[str, RegionRenderer]:
        """Each region that is in sight, in the order of sending."""
        main: dict[str, RegionRenderer] = {
            "keys": self._rows,
            "activity": self._activity,
            "sources": self._sources,
            **self._comparison.in_sight(),
        }
        chosen: dict[str, RegionRenderer] = {"about": self._about, "fact": self._fact}
        chosen |= self._inspector.in_sight()
        frame: dict[str, RegionRenderer] = {
            "found": self._found,
            "tree": self._tree,
            "nav": self._nav,
            "ticks": self._timeline.look,
            "foot": self._foot,
        }
        return {self._ask.view: main[self._ask.view]} | chosen | frame

    def first(self, now: int) -> dict[str, str]:
        """What a new window shows at once, as HTML."""
        looks = {"rows": self._rows, "tree": self._tree, "about": self._about, "foot": self._foot}
        return {name: look(now)[0] for name, look in looks.items()}

    def now(self, now: int) -> int:
        """The moment of the picture in ms: what is past is as long ago as it was then."""
        return now if self._ask.at is None else self._timeline.at

    def facts(self, now: int) -> dict[str, Any]:
        """The signals that say which moment is shown."""
        return self._timeline.facts(now)

    def setting(self, key: str, default: Any) -> Any:
        """The value of one of the app's own keys."""
        item = self._readmodel.current.get(key)
        return values.decode(item.raw.encode()) if item else default

    def _rows(self, now: int) -> RegionContent:
        ask = self._ask
        # Rows first: where counting means looking at every key, the total follows by itself.
        is_final, self._is_counted = self._is_counted, True
        start = self._start()
        items = self._page(start, with_total=is_final)
        if start and is_final and self._total < start + ask.rows:
            start = max(0, self._total - ask.rows)
            items = self._page(start, with_total=True)
        match, search = self._filter.match, self._filter.search or ""
        with self._readmodel.snapshot() as connection:
            trends = self._trends.of(connection, items)
        html = views.rows(
            items,
            trends,
            start=start,
            total=self._total,
            now=now,
            own=ask.actor,
            search=search,
            is_past=ask.is_past,
        )
        signals = {"_total": self._total, "_match": match, "_search": search, "_lost": self._lost}
        return html, signals, is_final

    def _start(self) -> int:
        """The first row: as asked for, or so that a key which is looked for is in the middle."""
        ask = self._ask
        position = None
        if ask.find and ask.sort == "key":
            position = self._view.position(self._filter, ask.find)
        return ask.start if position is None else max(0, position - ask.rows // 2)

    def _page(self, start: int, with_total: bool) -> list[Item]:
        ask = self._ask
        found = self._view.page(self._filter, ask.sort, None, start, ask.rows, with_total)
        self._total = found.total
        self._lost = views.lost(found.compacted)
        return found.items

    def _found(self, _now: int) -> RegionContent:
        is_filtered = self._ask.view == "keys" and bool(self._ask.text or self._ask.type)
        return views.found(self._total, is_filtered), {}, True

    def _activity(self, now: int) -> RegionContent:
        ask = self._ask
        actor = ask.by if ask.by not in ("", "*") else None
        before = (ask.at + 1, 0) if ask.is_past and ask.at is not None else None
        without = None if ask.by else computer.ACTOR
        attempts, more = self._readmodel.attempts(
            actor, ask.only or None, before, ask.attempts, without
        )
        has_more = more is not None and ask.attempts < MOST_ATTEMPTS
        undone = self._readmodel.log.reversed_among(
            record["revision"] for record in attempts if record.get("changed")
        )
        html = views.activity(
            attempts,
            undone,
            only=ask.only,
            has_more=has_more,
            is_past=ask.is_past,
            now=now,
            own=ask.actor,
        )
        return html, {}, True

    def _sources(self, _now: int) -> RegionContent:
        item = self._readmodel.current.get(COMPUTER)
        keys = self._readmodel.current.count(Filter("computer.**"))
        revision = item.revision if item else 0
        html = views.sources(
            self._computer(),
            node=self._node(),
            revision=revision,
            keys=keys,
            is_past=self._ask.is_past,
        )
        return html, {}, True

    def _about(self, now: int) -> RegionContent:
        ask = self._ask
        item = self._item()
        keys = 0 if ask.key else self._view.count(Filter(f"{ask.prefix}**"))
        html = views.about(
            item,
            key=ask.key,
            prefix=ask.prefix,
            keys=keys,
            now=now,
            own=ask.actor,
            is_past=ask.is_past,
        )
        return html, {}, True

    def _fact(self, _now: int) -> RegionContent:
        ask, item = self._ask, self._item()
        return views.fact(item, key=ask.key, own=ask.actor), {}, True

    def _item(self) -> Item | None:
        """The chosen key as it is shown; of what is not kept so long nothing is."""
        try:
            return self._view.get(self._ask.key) if self._ask.key else None
        except Compacted:
            return None

    def _tree(self, _now: int) -> RegionContent:
        branches = list(self._branches("", 1, dict(self._ask.open)))
        total = self._view.keys()
        return views.tree(branches, total=total, selected=self._ask.prefix), {}, True

    def _branches(self, prefix: str, depth: int, listed: dict[str, int]) -> Iterator[views.Branch]:
        most = listed.get(prefix, BRANCHES)
        found = self._view.tree(prefix, None, most)
        for child in found.children:
            below = child.prefix or ""
            is_open = below in listed and bool(below)
            yield views.Branch(depth, below, child.segment, child.key, child.keys, is_open)
            if is_open:
                yield from self._branches(below, depth + 1, listed)
        if found.next is not None:
            rest = found.total - sum(child.keys for child in found.children)
            yield views.Branch(depth, prefix, "", None, 0, more=rest)

    def _nav(self, _now: int) -> RegionContent:
        rejected, _ = self._readmodel.attempts(None, "rejected", None, MOST_NEWS)
        signals = {
            "_keys": self._readmodel.current.keys(),
            "_rejected": [record["at"] for record in rejected],
            "_sources": "1 on" if self._computer()["enabled"] else "",
            "_node": self._node(),
        }
        return "", signals, True

    def _foot(self, _now: int) -> RegionContent:
        ask, engine = self._ask, self._engine()
        html = views.foot(
            engine=engine,
            revision=self._view.revision,
            keys=self._view.keys(),
            rate=None if ask.is_past else self._feed.rate(),
        )
        shared = engine["log"]
        return html, {"_stale": bool(shared and shared["stale_since"])}, True

    def _computer(self) -> dict[str, Any]:
        return {"enabled": False, "every": 1.0, "node": None} | dict(self.setting(COMPUTER, {}))

    def _node(self) -> str:
        """Which of those that share the store this is; empty where nobody does."""
        shared = self._engine()["log"]
        return str(shared["node"]) if shared else ""
