"""`GET /queries/stream`: what is true now, then every change, without gap or duplicate.

One publisher encodes each commit once for each kind of stream, and sends it to every socket without
waiting. A stream whose socket is full leaves the list of live streams and is served from the log,
in a greenlet of its own, until it has caught up: a slow reader costs one buffer (back-pressure).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event

from signalbox.server.feed import Feed
from signalbox.server.http.api import stream_events
from signalbox.server.http.api.parameters import parse_parameters
from signalbox.server.http.wire.connection import send_all, send_now
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.responses import (
    HEADERS,
    StartResponse,
    error_response,
    raw_head,
)
from signalbox.server.model.errors import Invalid, SignalboxError
from signalbox.server.model.events import Transaction
from signalbox.server.model.keys import Pattern, compile_pattern
from signalbox.server.model.numbers import is_whole
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read import row_forms
from signalbox.server.read.read_model import ReadModel

HEARTBEAT_SECONDS: Final = 12.0
TICK_PER_STREAM: Final = 0.00002
"""Seconds in which commits are gathered, for each open stream: many streams get fewer sends."""
MAX_TICK: Final = 0.01
FEW_STREAMS: Final = 16

_HEADERS: Final = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Connection", "close"),
    *HEADERS,
]
_RETRY: Final = b"retry: 1000\n\n"

RECENT_ACKS: Final = 10_000
"""Acknowledgements that are buffered for streams that are catching up."""


class Batch(NamedTuple):
    """The transactions and outcomes of one commit; `last_ack` counts outcomes since the start."""

    transactions: Sequence[Transaction]
    outcomes: Sequence[Outcome]
    last_ack: int


class Stream:
    """One stream: its filter, its position, and what its socket has not accepted yet.

    `position` is the last revision that was sent, `last_ack` the number of the last outcome (None:
    without acknowledgements).
    """

    def __init__(
        self, sock: Any, pattern: Pattern, position: int | None, last_ack: int | None
    ) -> None:
        self.sock = sock
        self.pattern = pattern
        self.position = position
        self.last_ack = last_ack
        self.is_closed = False
        self.unsent: memoryview | None = None
        self.woken = Event()

    def try_send(self, data: bytes) -> bool:
        """Send events to the stream without waiting; False where its socket is full or closed."""
        try:
            taken = send_now(self.sock, data) if data else 0
        except OSError:
            return self.end()
        if taken < len(data):
            self.unsent = memoryview(data)[taken:]
            self.woken.set()
            return False
        return True

    def end(self) -> bool:
        """Mark the stream as closed, and wake its greenlet; False, as of a failed `try_send`."""
        self.is_closed = True
        self.woken.set()
        return False


class Streams:
    """All streams of scripts and clients."""

    def __init__(self, readmodel: ReadModel, feed: Feed) -> None:
        self._readmodel = readmodel
        self._snapshots = readmodel.snapshots
        self._store = readmodel.store
        self._live: set[Stream] = set()
        self._unpublished: list[Batch] = []
        self._recent: deque[Batch] = deque()
        self._last_ack = 0
        self._published = Event()
        self.open = 0
        feed.add_listener(self._on_commit)
        self._greenlets = [gevent.spawn(self._publish), gevent.spawn(self._send_heartbeats)]

    def route(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI route; returns when the stream has ended."""
        try:
            params = parse_parameters(request.query, "/queries/stream")
            pattern = compile_pattern(params.get("match", "**"))
            last = request.headers.get("last-event-id")
            position, reset = self._position(
                last or params.get("after"),
                pattern,
                "header Last-Event-ID" if last else "parameter after",
            )
            last_ack = self._last_ack if params.get("acks") == "1" else None
        except SignalboxError as error:
            return error_response(start_response, error)
        if request.method == "HEAD":
            start_response("200 OK", _HEADERS)
            return []
        sock = request.take_over()
        stream = Stream(sock, pattern, position, last_ack)
        self.open += 1
        try:
            request.watch(stream.end)
            send_all(sock, raw_head(200, _HEADERS) + _RETRY + reset)
            self._serve(stream)
        except OSError:
            pass  # the client has disconnected, which ends the stream
        finally:
            self.open -= 1
            self._live.discard(stream)
        return []

    def count_open(self, frames: Iterator[bytes]) -> Iterator[bytes]:
        """`frames`, counted as an open stream until they end."""
        self.open += 1
        try:
            yield from frames
        finally:
            self.open -= 1

    def close(self) -> None:
        """End every stream; readers come back to the next server."""
        for greenlet in self._greenlets:
            greenlet.kill()
        for stream in list(self._live):
            stream.end()

    def _position(self, text: str | None, pattern: Pattern, name: str) -> tuple[int | None, bytes]:
        """The position to resume at, and the `reset` event where that is not possible."""
        if text is None:
            return None, b""
        store, _, revision = text.rpartition(":")
        if not is_whole(revision) or len(revision) > 18:
            raise Invalid(
                f"The {name} is {text[:80]!r}; allowed are <revision> and <store>:<revision>.",
                field="after",
            )
        if store not in ("", self._store) or int(revision) > self._readmodel.revision:
            oldest = max(self._complete_since(pattern), min(1, self._readmodel.revision))
            return None, stream_events.reset("other_store", oldest)
        if int(revision) < (oldest := self._complete_since(pattern)):
            return None, stream_events.reset("compacted", oldest)
        return int(revision), b""

    def _complete_since(self, pattern: Pattern) -> int:
        """The revision after which retention has removed no change of a matching key."""
        horizons = self._readmodel.log.horizons()
        return horizons.complete_since(pattern.low, pattern.high).revision

    def _serve(self, stream: Stream) -> None:
        """Send a stream what it lacks whenever it lags behind; others send to it meanwhile."""
        self._catch_up(stream)
        greeting = stream_events.caught_up(self._store, stream.position or 0)
        while not stream.is_closed:
            # No greenlet runs between the last query of the log and this, so no commit is missed.
            self._live.add(stream)
            if not stream.try_send(greeting + self._missed_acks(stream)):
                self._live.discard(stream)
            greeting = b""
            stream.woken.wait()
            self._live.discard(stream)
            stream.woken.clear()
            if stream.unsent is not None and not stream.is_closed:
                send_all(stream.sock, stream.unsent)
                stream.unsent = None
            self._catch_up(stream)

    def _missed_acks(self, stream: Stream) -> bytes:
        """The acknowledgements since the stream was live, as far back as they are buffered."""
        if stream.last_ack is None or stream.last_ack == self._last_ack:
            return b""
        late = b"".join(_acks(batch, stream.last_ack) for batch in self._recent)
        stream.last_ack = self._last_ack
        return late

    def _catch_up(self, stream: Stream) -> None:
        """Send the changes since the stream's position from the log, or a snapshot first."""
        if stream.position is None:
            stream.position = self._send_snapshot(stream)
        while stream.position < self._readmodel.revision and not stream.is_closed:
            events, reached = self._readmodel.log_pages.changes(
                stream.position, self._readmodel.revision, stream.pattern.text
            )
            if stream.position < (oldest := self._complete_since(stream.pattern)):
                # Compared after reading: what was read before that was still complete.
                send_all(stream.sock, stream_events.reset("compacted", oldest))
                stream.position = self._send_snapshot(stream)
                continue
            send_all(stream.sock, events)
            stream.position = reached

    def _send_snapshot(self, stream: Stream) -> int:
        """Send the stream all items that match; their revision."""
        match = stream.pattern.text
        revision = self._snapshots.revision_to_read(match, lambda: self._readmodel.revision)
        is_empty = True
        for page in self._snapshots.pages(revision, match, row_forms.SNAPSHOT_EVENT):
            send_all(stream.sock, page)
            is_empty = False
            if stream.is_closed:
                break
        if is_empty:
            send_all(stream.sock, stream_events.empty_snapshot(revision))
        return revision

    def _on_commit(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        """Keep what a commit has brought, for all streams."""
        self._last_ack += len(outcomes)
        batch = Batch(transactions, outcomes, self._last_ack)
        self._recent.append(Batch((), outcomes, self._last_ack))
        while self._recent[0].last_ack <= self._last_ack - RECENT_ACKS:
            self._recent.popleft()
        if self._live:
            self._unpublished.append(batch)
            self._published.set()

    def _publish(self) -> None:
        """Send what commits have brought to all streams; with many of them less often."""
        while True:
            self._published.wait()
            if len(self._live) > FEW_STREAMS:
                gevent.sleep(min(len(self._live) * TICK_PER_STREAM, MAX_TICK))
            self._published.clear()
            batches, self._unpublished = self._unpublished, []
            if batches:
                self._send_to_live_streams(batches)

    def _send_to_live_streams(self, batches: list[Batch]) -> None:
        """Send each live stream the batches; streams at the same position share the bytes."""
        encoded: dict[tuple[str, int | None, int | None], bytes] = {}
        last = max(
            (transaction.revision for batch in batches for transaction in batch.transactions),
            default=0,
        )
        for stream in list(self._live):
            step = (stream.pattern.text, stream.position, stream.last_ack)
            if step not in encoded:
                encoded[step] = self._encode(batches, stream)
            stream.position = max(stream.position or 0, last)
            if stream.last_ack is not None:
                stream.last_ack = max(stream.last_ack, batches[-1].last_ack)
            if not stream.try_send(encoded[step]):
                self._live.discard(stream)

    def _encode(self, batches: list[Batch], stream: Stream) -> bytes:
        """The events of these commits that a stream has not got yet."""
        parts: list[bytes] = []
        for batch in batches:
            parts += [
                stream_events.change(transaction, stream.pattern, self._store)
                for transaction in batch.transactions
                if transaction.revision > (stream.position or 0)
            ]
            if stream.last_ack is not None:
                parts.append(_acks(batch, stream.last_ack))
        return b"".join(parts)

    def _send_heartbeats(self) -> None:
        """Send every stream that is up to date a heartbeat now and then."""
        while True:
            gevent.sleep(HEARTBEAT_SECONDS)
            for stream in list(self._live):
                if not stream.try_send(stream_events.heartbeat(self._store, stream.position or 0)):
                    self._live.discard(stream)


def _acks(batch: Batch, after: int) -> bytes:
    """The acknowledgements in `batch` whose number is above `after`."""
    first = batch.last_ack - len(batch.outcomes)
    return b"".join(
        stream_events.ack(outcome.event()) for outcome in batch.outcomes[max(after - first, 0) :]
    )
