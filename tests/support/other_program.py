"""Another program on a port of this computer: serves any page and records every request."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class OtherProgram(ThreadingHTTPServer):
    """`seen` has every request as it came, head and body; `page` is what all of them get."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen: list[str] = []
        self.heard = threading.Condition()
        self.connections: set[socket.socket] = set()
        self.page = "<!doctype html><title>Neighbour</title>"
        self.answer_with: Callable[[str], str] = lambda _: self.page
        self.headers: list[tuple[str, str]] = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_port}"

    def await_requests(self, count: int, seconds: float = 20.0) -> list[str]:
        """The first lines of all requests, once so many have come."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.seen) >= count, seconds), self.seen
        return [one.splitlines()[0] for one in self.seen]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away meanwhile is none."""


class _Handler(BaseHTTPRequestHandler):
    server: OtherProgram
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.heard:
            self.server.seen.append(f"{self.requestline}\n{self.headers}\n{body.decode()}")
            self.server.heard.notify_all()
        self.send_response(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        text = b"" if self.command == "HEAD" else self.server.answer_with(self.path).encode()
        kind = "javascript" if self.path.endswith(".js") else "html"
        self.send_header("Content-Type", f"text/{kind}")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_HEAD = do_OPTIONS = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def other_program(port: int = 0) -> Iterator[OtherProgram]:
    """Run one, on any free port unless one is given."""
    server = OtherProgram(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class SlowAnswer(NamedTuple):
    """Sends `first` on every connection, then `again` repeatedly, `pause` seconds apart."""

    first: bytes
    again: bytes
    pause: float


@contextmanager
def slow_program(port: int, how: SlowAnswer, seconds: float = 10.0) -> Iterator[threading.Event]:
    """Run a program whose answers do not end; the event is set when it gave up after `seconds`."""
    over, gave_up = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket) -> None:
        end = time.monotonic() + seconds
        with connection, suppress(OSError):
            connection.sendall(how.first)
            while not over.wait(how.pause):
                connection.sendall(how.again)
                if time.monotonic() > end:
                    gave_up.set()
                    return

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while not over.is_set():
                threads.append(threading.Thread(target=answer, args=listener.accept()[:1]))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield gave_up
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()
