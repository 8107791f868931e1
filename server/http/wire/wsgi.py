"""Answers a request by a WSGI application (PEP 3333), as far as the applications here go."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from signalbox.server.http.wire.body_framing import BLOCK
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.responses import StartResponse, encode_head

Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_BASE: Final[dict[str, Any]] = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


class Input:
    """The body, for an application that does not know `signalbox.request`."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def read(self, size: int = -1) -> bytes:
        """All of the rest, or `size` bytes of it. Raises `OSError` where it ends early."""
        pieces = list[bytes]()
        while size and (piece := self._request.read_some(BLOCK if size < 0 else size)):
            pieces.append(piece)
            size -= len(piece) if size > 0 else 0
        return b"".join(pieces)


def environment(request: Request, port: int | None) -> dict[str, Any]:
    """The environment of WSGI. Header names with `_` could pass for others, and are left out."""
    environ = _BASE | {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.0" if request.is_http_1_0 else "HTTP/1.1",
        "wsgi.input": Input(request),
        "wsgi.errors": sys.stderr,
        "signalbox.request": request,
    }
    for name, value in request.headers.items():
        if "_" not in name:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if (given := environ.pop(f"HTTP_{name}", None)) is not None:
            environ[name] = given
    return environ


class WsgiResponse:
    """The response that an application gives, sent while it is made."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._status_line = ""
        self._headers: list[tuple[str, str]] = []
        self.has_begun = False
        """Whether something was sent."""
        self._is_chunked = False

    def run(self, application: Application, environ: dict[str, Any]) -> None:
        """Raises what the application raises, and `OSError` where the client is gone."""
        parts = application(environ, self._start)
        try:
            if isinstance(parts, list | tuple):
                body = b"".join(parts)
                self._write(body, len(body))
            else:
                for part in parts:
                    if part:
                        self._write(part)
                    del part  # it may be large, and the next one long in coming
                if not self.has_begun:
                    self._write(b"")
            if self._is_chunked:
                self._request.send(b"0\r\n\r\n")
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: object = None
    ) -> Callable[[bytes], None]:
        self._status_line, self._headers = status, list(headers)
        return self._write

    def _write(self, data: bytes, total: int | None = None) -> None:
        """Send `data`, first with the head; `total` is the length of the whole body, if known."""
        if self._request.is_taken_over:
            return
        if self._request.method == "HEAD":
            data = b""
        if self.has_begun:
            self._send(data)
        else:
            assert self._status_line, "the application has not called start_response"
            self._frame(total)
            self.has_begun = True
            self._send(data, encode_head(self._status_line, self._headers))

    def _send(self, data: bytes, head: bytes = b"") -> None:
        if data and self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if head or data:
            self._request.send(head + data)

    def _frame(self, total: int | None) -> None:
        """Add the headers that say where the body ends, and whether the connection does."""
        request, given = self._request, {name.lower(): value for name, value in self._headers}
        has_body = request.method != "HEAD" and self._status_line[:3] not in ("204", "304")
        if has_body and "content-length" not in given:
            if total is not None:
                self._headers.append(("Content-Length", str(total)))
            elif request.is_http_1_0:
                request.close_connection()  # its end is that of the body
            else:
                self._is_chunked = True
                self._headers.append(("Transfer-Encoding", "chunked"))
        if given.get("connection") == "close":
            request.close_connection()
        elif "connection" not in given:
            self._headers += connection_header(request)


def connection_header(request: Request) -> list[tuple[str, str]]:
    """What a response says about the connection (RFC 9112, 9.3 and 9.6)."""
    if request.closes_connection:
        return [("Connection", "close")]
    return [("Connection", "keep-alive")] if request.is_http_1_0 else []
