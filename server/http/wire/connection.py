"""Sockets of clients: detects that one has disconnected, and sends with a time limit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.socket import wait_write

from signalbox.server.http.wire.request import Request

SEND_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 1.0


@contextmanager
def on_disconnect(sock: Any, call: Callable[[], object]) -> Iterator[None]:
    """Call `call` once the client has disconnected; for routes that read nothing more."""
    watcher = gevent.get_hub().loop.io(sock.fileno(), 1)

    def readable() -> None:
        try:
            ended = not sock._sock.recv(4096)  # noqa: SLF001 - gevent's own would wait
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            ended = True
        if ended:
            watcher.stop()
            call()

    watcher.start(readable)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()


def watch_disconnect(request: Request) -> Event:
    """An event that is set once the client of this request has disconnected."""
    gone = Event()
    gevent.spawn(_watch, request, gone)
    return gone


def _watch(request: Request, gone: Event) -> None:
    """Watch the connection until the response has ended."""
    with on_disconnect(request.sock, gone.set):
        while not request.is_answered and not gone.is_set():
            gone.wait(WATCH_SECONDS)


def send_all(sock: Any, data: bytes | memoryview) -> None:
    """Send everything; raises `TimeoutError` where the client reads nothing for `SEND_SECONDS`.

    gevent's `sendall` has one time limit for all of it, which a slow reader would exceed.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[send_now(sock, rest) :]
        if rest:
            wait_write(sock.fileno(), SEND_SECONDS, TimeoutError("The reader takes nothing."))


def send_now(sock: Any, data: bytes | memoryview) -> int:
    """How many bytes the connection took at once, without waiting; 0 where it is full."""
    try:
        return int(sock._sock.send(data))  # noqa: SLF001 - gevent's own would wait
    except (BlockingIOError, InterruptedError):
        return 0
