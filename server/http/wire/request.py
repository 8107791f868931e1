"""One request, as the routes that answer it see it."""

import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

from signalbox.server import settings
from signalbox.server.http.wire.body_framing import BLOCK, ChunkedBody, SizedBody, Source
from signalbox.server.http.wire.request_head import Head, without_empty_lines
from signalbox.server.model.errors import Malformed

ENDED_SECONDS: Final = 0.25


class Connection(Source, Protocol):
    """What a request needs of its connection."""

    sock: socket.socket
    deadline: float | None
    is_closing: bool

    @property
    def is_server_stopping(self) -> bool: ...

    def send(self, data: bytes) -> None: ...

    def watch(self, on_disconnect: Callable[[], object]) -> None: ...

    def end_with_client(self, seconds: float) -> None: ...


class Request:
    """One request; the environment of WSGI has it as `signalbox.request`."""

    def __init__(self, head: Head, connection: Connection) -> None:
        (
            self.method,
            self.authority,
            self.path,
            self.query,
            self.is_http_1_0,
            self.headers,
            length,
        ) = head
        self.body_length = length
        """In bytes, 0 where there is no body; None for one that is chunked."""
        self.is_read = length == 0
        """Whether the body was read to its end. Of a chunked one that may be known late."""
        self.is_taken_over = False
        """Whether its route responds by itself."""
        self._connection = connection
        self._body: SizedBody | ChunkedBody = (
            ChunkedBody(connection) if length is None else SizedBody(connection, length)
        )
        self._must_ask = not self.is_read and head.expects_continue
        self._has_begun_reading = False
        if not self.is_read:
            self.extend_deadline()

    @property
    def is_server_stopping(self) -> bool:
        return self._connection.is_server_stopping

    @property
    def closes_connection(self) -> bool:
        """Whether the connection ends with the response."""
        # Whoever was not asked for the body may send it, or the next request in its place.
        return (
            self._connection.is_closing
            or self.is_server_stopping
            or (self._must_ask and not self.is_read)
        )

    def read_some(self, most: int) -> bytes:
        """What has arrived of the body, at least one byte; empty at its end.

        Waits for the client, and first asks it to go on where it sent `Expect: 100-continue`.
        Raises `OSError` where the body ends early or is not framed as HTTP/1.1 says.
        """
        if self._must_ask:
            self._must_ask = False
            if not self._connection.buffer:
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._has_begun_reading = True
        data = self._body.read_some(most)
        if self._body.is_complete:
            self.is_read, self._connection.deadline = True, None
        return data

    def skip_body(self) -> None:
        """Read the rest of the body, so that the next request is found. Raises `OSError`."""
        if not self.is_read:
            self.extend_deadline()
        while not self.is_read:
            self.read_some(BLOCK)

    def extend_deadline(self) -> None:
        """The client has made progress: it has more time for the rest of the body."""
        self._connection.deadline = monotonic() + settings.BODY_SECONDS

    def close_connection(self) -> None:
        """After the response: where the next request begins is not known, or nobody wants one."""
        self._connection.is_closing = True

    def be_the_last(self) -> None:
        """The response does not end by itself: nothing else is answered on this connection.

        Raises `Malformed` where another request was sent already.
        """
        self.skip_body()
        self.close_connection()
        if without_empty_lines(self._connection.buffer):
            raise Malformed(
                "Another request was sent behind this one, whose answer does not end; send it on "
                "a connection of its own."
            )

    def watch(self, on_disconnect: Callable[[], object]) -> None:
        """Call `on_disconnect` in the hub once the client has disconnected, or sends something
        behind the last request.
        """
        self._connection.watch(on_disconnect)

    def end_with_client(self, seconds: float = ENDED_SECONDS) -> None:
        """End the greenlet that answers, and what it waits for, so long after the client has ended
        its side of the connection: only where nobody else needs what it does.

        TCP does not tell a client that has disconnected from one that waits for the answer still.
        With 0 seconds also whatever it sends behind the request ends it.
        """
        self._connection.end_with_client(seconds)

    def take_over(self) -> socket.socket:
        """The socket, for a route that responds by itself; closed when the route ends.

        Raises `Malformed` as `be_the_last` does.
        """
        self.be_the_last()
        self.is_taken_over = True
        return self._connection.sock

    def send(self, data: bytes) -> None:
        """Send a part of the response. Raises `OSError` where the client is gone or too slow."""
        if not self._has_begun_reading:
            self._connection.deadline = None  # of a body that the route does not need
        self._connection.send(data)


def request_of(environ: dict[str, Any]) -> Request:
    """The request that an environment of WSGI is about."""
    request: Request = environ["signalbox.request"]
    return request
