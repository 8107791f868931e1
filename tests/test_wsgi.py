"""Answers by WSGI: what a stream has sent is not kept while it waits for more."""

from collections.abc import Iterator
from typing import Any

from gevent import socket

from signalbox.server.http.wire.http_server import Server
from signalbox.server.http.wire.responses import StartResponse

PARTS = 3


class Part(bytes):
    """One part of a response; `freed` has the parts that nobody keeps any more."""

    freed: list[bytes]

    def __del__(self) -> None:
        self.freed.append(bytes(self))


def test_a_part_that_was_sent_is_freed_before_the_next_is_made() -> None:
    Part.freed = []
    kept: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(PARTS):
            kept.append(number - len(Part.freed))
            yield Part(b"part %d" % number)

    def application(_: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        return parts()

    server = Server(0, application, max_connections=1)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = client.makefile("rb").read()
    finally:
        server.stop()
    assert answer.endswith(b"part 2\r\n0\r\n\r\n")
    assert kept == [0] * PARTS
