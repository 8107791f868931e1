"""`GET /queries/page`: the window's stream of HTML patches, the picture of what it asks to see.

The picture is a function of the state and of the parameters that travel with the query; the server
keeps nothing about a window. Each region is sent only when its HTML has changed. A frame is made
when the one before has left, from the state as it is then: what came between is never shown.
"""

import json
from collections.abc import Callable, Iterator
from hashlib import blake2b
from time import monotonic
from typing import Any, Final

import msgspec
from datastar_py.sse import ServerSentEventGenerator as Event
from msgspec.structs import replace

from signalbox.server.feed import Feed, Subscription
from signalbox.server.http.window.regions import Regions
from signalbox.server.http.window.window_query import WindowQuery, wrong
from signalbox.server.http.wire.connection import watch_disconnect
from signalbox.server.model.errors import Invalid, Unavailable, is_remembered
from signalbox.server.read.charts import ChartCache
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.clock import Clock

FRAME_SECONDS: Final = 1 / 30
TICK_SECONDS: Final = 1.0
"""How often to look again though nothing happened: a picture says how long ago things were."""
HEARTBEAT_SECONDS: Final = 12.0
REST: Final = 3
"""A region that takes long to ask for rests this many times as long before the next time."""
PACE: Final = {"nav": 1.0, "ticks": 1.0, "chart": 0.2, "diff": 0.5, "history": 0.1}
"""Seconds between two looks at a region that is worth no more."""
CURRENT: Final = {"diff", "foot", "nav", "ticks"}
"""Regions that go on while the picture shows an earlier moment."""
OUTCOMES: Final = 40
"""How many of the window's last outcomes are told."""


def page(
    environ: dict[str, Any],
    readmodel: ReadModel,
    feed: Feed,
    engine: Callable[[], dict[str, Any]],
    signals: dict[str, Any],
    charts: ChartCache,
    clock: Clock,
) -> Iterator[bytes]:
    """The stream's pieces; `charts` are those of all windows.

    Raises `Invalid` at once where `signals` are not a window's.
    """
    try:
        ask = msgspec.convert(signals, WindowQuery)
    except msgspec.ValidationError as error:
        raise Invalid(wrong(signals)) from error
    if environ["REQUEST_METHOD"] == "HEAD":
        return iter((b"\n",))  # bottle leaves the body out, and its length with it
    # What is sent again after a failure carries the parameters of its first try: too old to trust.
    have = {} if environ.get("HTTP_LAST_EVENT_ID") else dict(ask.have)
    subscription = feed.subscribe()
    watch_disconnect(environ).rawlink(lambda _: subscription.close())

    def regions(asked: WindowQuery) -> Regions:
        return Regions(asked, readmodel, feed, engine, charts)

    return _frames(PagePatches(ask, regions, readmodel, feed, clock, have), subscription)


def _frames(picture: "PagePatches", subscription: Subscription) -> Iterator[bytes]:
    sent = 0.0
    try:
        while not subscription.closed:
            started = monotonic()
            frame = picture.frame()
            if not frame and started - sent > HEARTBEAT_SECONDS:
                frame = str(Event.patch_signals({"_online": True}))
            if frame:
                yield frame.encode()
                sent = monotonic()
            _rest(started + FRAME_SECONDS, subscription)
            subscription.wait(picture.patience())
            picture.disturb()
    finally:
        subscription.close()


def _rest(until: float, subscription: Subscription) -> None:
    """Let one frame's time pass unless the window goes; what happens meanwhile is not lost."""
    happened = False
    while not subscription.closed and (left := until - monotonic()) > 0:
        happened |= subscription.wait(left)
    if happened:
        subscription.wake()


