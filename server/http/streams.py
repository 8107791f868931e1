"""`GET /queries/stream`: what is true now, then every change, without gap or duplicate.

One publisher encodes what was committed once for each kind of stream and hands it to every socket
without waiting. A stream whose socket is full leaves the publisher's list and is served from the
log, in a greenlet of its own, until it has caught up: a slow reader costs one piece of bytes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import gevent
from gevent.event import Event

from server.errors import Invalid, SignalboxError
from server.events import Transaction
from server.feed import Feed
from server.http import events
from server.http.answers import HEADERS, StartResponse, refuse
from server.http.connection import on_end_of_file, send_now
from server.http.parameters import parameters
from server.keys import Pattern, compile_pattern
from server.outcomes import Outcome
from server.readmodel import ReadModel

HEARTBEAT_SECONDS: Final = 12.0
SNAPSHOT_ITEMS: Final = 500
LOG_TRANSACTIONS: Final = 200
TICK_PER_STREAM: Final = 0.00002
"""Seconds to gather commits in, for each open stream: many streams get fewer, larger pieces."""
MAX_TICK: Final = 0.01
FEW: Final = 16

_HEAD: Final = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    + "\r\n"
).encode() + b"retry: 1000\n\n"

Batch = tuple[Sequence[Transaction], Sequence[Outcome]]


class Stream:
    """One reader: what it wants, how far it has come, and what its socket did not take."""

    def __init__(self, sock: Any, pattern: Pattern, acks: bool, position: int | None) -> None:
        self.sock = sock
        self.pattern = pattern
        self.acks = acks
        self.position = position
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
        self._waiting: deque[Batch] = deque()
        self._published = Event()
        self.open = 0
        feed.listen(self._take)
        self._greenlets = [gevent.spawn(self._publish), gevent.spawn(self._beat)]

    def route(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI route; returns when the stream has ended."""
        try:
            given = parameters(environ, "/queries/stream")
            pattern = compile_pattern(given.get("match", "**"))
            position, reset = self._position(
                environ.get("HTTP_LAST_EVENT_ID") or given.get("after")
            )
            acks = given.get("acks") == "1"
        except SignalboxError as error:
            return refuse(start_response, error)
        sock = environ["signalbox.handler"].take_over()
        stream = Stream(sock, pattern, acks, position)
        self.open += 1
        try:
            with on_end_of_file(sock, stream.end):
                sock.sendall(_HEAD + reset)
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

    def _position(self, text: str | None) -> tuple[int | None, bytes]:
        """Where to go on, and the `reset` event where that is not possible."""
        if text is None:
            return None, b""
        store, _, revision = text.rpartition(":")
        if not (revision.isascii() and revision.isdigit()) or len(revision) > 18:
            raise Invalid(
                f"The position is {text[:80]!r}; allowed are <revision> and <store>:<revision>."
            )
        if store not in ("", self._store) or int(revision) > self._readmodel.revision:
            return None, events.reset("other_store", min(1, self._readmodel.revision))
        return int(revision), b""

    def _serve(self, stream: Stream) -> None:
        first = True
        while not stream.gone:
            self._catch_up(stream)
            if first:
                stream.sock.sendall(events.caught_up(self._store, stream.position or 0))
                first = False
                continue  # something may have been committed while that was sent
            self._live.add(stream)
            stream.woken.wait()
            self._live.discard(stream)
            stream.woken.clear()
            if stream.rest is not None and not stream.gone:
                stream.sock.sendall(stream.rest)
                stream.rest = None

    def _catch_up(self, stream: Stream) -> None:
        if stream.position is None:
            stream.position = self._send_snapshot(stream)
        while stream.position < self._readmodel.revision and not stream.gone:
            transactions = self._readmodel.transactions(stream.position, LOG_TRANSACTIONS)
            data = b"".join(events.change(one, stream.pattern, self._store) for one in transactions)
            if data:
                stream.sock.sendall(data)
            stream.position = transactions[-1].revision

    def _send_snapshot(self, stream: Stream) -> int:
        revision, after = self._readmodel.revision, ""
        while not stream.gone:
            items = self._readmodel.snapshot_page(
                revision, stream.pattern.text, after, SNAPSHOT_ITEMS
            )
            stream.sock.sendall(events.snapshot(revision, items))
            if len(items) < SNAPSHOT_ITEMS:
                break
            after = items[-1].key
        return revision

    def _take(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        if self._live:
            self._waiting.append((transactions, outcomes))
            self._published.set()

    def _publish(self) -> None:
        while True:
            self._published.wait()
            if len(self._live) > FEW:
                gevent.sleep(min(len(self._live) * TICK_PER_STREAM, MAX_TICK))
            self._published.clear()
            batches = list(self._waiting)
            self._waiting.clear()
            self._hand_out(batches)

    def _hand_out(self, batches: list[Batch]) -> None:
        revisions = [one.revision for transactions, _ in batches for one in transactions]
        kinds: dict[tuple[str, bool], bytes] = {}
        for stream in list(self._live):
            if revisions and stream.position != revisions[0] - 1:
                self._hand_out_late(stream, revisions)
                continue
            kind = (stream.pattern.text, stream.acks)
            if kind not in kinds:
                kinds[kind] = self._encode(batches, stream.pattern, stream.acks)
            if revisions:
                stream.position = revisions[-1]
            if not stream.push(kinds[kind]):
                self._live.discard(stream)

    def _hand_out_late(self, stream: Stream, revisions: list[int]) -> None:
        """A stream that joined between two commits: the log knows what it lacks, if anything."""
        if stream.position is not None and stream.position < revisions[-1]:
            self._live.discard(stream)
            stream.woken.set()

    def _encode(self, batches: list[Batch], pattern: Pattern, acks: bool) -> bytes:
        parts: list[bytes] = []
        for transactions, outcomes in batches:
            parts += [events.change(one, pattern, self._store) for one in transactions]
            if acks:
                parts += [events.ack(outcome.event()) for outcome in outcomes]
        return b"".join(parts)

    def _beat(self) -> None:
        while True:
            gevent.sleep(HEARTBEAT_SECONDS)
            for stream in list(self._live):
                if not stream.push(events.heartbeat(self._store, stream.position or 0)):
                    self._live.discard(stream)
