"""What routes know of the request that they answer, whatever the server is that has received it."""

import socket
from collections.abc import Mapping
from typing import Any, Protocol


class Body(Protocol):
    """The body of one request, which arrives while it is read."""

    length: int | None
    """In bytes, 0 where there is none; None for one that is chunked."""
    is_complete: bool
    """Whether it was read to its end. Of a chunked body that may be known late."""

    def read_some(self, most: int) -> bytes:
        """What has arrived, at least one byte; empty at the end.

        Waits for the client, and first asks it to go on where it sent `Expect: 100-continue`.
        Raises `OSError` where the body ends early or is not framed as HTTP/1.1 says.
        """


class Request(Protocol):
    """One request; the environment of WSGI has it as `signalbox.request`."""

    method: str
    path: str
    """Decoded: its bytes as Latin-1 (PEP 3333)."""
    query: str
    headers: Mapping[str, str]
    """Values by lower-case name."""
    authority: str | None
    """The authority of a target in absolute form; the guard checks it as it does Host."""
    body: Body

    @property
    def sock(self) -> socket.socket: ...

    @property
    def is_answered(self) -> bool:
        """Whether the response has ended."""

    @property
    def is_server_stopping(self) -> bool: ...

    def extend_deadline(self) -> None:
        """The client has made progress: it has more time for the rest of the body."""

    def clear_deadline(self) -> None:
        """The body has arrived, or none is wanted: the response has no deadline."""

    def close_connection(self) -> None:
        """After the response: where the next request begins is not known."""

    def take_over(self) -> socket.socket:
        """The socket, for a route that responds by itself; closed when the route ends."""


def request_of(environ: dict[str, Any]) -> Request:
    """The request that an environment of WSGI is about."""
    request: Request = environ["signalbox.request"]
    return request
