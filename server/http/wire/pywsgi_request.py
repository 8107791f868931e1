"""A request as gevent's WSGI server has received it, for routes."""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from signalbox.server import settings


class PywsgiBody:
    """The body, read from pywsgi's input; `length` and `is_complete` as `Body` says."""

    def __init__(self, wsgi_input: Any) -> None:
        self._input = wsgi_input
        self.length = None if wsgi_input.chunked_input else wsgi_input.content_length or 0

    @property
    def is_complete(self) -> bool:
        return bool(self.length == self._input.position)

    def read_some(self, most: int) -> bytes:
        """The `read` of pywsgi waits for all that it was asked for, which a slow sender may
        never send; its `readline` is slow. A body of known length is read past them.
        """
        body = self._input
        if self.length is None:
            line: bytes = body.readline(most)
            return line
        body.read(0)  # sends "100 Continue" where the sender waits for it
        left = self.length - body.position
        data: bytes = body.rfile.read1(min(most, left)) if left else b""
        body.position += len(data)
        if left and not data:
            raise ConnectionError(f"{left} bytes of the body are missing")
        return data


class PywsgiRequest:
    """One request; see `Request`."""

    def __init__(self, handler: Any, environ: dict[str, Any]) -> None:
        self._handler = handler
        self.method, self.path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.query: str = environ["QUERY_STRING"]
        self.headers: Mapping[str, str] = handler.headers
        self.authority: str | None = handler.authority
        self.body = PywsgiBody(handler.wsgi_input)

    @property
    def sock(self) -> Any:
        return self._handler.socket

    @property
    def is_answered(self) -> bool:
        return not self._handler.answering

    @property
    def is_server_stopping(self) -> bool:
        return bool(self._handler.server.stopping)

    def extend_deadline(self) -> None:
        self._handler.deadline = monotonic() + settings.BODY_SECONDS

    def clear_deadline(self) -> None:
        self._handler.deadline = None

    def close_connection(self) -> None:
        self._handler.close_connection = True

    def take_over(self) -> Any:
        return self._handler.detach_socket()