class PagePatches:
    """What one stream shows. `have` tells for each region which HTML the window has already."""

    def __init__(
        self,
        ask: WindowQuery,
        regions: Callable[[WindowQuery], Regions],
        readmodel: ReadModel,
        feed: Feed,
        clock: Clock,
        have: dict[str, str],
    ) -> None:
        self._readmodel, self._feed, self._have = readmodel, feed, have
        self._clock = clock
        self._make = regions
        self._told: dict[str, Any] = {}
        self._look_at(ask.settled(readmodel))
        # A held picture may be asked for another part of itself: what waits is counted on.
        was_held = ask.hold and 0 <= ask.held <= feed.changes and ask.pinned >= 0
        self._since = ask.held if was_held else feed.changes

    def _look_at(self, ask: WindowQuery) -> None:
        """Show what is asked for, which stays as it is where it is not of now."""
        self._ask = ask
        self._regions = self._make(ask)
        self._views = self._regions.in_sight()
        self._due = dict.fromkeys(self._views, 0.0)
        self._stale = set(self._views)
        self._complete: set[str] = set()
        self._settled: set[str] = set()
        """What was looked at when all was complete: of an earlier moment it stays so."""

    def disturb(self) -> None:
        """Something happened or time passed: look at everything again once it is due."""
        self._stale = set(self._views)

    def patience(self) -> float:
        """Seconds until the next look even if nothing happens."""
        waits = [self._due[name] - monotonic() for name in self._stale]
        return max(0.0, min(waits, default=TICK_SECONDS))

    def frame(self) -> str:
        """The patches from what the window shows to what it should show; empty where it does."""
        identity = str(self._readmodel.revision)
        signals, events = self._common(), ""
        ready = self._ready()
        for name in ready:
            try:
                html, facts = self._look(name)
            except Unavailable:  # the others go on, and the foot says why
                self._due[name] = monotonic() + TICK_SECONDS
                continue
            signals |= facts
            if html and self._is_news(name, html):
                events += Event.patch_elements(html, event_id=identity)
        if self._complete >= set(self._views):
            self._settled |= set(ready)
        if news := self._changed(signals, bool(events)):
            events += Event.patch_signals(news, event_id=identity)
        return events

    def _ready(self) -> list[str]:
        if self._ask.at is not None:
            self._stale -= self._settled - CURRENT
        now = monotonic()
        return [name for name in self._views if name in self._stale and self._due[name] <= now]

    def _look(self, name: str) -> tuple[str, dict[str, Any]]:
        started = monotonic()
        now = self._now()
        html, facts, is_final = self._views[name](
            now if name in CURRENT else self._regions.now(now)
        )
        ended = monotonic()
        if is_final:
            self._stale.discard(name)
            self._complete.add(name)
            self._due[name] = ended + max(REST * (ended - started), PACE.get(name, 0.0))
        return html, facts

    def _is_news(self, name: str, html: str) -> bool:
        mark = blake2b(html.encode(), digest_size=6).hexdigest()
        if self._have.get(name) == mark:
            return False
        self._have[name] = mark
        return True

    def _changed(self, signals: dict[str, Any], has_patches: bool) -> dict[str, Any]:
        news = {name: value for name, value in signals.items() if self._told.get(name) != value}
        self._told |= news
        return news | {"_have": self._have} if has_patches else news

    def _common(self) -> dict[str, Any]:
        """What is current in every frame, of a held picture too."""
        outcomes = json.dumps(self._outcomes())
        if self._is_held and self._told.get("_outcomes", outcomes) != outcomes:
            # Whoever acts on a held picture sees what came of it.
            revision = self._readmodel.revision
            self._look_at(replace(self._ask, at=revision, pinned=revision))
            self._since = self._feed.changes
        return {
            "_online": True,
            "_outcomes": outcomes,
            "_waiting": self._feed.changes - self._since if self._is_held else 0,
            "_held": self._since if self._is_held else -1,
            "_pinned": self._ask.at if self._is_held else -1,
            "_theme": self._regions.setting("_signalbox.theme", "system"),
            "_skew": 1000 * round(self._clock.seconds_behind()),
        } | self._regions.facts(self._now())

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _outcomes(self) -> list[dict[str, Any]]:
        """The window's last ones; `kept` tells whether Activity lists a refusal."""
        recent = self._feed.recent(self._ask.actor)[-OUTCOMES:]
        return [one | {"kept": is_remembered(one.get("code", ""))} for one in recent]

    @property
    def _is_held(self) -> bool:
        return self._ask.hold and not self._ask.is_past
