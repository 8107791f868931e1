"""A network for tests that can fail: a TCP proxy on loopback that cuts, holds up and delays."""

import selectors
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Final, Literal, Self

To = Literal["client", "server"]

SECONDS: Final = 10.0
CHUNK: Final = 64 * 1024
FULL_SECONDS: Final = 0.005
"""After which a receiver that took no more is tried again."""
RESET: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends a reset at once."""


class _Pipe:
    """One direction of one connection: bytes that were received and not sent on yet."""

    def __init__(self, source: socket.socket, sink: socket.socket, to: To) -> None:
        self.source, self.sink, self.to = source, sink, to
        self.waiting: deque[tuple[float, bytes]] = deque()
        """When it is due, and bytes."""
        self.is_ended = False
        self.is_shut = False
        self._busy_until = 0.0

    def take(self, due: float, pace: float) -> None:
        """Raises `OSError` where the connection was reset."""
        try:
            data = self.source.recv(CHUNK)
        except ssl.SSLWantReadError:
            return
        if not data:
            self.is_ended = True
        elif not self.is_shut:
            self._busy_until = max(due, self._busy_until) + len(data) / pace
            self.waiting.append((self._busy_until, data))
        if data and isinstance(self.source, ssl.SSLSocket) and self.source.pending():
            self.take(due, pace)  # a selector does not report what is decrypted already

    def give(self, now: float) -> None:
        """Send on what is due, as far as the sink takes it."""
        while self.waiting and self.waiting[0][0] <= now and not self.is_shut:
            due, data = self.waiting.popleft()
            try:
                sent = self.sink.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                sent = 0
            if sent < len(data):
                self.waiting.appendleft((due if sent else now + FULL_SECONDS, data[sent:]))
        if self.is_ended and not self.waiting:
            self.shut()

    def shut(self) -> None:
        """Tell the sink that nothing more comes; what comes nevertheless is swallowed."""
        if not self.is_shut:
            self.is_shut = True
            self.waiting.clear()
            self.sink.shutdown(socket.SHUT_WR)


class Proxy:
    """Clients connect to `port`; all is passed to and from `target_port`, unless set otherwise.

    `held` is set as soon as something is held up. With `tls`, clients talk TLS and the target does
    not. All calls return when they have taken effect.
    """

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None) -> None:
        self._target = target_port
        self._tls = tls
        self._pipes: list[tuple[_Pipe, _Pipe]] = []
        self._holding: set[To] = set()
        self._delay = 0.0
        self._pace = inf
        self._orders: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._is_open = True
        self.held = Event()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, name=f"proxy {self.port}")
        self._thread.start()

    def cut(self) -> None:
        """Reset all connections, with what is held up, and refuse new ones."""
        self._do(self._cut)

    def mend(self) -> None:
        """Take connections again, on the same port; nothing is held up or delayed."""
        self._do(self._mend)

    def hold(self, to: To = "client") -> None:
        """Take, but keep what goes to that side, of all connections."""
        self._do(lambda: self._holding.add(to))

    def release(self) -> None:
        """Send on what was held back."""
        self._do(self._holding.clear)
        self.held.clear()

    def delay(self, seconds: float) -> None:
        """Let everything that comes from now on arrive later."""

        def order() -> None:
            self._delay = seconds

        self._do(order)

    def slow_down(self, bytes_a_second: float) -> None:
        """Let so much go on in each direction of a connection."""

        def order() -> None:
            self._pace = bytes_a_second

        self._do(order)

    def half_close(self, to: To = "client") -> None:
        """Say to that side that nothing more comes; what it sends still arrives."""

        def order() -> None:
            for pipe in self._each():
                if pipe.to == to:
                    pipe.shut()

        self._do(order)

    def close(self) -> None:
        if self._thread.is_alive():
            self._do(self._close)
            self._thread.join(SECONDS)
        self._selector.close()
        self._bell.close()
        self._ear.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # In the caller's thread.

    def _do(self, order: Callable[[], object]) -> None:
        done: Future[None] = Future()
        self._orders.put((lambda: (order(), None)[1], done))
        self._bell.send(b"!")
        done.result(SECONDS)

    # In the proxy's thread.

    def _run(self) -> None:
        while self._is_open:
            for key, _ in self._selector.select(self._pause()):
                if key.fileobj is self._ear:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._each():
                    self._take(key.data)
            for pipe in self._each():
                self._give(pipe)

    def _each(self) -> list[_Pipe]:
        return [pipe for pair in self._pipes for pipe in pair]

    def _pause(self) -> float | None:
        due = [
            pipe.waiting[0][0]
            for pipe in self._each()
            if pipe.waiting and pipe.to not in self._holding
        ]
        return max(min(due) - monotonic(), 0) if due else None

    def _obey(self) -> None:
        self._ear.recv(1)
        order, done = self._orders.get()
        try:
            order()
        except Exception as error:  # noqa: BLE001 - raised where the behaviour was set
            done.set_exception(error)
        else:
            done.set_result(None)

    def _accept(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        try:
            if self._tls is not None:
                client.settimeout(SECONDS)
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self._target), SECONDS)
        except OSError:
            _reset(client)
            return
        pair = _Pipe(client, server, "server"), _Pipe(server, client, "client")
        for pipe in pair:
            pipe.source.setblocking(False)
            pipe.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(pipe.source, selectors.EVENT_READ, pipe)
        self._pipes.append(pair)

    def _take(self, pipe: _Pipe) -> None:
        try:
            pipe.take(monotonic() + self._delay, self._pace)
        except OSError:
            self._drop(pipe)
            return
        if pipe.is_ended:
            self._selector.unregister(pipe.source)
        elif pipe.to in self._holding:
            self.held.set()

    def _give(self, pipe: _Pipe) -> None:
        if pipe.to in self._holding:
            return
        try:
            pipe.give(monotonic())
        except OSError:
            self._drop(pipe)
        if pipe.is_shut and all(each.is_ended and each.is_shut for each in self._pair_of(pipe)):
            self._drop(pipe)

    def _pair_of(self, pipe: _Pipe) -> tuple[_Pipe, ...]:
        return next((pair for pair in self._pipes if pipe in pair), ())

    def _drop(self, pipe: _Pipe) -> None:
        pair = self._pair_of(pipe)
        self._pipes = [each for each in self._pipes if each is not pair]
        for each in pair:
            if not each.is_ended:
                self._selector.unregister(each.source)
            _reset(each.source)

    def _cut(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for first, _ in list(self._pipes):
            self._drop(first)

    def _mend(self) -> None:
        self._holding.clear()
        self.held.clear()
        self._delay = 0.0
        self._pace = inf
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _close(self) -> None:
        self._cut()
        self._is_open = False


def _reset(sock: socket.socket) -> None:
    if sock.fileno() >= 0:  # a failed TLS handshake has closed it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
