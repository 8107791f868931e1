"""`GET /queries/page`: the stream of HTML patches that keeps a window's page current.

The page is a function of the state and of the parameters of the query; the server stores nothing
about a window. A region is sent only when its HTML has changed. A frame is rendered once the
previous one has been sent, from the current state: states in between are skipped.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from time import monotonic
from typing import Any, Final

import msgspec
from datastar_py.sse import ServerSentEventGenerator as Event
from msgspec.structs import replace

from signalbox.server.feed import Feed, Subscription
from signalbox.server.http.window.regions import Regions
from signalbox.server.http.window.window_query import WindowQuery, invalid_field_message
from signalbox.server.http.wire.request import Request
from signalbox.server.model.errors import Invalid, Unavailable, is_remembered
from signalbox.server.read.charts import ChartCache
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.trusted_clock import Clock

FRAME_SECONDS: Final = 1 / 30
TICK_SECONDS: Final = 1.0
"""How often to render although nothing has changed: the page shows how long ago things were."""
HEARTBEAT_SECONDS: Final = 12.0
REST_FACTOR: Final = 3
"""The pause before a region is rendered again, as a multiple of what rendering has taken."""
MIN_INTERVAL_SECONDS: Final = {"nav": 1.0, "ticks": 1.0, "chart": 0.2, "diff": 0.5, "history": 0.1}
"""Regions that are rendered less often, with the seconds in between."""
ALWAYS_CURRENT: Final = {"diff", "foot", "nav", "ticks"}
"""Regions that show the current state also while the page shows an earlier moment."""
MAX_OUTCOMES: Final = 40
"""How many of the window's last outcomes are sent."""


def page(
    request: Request,
    readmodel: ReadModel,
    feed: Feed,
    engine: Callable[[], dict[str, Any]],
    signals: dict[str, Any],
    charts: ChartCache,
    clock: Clock,
) -> Iterator[bytes]:
    """The stream as server-sent events; `charts` is the cache that all windows share.

    Raises `Invalid` at once where `signals` are not a window's.
    """
    try:
        query = msgspec.convert(signals, WindowQuery)
    except msgspec.ValidationError as error:
        raise Invalid(invalid_field_message(signals)) from error
    if request.method == "HEAD":
        return iter(())
    # A request that the browser repeats has the parameters of its first try: they are outdated.
    have = {} if request.headers.get("last-event-id") else dict(query.have)
    request.be_the_last()
    subscription = feed.subscribe()
    request.watch(subscription.close)

    def regions(query: WindowQuery) -> Regions:
        return Regions(query, readmodel, feed, engine, charts)

    patches = PagePatches(query, regions, readmodel, feed, clock, have)
    return _frames(request, patches, subscription)


def _frames(
    request: Request, patches: "PagePatches", subscription: Subscription
) -> Iterator[bytes]:
    """The frames of a page's stream, and heartbeats where nothing changes."""
    sent = 0.0
    try:
        request.end_with_client(0)
        while not subscription.closed:
            started = monotonic()
            frame = patches.frame()
            if not frame and started - sent > HEARTBEAT_SECONDS:
                frame = str(Event.patch_signals({"_online": True}))
            if frame:
                yield frame.encode()
                sent = monotonic()
            del frame  # it may be large, and the next one long in coming
            _wait_for_frame_time(started + FRAME_SECONDS, subscription)
            subscription.wait(patches.seconds_until_due())
            patches.mark_stale()
    finally:
        subscription.close()
        patches.close()


def _wait_for_frame_time(until: float, subscription: Subscription) -> None:
    """Wait for the time of the next frame or the end of the stream; wake-ups are kept."""
    happened = False
    while not subscription.closed and (seconds := until - monotonic()) > 0:
        happened |= subscription.wait(seconds)
    if happened:
        subscription.wake()


