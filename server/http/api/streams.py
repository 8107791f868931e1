"""`GET /queries/stream`: what is true now, then every change, without gap or duplicate.

One publisher encodes what was committed once for each kind of stream and hands it to every socket
without waiting. A stream whose socket is full leaves the publisher's list and is served from the
log, in a greenlet of its own, until it has caught up: a slow reader costs one piece of bytes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event

from signalbox.server.feed import Feed
from signalbox.server.http.api import stream_events
from signalbox.server.http.api.parameters import parameters
from signalbox.server.http.wire.connection import on_disconnect, send_all, send_now
from signalbox.server.http.wire.responses import (
    HEADERS,
    StartResponse,
    raw_head,
    refuse,
)
from signalbox.server.model import horizons
from signalbox.server.model.errors import Invalid, SignalboxError
from signalbox.server.model.events import Transaction
from signalbox.server.model.keys import Pattern, compile_pattern
from signalbox.server.model.numbers import is_whole
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read.read_model import ReadModel

HEARTBEAT_SECONDS: Final = 12.0
LOG_TRANSACTIONS: Final = 200
TICK_PER_STREAM: Final = 0.00002
"""Seconds to gather commits in, for each open stream: many streams get fewer, larger pieces."""
MAX_TICK: Final = 0.01
FEW: Final = 16

_HEADERS: Final = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Connection", "close"),
    *HEADERS,
]
_RETRY: Final = b"retry: 1000\n\n"

RECENT_ACKS: Final = 10_000
"""Acknowledgements kept for streams that are just catching up."""


class Batch(NamedTuple):
    """What one commit made; `acked` counts all outcomes of this server up to and with its own."""

    transactions: Sequence[Transaction]
    outcomes: Sequence[Outcome]
    acked: int


class Stream:
    """One reader: what it wants, how far it has come, and what its socket did not take.

    `position` is the last revision that was sent, `acked` the number of the last outcome (None:
    the reader wants no acknowledgements).
    """

    def __init__(
        self, sock: Any, pattern: Pattern, position: int | None, acked: int | None
    ) -> None:
        self.sock = sock
        self.pattern = pattern
        self.position = position
        self.acked = acked
        self.gone = False
        self.rest: memoryview | None = None
        self.woken = Event()

    def push(self, data: bytes) -> bool:
        """Hand over `data` without waiting; False where the socket is full or closed."""
        try:
            taken = send_now(self.sock, data) if data else 0
        except OSError:
            return self.end()
        if taken < len(data):
            self.rest = memoryview(data)[taken:]
            self.woken.set()
            return False
        return True

    def end(self) -> bool:
        self.gone = True
        self.woken.set()
        return False


class Streams:
    """All script streams of the server."""

    def __init__(self, readmodel: ReadModel, feed: Feed) -> None:
        self._readmodel = readmodel
        self._store = readmodel.store
        self._live: set[Stream] = set()
        self._waiting: list[Batch] = []
        self._recent: deque[Batch] = deque()
        self._acked = 0
        self._published = Event()
        self.open = 0
        feed.add_listener(self._take)
        self._greenlets = [gevent.spawn(self._publish), gevent.spawn(self._beat)]

    def route(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI route; returns when the stream has ended."""
        try:
            given = parameters(environ, "/queries/stream")
            pattern = compile_pattern(given.get("match", "**"))
            last = environ.get("HTTP_LAST_EVENT_ID")
            position, reset = self._position(
                last or given.get("after"),
                pattern,
                "header Last-Event-ID" if last else "parameter after",
            )
            acked = self._acked if given.get("acks") == "1" else None
        except SignalboxError as error:
            return refuse(start_response, error)
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response("200 OK", _HEADERS)
            return []
        sock = environ["signalbox.handler"].detach_socket()
        stream = Stream(sock, pattern, position, acked)
        self.open += 1
        try:
            with on_disconnect(sock, stream.end):
                send_all(sock, raw_head(200, _HEADERS) + _RETRY + reset)
                self._serve(stream)
        except OSError:
            pass  # the reader has gone; that is how a stream ends
        finally:
            self.open -= 1
            self._live.discard(stream)
        return []

    def counted(self, frames: Iterator[bytes]) -> Iterator[bytes]:
        """`frames`, counted as an open stream while they last."""
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
        """Where to go on, and the `reset` event where that is not possible."""
        if text is None:
            return None, b""
        store, _, revision = text.rpartition(":")
        if not is_whole(revision) or len(revision) > 18:
            raise Invalid(
                f"The {name} is {text[:80]!r}; allowed are <revision> and <store>:<revision>.",
                field="after",
            )
        if store not in ("", self._store) or int(revision) > self._readmodel.revision:
            oldest = max(self._whole_since(pattern), min(1, self._readmodel.revision))
            return None, stream_events.reset("other_store", oldest)
        if int(revision) < (oldest := self._whole_since(pattern)):
            return None, stream_events.reset("compacted", oldest)
        return int(revision), b""

    def _whole_since(self, pattern: Pattern) -> int:
        """The revision behind which no change of a matching key has been removed."""
        kept = self._readmodel.log.horizons()
        return horizons.complete_since(kept, pattern.low, pattern.high).revision

    def _serve(self, stream: Stream) -> None:
        self._catch_up(stream)
        greeting = stream_events.caught_up(self._store, stream.position or 0)
        while not stream.gone:
            # Nothing waits between the last look at the log and this, so nothing is missed.
            self._live.add(stream)
            if not stream.push(greeting + self._late_acks(stream)):
                self._live.discard(stream)
            greeting = b""
            stream.woken.wait()
            self._live.discard(stream)
            stream.woken.clear()
            if stream.rest is not None and not stream.gone:
                send_all(stream.sock, stream.rest)
                stream.rest = None
            self._catch_up(stream)

    def _late_acks(self, stream: Stream) -> bytes:
        """The acknowledgements since the stream was live last, as far back as they are kept."""
        if stream.acked is None or stream.acked == self._acked:
            return b""
        late = b"".join(_acks(batch, stream.acked) for batch in self._recent)
        stream.acked = self._acked
        return late

    def _catch_up(self, stream: Stream) -> None:
        if stream.position is None:
            stream.position = self._send_snapshot(stream)
        while stream.position < self._readmodel.revision and not stream.gone:
            transactions = self._readmodel.log.transactions(stream.position, LOG_TRANSACTIONS)
            if stream.position < (oldest := self._whole_since(stream.pattern)):
                # Asked after reading: what was read before that was still whole.
                send_all(stream.sock, stream_events.reset("compacted", oldest))
                stream.position = self._send_snapshot(stream)
                continue
            data = b"".join(
                stream_events.change(one, stream.pattern, self._store) for one in transactions
            )
            if data:
                send_all(stream.sock, data)
            stream.position = transactions[-1].revision

    def _send_snapshot(self, stream: Stream) -> int:
        revision, pages = self._readmodel.current.pages(stream.pattern.text)
        is_empty = True
        for items in pages:
            send_all(stream.sock, stream_events.snapshot(revision, items))
            is_empty = False
            if stream.gone:
                break
        if is_empty:
            send_all(stream.sock, stream_events.snapshot(revision, []))
        return revision

    def _take(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        self._acked += len(outcomes)
        batch = Batch(transactions, outcomes, self._acked)
        self._recent.append(batch._replace(transactions=()))
        while self._recent[0].acked <= self._acked - RECENT_ACKS:
            self._recent.popleft()
        if self._live:
            self._waiting.append(batch)
            self._published.set()

    def _publish(self) -> None:
        while True:
            self._published.wait()
            if len(self._live) > FEW:
                gevent.sleep(min(len(self._live) * TICK_PER_STREAM, MAX_TICK))
            self._published.clear()
            batches, self._waiting = self._waiting, []
            if batches:
                self._hand_out(batches)

    def _hand_out(self, batches: list[Batch]) -> None:
        """Send each stream what it lacks; those in step with each other share the same bytes."""
        encoded: dict[tuple[str, int | None, int | None], bytes] = {}
        last = max((one.revision for batch in batches for one in batch.transactions), default=0)
        for stream in list(self._live):
            step = (stream.pattern.text, stream.position, stream.acked)
            if step not in encoded:
                encoded[step] = self._encode(batches, stream)
            stream.position = max(stream.position or 0, last)
            if stream.acked is not None:
                stream.acked = max(stream.acked, batches[-1].acked)
            if not stream.push(encoded[step]):
                self._live.discard(stream)

    def _encode(self, batches: list[Batch], stream: Stream) -> bytes:
        parts: list[bytes] = []
        for batch in batches:
            parts += [
                stream_events.change(one, stream.pattern, self._store)
                for one in batch.transactions
                if one.revision > (stream.position or 0)
            ]
            if stream.acked is not None:
                parts.append(_acks(batch, stream.acked))
        return b"".join(parts)

    def _beat(self) -> None:
        while True:
            gevent.sleep(HEARTBEAT_SECONDS)
            for stream in list(self._live):
                if not stream.push(stream_events.heartbeat(self._store, stream.position or 0)):
                    self._live.discard(stream)


def _acks(batch: Batch, after: int) -> bytes:
    """The acknowledgements in `batch` whose number is above `after`."""
    first = batch.acked - len(batch.outcomes)
    return b"".join(
        stream_events.ack(one.event()) for one in batch.outcomes[max(after - first, 0) :]
    )
