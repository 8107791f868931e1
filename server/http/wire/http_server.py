"""The HTTP server: gevent's WSGI server with deadlines and a limit of connections, on loopback."""

import errno
import re
import socket
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final

import gevent
import msgspec
from gevent import pywsgi
from gevent.pywsgi import WSGIHandler, WSGIServer

from signalbox.server import settings
from signalbox.server.http.wire.connection import send_all
from signalbox.server.http.wire.pywsgi_request import PywsgiRequest
from signalbox.server.http.wire.request_headers import Headers, environ_name, list_members
from signalbox.server.http.wire.responses import raw_head, status_of
from signalbox.server.model.errors import (
    Busy,
    Internal,
    Malformed,
    SignalboxError,
    TooLarge,
    quoted,
)

MAX_REQUEST_LINE: Final = 65_536
pywsgi.MAX_REQUEST_LINE = MAX_REQUEST_LINE  # type: ignore[attr-defined]
"""The page sends its query, such as the open branches of its tree, within the address."""

IDLE_SECONDS: Final = 75.0
"""Between two requests of a connection."""
HEAD_SECONDS: Final = 10.0
"""From a request's first line to the end of its headers."""
ABSOLUTE: Final = re.compile(r"http://([^/?]+)(.*)", re.IGNORECASE)
"""An absolute-form target (RFC 9112, 3.2.2): its authority, and path with query."""


VERSION: Final = re.compile(r"HTTP/[0-9]+(\.[0-9]+)?")


class _UnsupportedVersion(Malformed):
    """A major version of HTTP that is not supported (RFC 9110, 15.6.6)."""

    def __init__(self, given: str) -> None:
        super().__init__(f"The version is {quoted(given)}; allowed are HTTP/1.1 and HTTP/1.0.")