class PagePatches:
    """The patches of one stream. `have` has the digest of what the window has, by region."""

    def __init__(
        self,
        query: WindowQuery,
        regions: Callable[[WindowQuery], Regions],
        readmodel: ReadModel,
        feed: Feed,
        clock: Clock,
        have: dict[str, str],
    ) -> None:
        """The patches of the page that asks for `query`; `regions` makes the regions of one."""
        self._readmodel, self._feed, self._sent_digests = readmodel, feed, have
        self._clock = clock
        self._regions_for = regions
        self._sent_signals: dict[str, Any] = {}
        self._select_regions(query.with_shown_revision(readmodel))
        # A held page may ask for another part of itself: it goes on counting new changes.
        was_held = query.hold and 0 <= query.held <= feed.changes and query.pinned >= 0
        self._since = query.held if was_held else feed.changes

    def _select_regions(self, query: WindowQuery) -> None:
        """Render what `query` asks for from now on."""
        self._query = query
        self._regions = self._regions_for(query)
        self._renderers = self._regions.renderers()
        self._due = dict.fromkeys(self._renderers, 0.0)
        self._stale = set(self._renderers)
        self._complete: set[str] = set()
        self._final: set[str] = set()
        """Rendered when all regions were complete: of an earlier moment they never change."""

    def close(self) -> None:
        """End what runs in the background for the regions that are shown."""
        self._regions.close()

    def mark_stale(self) -> None:
        """The state may have changed: render every region again once it is due."""
        self._stale = set(self._renderers)

    def seconds_until_due(self) -> float:
        """Seconds until the next frame even if nothing changes."""
        waits = [self._due[name] - monotonic() for name in self._stale]
        return max(0.0, min(waits, default=TICK_SECONDS))

    def frame(self) -> str:
        """The next patches as server-sent events; empty where the window is up to date."""
        identity = str(self._readmodel.revision)
        signals, events = self._frame_signals(), ""
        ready = self._due_regions()
        for name in ready:
            try:
                html, region_signals = self._render(name)
            except Unavailable:  # the status bar says why
                self._due[name] = monotonic() + TICK_SECONDS
                continue
            signals |= region_signals
            if html and self._remember_digest(name, html):
                events += Event.patch_elements(html, event_id=identity)
        if self._complete >= set(self._renderers):
            self._final |= set(ready)
        if changed_signals := self._changed_signals(signals, bool(events)):
            events += Event.patch_signals(changed_signals, event_id=identity)
        return events

    def _due_regions(self) -> list[str]:
        """The regions to render in this frame; one that shows a past moment is rendered once."""
        if self._query.at is not None:
            self._stale -= self._final - ALWAYS_CURRENT
        now = monotonic()
        return [name for name in self._renderers if name in self._stale and self._due[name] <= now]

    def _render(self, name: str) -> tuple[str, dict[str, Any]]:
        """Render a region of the page; one that took long is rendered again later."""
        started = monotonic()
        now = self._now()
        html, region_signals, is_final = self._renderers[name](
            now if name in ALWAYS_CURRENT else self._regions.now(now)
        )
        ended = monotonic()
        if is_final:
            self._stale.discard(name)
            self._complete.add(name)
            self._due[name] = ended + max(
                REST_FACTOR * (ended - started), MIN_INTERVAL_SECONDS.get(name, 0.0)
            )
        return html, region_signals

    def _remember_digest(self, name: str, html: str) -> bool:
        """Whether a region's HTML differs from what the window has, which is noted."""
        mark = blake2b(html.encode(), digest_size=6).hexdigest()
        if self._sent_digests.get(name) == mark:
            return False
        self._sent_digests[name] = mark
        return True

    def _changed_signals(self, signals: dict[str, Any], has_patches: bool) -> dict[str, Any]:
        """Those signals of a frame that the window does not have yet, which is noted."""
        changed = {
            name: value for name, value in signals.items() if self._sent_signals.get(name) != value
        }
        self._sent_signals |= changed
        return changed | {"_have": self._sent_digests} if has_patches else changed

    def _frame_signals(self) -> dict[str, Any]:
        """The signals of every frame, also of a page that is held; of a store that cannot be read
        those that need none of it.
        """
        outcomes = json.dumps(self._outcomes())
        if self._is_held and self._sent_signals.get("_outcomes", outcomes) != outcomes:
            # A command sent from a held page: show its result.
            revision = self._readmodel.revision
            self.close()
            self._select_regions(replace(self._query, at=revision, pinned=revision))
            self._since = self._feed.changes
        signals = {
            "_online": True,
            "_outcomes": outcomes,
            "_waiting": self._feed.changes - self._since if self._is_held else 0,
            "_held": self._since if self._is_held else -1,
            "_pinned": self._query.at if self._is_held else -1,
            "_skew": 1000 * round(self._clock.seconds_behind()),
        }
        with suppress(Unavailable):  # the status bar says why
            signals["_theme"] = self._regions.setting("_signalbox.theme", "system")
            signals |= self._regions.slider_signals(self._now())
        return signals

    def _now(self) -> int:
        """The time in ms, which the ages that the page shows count to."""
        return int(self._clock() * 1000)

    def _outcomes(self) -> list[dict[str, Any]]:
        """The last outcomes of the window; `kept` is whether Activity lists a rejection."""
        recent = self._feed.recent(self._query.actor)[-MAX_OUTCOMES:]
        return [outcome | {"kept": is_remembered(outcome.get("code", ""))} for outcome in recent]

    @property
    def _is_held(self) -> bool:
        """Whether the page is paused: it stays as it is, but for what is always current."""
        return self._query.hold and not self._query.is_past
