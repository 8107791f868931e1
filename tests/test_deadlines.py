"""Slow clients are cut off by deadlines, each step having one; fast ones are not.

The server of `server.http.wire.http_server` runs in this process, with deadlines short enough to
wait for.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket

from signalbox.server import settings
from signalbox.server.http.wire import connection, http_server

SHORT = 0.4
GRACE = 3.0
"""Seconds after a deadline by which the connection must be gone."""


def echo_length(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers how long the body was."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]


def endless(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """An answer that never ends, for a client that does not read it."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"x" * 65_536


Connect = Callable[[], Any]


@contextmanager
def served(application: Any) -> Iterator[tuple[http_server.Server, Connect]]:
    """A server, and a way to connect to it; all is closed at the end."""
    server = http_server.Server(0, application, 100)
    server.start()
    with ExitStack() as opened:

        def connect() -> Any:
            plain = socket.create_connection(("127.0.0.1", server.server_port))
            plain.settimeout(SHORT + GRACE)
            return opened.enter_context(plain)

        yield server, connect
    server.stop(0)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    for module, name in (
        (http_server, "IDLE_SECONDS"),
        (http_server, "HEAD_SECONDS"),
        (settings, "BODY_SECONDS"),
    ):
        monkeypatch.setattr(module, name, SHORT)
    with served(echo_length) as (_, connecting):
        yield connecting


def ended(plain: Any) -> bytes:
    """What the server says until it closes, which it must do soon."""
    said, end = b"", monotonic() + SHORT + GRACE
    while monotonic() < end:
        try:
            part = plain.recv(65_536)
        except ConnectionError:
            return said
        if not part:
            return said
        said += part
    raise AssertionError("the connection is still open")


STOPS = [
    b"",
    b"POST / HT",
    b"POST / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n12",
]


def test_clients_that_stop_in_the_middle_are_cut_off(connect: Connect) -> None:
    stopped = [(begin, connect()) for begin in STOPS]
    for begin, plain in stopped:
        plain.sendall(begin)
    for _, plain in stopped:
        assert b" 200 " not in ended(plain)


def test_a_client_that_sends_a_letter_now_and_then_is_cut_off(connect: Connect) -> None:
    """Slow loris: each letter would renew a time-out that counts from the last one."""
    plain = connect()

    def trickle() -> None:
        for letter in b"POST / HTTP/1.1\r\nX: " + b"a" * 1_000:
            plain.sendall(bytes([letter]))
            gevent.sleep(0.05)

    slow = gevent.spawn(trickle)
    assert ended(plain) == b""
    slow.kill()


def test_a_connection_that_asks_nothing_more_is_closed(connect: Connect) -> None:
    plain = connect()
    plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in ended(plain)


def test_a_client_that_keeps_asking_is_kept(connect: Connect) -> None:
    plain, end = connect(), monotonic() + 4 * SHORT
    while monotonic() < end:
        plain.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert plain.recv(65_536).endswith(b"3")
        gevent.sleep(SHORT / 4)


def test_who_does_not_read_the_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", SHORT)
    with served(endless) as (server, connecting):
        plain = connecting()
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert plain.recv(100)
        end = monotonic() + SHORT + GRACE
        while server.connections and monotonic() < end:
            gevent.sleep(0.05)
        assert not server.connections


def test_who_reads_slowly_but_steadily_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", SHORT)
    size = 64 * 1024 * 1024

    def large(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    with served(large) as (_, connecting):
        plain, started, read = connecting(), monotonic(), 0
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while read < size:
            part = plain.recv(size)
            assert part, f"cut off after {read} bytes"
            read += len(part)
            if monotonic() - started < 2 * SHORT:
                gevent.sleep(SHORT / 4)