class Handler(WSGIHandler):
    """One connection.

    pywsgi sends header and body of a response separately and without TCP_NODELAY, so a keep-alive
    client would wait 40 ms for the body: here they are sent together.
    """

    ignored_socket_errors = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)
    server: "Server"
    deadline: float | None = None
    answering = False
    authority: str | None = None
    """The authority of an absolute-form target; the guard checks it as it does Host."""
    _head_buffer: bytearray | None = None

    def handle(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self)
        try:
            super().handle()
        finally:
            self.server.connections.discard(self)

    def read_requestline(self) -> str:
        self.deadline = monotonic() + IDLE_SECONDS
        line: str = super().read_requestline()
        if line in ("\r\n", "\n"):  # one before a request is ignored (RFC 9112, 2.2)
            line = super().read_requestline()
        self.deadline = monotonic() + HEAD_SECONDS
        return line

    def read_request(self, raw_requestline: str) -> Any:
        """Raises `Malformed` or `TooLarge` for an invalid request (RFC 9112)."""
        if len(words := raw_requestline.split()) != 3:
            raise Malformed("The first line is not METHOD TARGET HTTP/1.1.")
        if VERSION.fullmatch(words[2]) and not words[2].startswith("HTTP/1."):
            raise _UnsupportedVersion(words[2])
        super().read_request(raw_requestline)
        self.authority, self.path = _parse_target(self.path or "")
        named = list_members(self.headers.get("connection", ""))
        if self.request_version == "HTTP/1.0":
            self.close_connection = "keep-alive" not in named
            if "transfer-encoding" in self.headers:
                raise Malformed("HTTP/1.0 knows no Transfer-Encoding.")
        else:
            self.close_connection = "close" in named
            if "host" not in self.headers:
                raise Malformed("The header Host is missing.")
        return True

    def write(self, data: bytes) -> None:
        super().write(b"" if self.command == "HEAD" else data)

    def finalize_headers(self) -> None:
        if self.command == "HEAD" and self.provided_content_length is None:
            # The length of GET is not known in advance (RFC 9110, 9.3.2).
            self.provided_content_length = ""
        super().finalize_headers()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["signalbox.request"] = PywsgiRequest(self, environ)
        has_body = environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ
        self.deadline = monotonic() + settings.BODY_SECONDS if has_body else None
        return environ

    def handle_one_response(self) -> None:
        self.answering = True
        try:
            super().handle_one_response()
        finally:
            self.answering = False
            self.server.last_busy = monotonic()
            self.close_connection = self.close_connection or self.server.stopping

    def detach_socket(self) -> socket.socket:
        """The socket, for a route that responds by itself; closed when the route ends."""
        self.deadline = None
        self.close_connection = True
        self.headers_sent = True
        self.status, self.code = "200 OK", 200
        taken: socket.socket = self.socket
        return taken

    def close_now(self) -> None:
        """Close the connection now; a greenlet that waits on it gets an error."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.socket.close()

    def _write_with_headers(self, data: bytes) -> None:
        self._head_buffer = bytearray()
        super()._write_with_headers(data)  # type: ignore[misc]
        held, self._head_buffer = self._head_buffer, None
        self._sendall(bytes(held))

    def _sendall(self, data: bytes) -> None:
        if self._head_buffer is not None:
            self._head_buffer += data
        else:
            send_all(self.socket, data)

    def MessageClass(self, *_: Any) -> Any:  # noqa: N802 - pywsgi's name
        return Headers(self.rfile)

    def _headers(self) -> Iterator[tuple[str, str]]:
        for name, value in self.headers.items():
            if "_" not in name and name not in ("content-type", "content-length"):
                yield environ_name(name), value

    def handle_one_request(self) -> Any:
        result = super().handle_one_request()
        if isinstance(result, tuple) and result[0] == "414":
            limit = MAX_REQUEST_LINE
            error = TooLarge(f"The first line has more than {limit} bytes.", limit=limit)
            return "414", _raw_error_response(error, 414)
        return result

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        """The response to an invalid request; pywsgi would print a traceback for some."""
        if isinstance(error, TooLarge):
            return "431", _raw_error_response(error, 431)
        if isinstance(error, _UnsupportedVersion):
            return "505", _raw_error_response(error, 505)
        if not isinstance(error, Malformed):
            error = Malformed("This is no HTTP/1.1 request.")
        return "400", _raw_error_response(error)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        if self.response_length or self.headers_sent:
            self.close_connection = True
            return
        framing = "The body is not framed as HTTP/1.1 says."
        internal = "Something went wrong in the server; what, is in its log."
        self._sendall(
            _raw_error_response(Malformed(framing) if error_code == 400 else Internal(internal))
        )
        self.close_connection = True

    def log_request(self) -> None:
        pass

    def log_error(self, *_: Any) -> None:
        pass  # the client gets a response


class Server(WSGIServer):
    """Listens on 127.0.0.1 only, and reserves the same port of ::1."""

    max_accept = 8
    """Connections that are accepted, and mostly answered, before others have their turn."""
    backlog = 1024
    """Connections that may wait to be accepted; more of them try again after a second."""

    def __init__(self, port: int, application: Any, max_connections: int) -> None:
        super().__init__(("127.0.0.1", port), application, handler_class=Handler, log=None)
        self.connections: set[Handler] = set()
        self.max_connections = max_connections
        self.stopping = False
        self.last_busy = monotonic()
        """When a request or stream was last open."""
        self._expiry_greenlet: gevent.Greenlet[[], None] | None = None
        self._ipv6_socket: socket.socket | None = None

    def init_socket(self) -> None:
        """Bind the port. Raises `OSError` where it is in use, or that of ::1 is."""
        super().init_socket()
        if self._ipv6_socket is None:
            try:
                self._ipv6_socket = reserve_ipv6_port(int(self.server_port or 0))
            except OSError:
                self.socket.close()
                raise

    def start(self) -> None:
        super().start()
        self._expiry_greenlet = gevent.spawn(self._close_expired)

    def handle(self, sock: Any, address: Any) -> None:
        if len(self.connections) >= self.max_connections:
            refuse_connection(sock, self.max_connections)
        else:
            super().handle(sock, address)

    def stop(self, timeout: float | None = None) -> None:
        """Stop listening and wait for open requests, for `timeout` seconds at most."""
        self.stopping = True
        super().stop(timeout)
        if self._ipv6_socket is not None:
            self._ipv6_socket.close()
        end = monotonic() + (timeout or 0)
        while self.is_busy() and monotonic() < end:
            gevent.sleep(0.01)
        if self._expiry_greenlet is not None:
            self._expiry_greenlet.kill()

    def is_busy(self) -> bool:
        """Whether a request or stream is open, as opposed to an idle connection."""
        return any(handler.answering for handler in self.connections)

    def _close_expired(self) -> None:
        while True:
            gevent.sleep(1)
            now = monotonic()
            for handler in list(self.connections):
                if handler.deadline is not None and handler.deadline < now:
                    handler.close_now()


def reserve_ipv6_port(port: int) -> socket.socket | None:
    """Bind a port of ::1 without listening; None where there is no ::1.

    Browsers try ::1 first for a name under localhost. Raises `OSError` where it is in use.
    """
    try:
        held = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        held.bind(("::1", port))
    except OSError as error:
        held.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return None
    return held


def refuse_connection(sock: Any, limit: int) -> None:
    """Respond that there are too many connections, without reading the request."""
    try:
        sock.settimeout(1)
        sock.sendall(
            _raw_error_response(
                Busy(f"The server has {limit} connections open, its limit.", limit=limit)
            )
        )
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the client has disconnected
    finally:
        sock.close()


def _parse_target(target: str) -> tuple[str | None, str]:
    """The authority of an absolute-form target, else None; and path with query.

    Raises `Malformed` for a target of another form.
    """
    authority = None
    if found := ABSOLUTE.fullmatch(target):
        authority, target = found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"
    if not target.startswith("/") or "#" in target:
        raise Malformed(
            f"The target is {quoted(target)}; allowed are a path such as /queries/status and "
            "http://HOST/PATH."
        )
    return authority, target


def _raw_error_response(error: SignalboxError, status: int | None = None) -> bytes:
    """A complete error response, where no WSGI route can send it.

    `status` where it is not that of the error code.
    """
    body = msgspec.json.encode(error.fields())
    headers = [
        *(("Retry-After", "1") for _ in range(isinstance(error, Busy))),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return raw_head(status or status_of(error.code), headers) + body
