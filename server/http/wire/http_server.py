"""The HTTP server on loopback: connections with deadlines, their limit, and how it ends."""

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

import gevent
from gevent.server import StreamServer

from signalbox.server.http.wire.body_framing import BLOCK, BodyError, ClientGone
from signalbox.server.http.wire.connection import send_all
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.request_head import (
    FirstLineTooLong,
    Head,
    HeaderTooLarge,
    UnsupportedVersion,
    head_length,
    parse_head,
    without_empty_lines,
)
from signalbox.server.http.wire.responses import (
    STATUS_LINES,
    Response,
    encode_head,
    error_answer,
)
from signalbox.server.http.wire.wsgi import (
    Application,
    WsgiResponse,
    connection_header,
    environment,
)
from signalbox.server.model.errors import Busy, Internal, SignalboxError
from signalbox.server.runtime.scheduling import Turns, yield_to_hub

logger: Final = logging.getLogger(__name__)

IDLE_SECONDS: Final = 75.0
"""Between two requests of a connection."""
HEAD_SECONDS: Final = 10.0
"""From a request's first byte to the end of its headers."""
LINGER_SECONDS: Final = 2.0
"""How long what a refused client still sends is read: it would lose the answer otherwise."""

Direct = Callable[[Request], Response | None]
"""Answers a request without WSGI; None leaves it to that."""

_STATUSES: Final = {FirstLineTooLong: 414, HeaderTooLarge: 431, UnsupportedVersion: 505}
"""The status of a head that is refused, where it is not that of the error code."""


class Connection:
    """One connection, whose requests are answered one by one in the order of their arrival."""

    def __init__(self, sock: Any, server: "Server") -> None:
        self.sock = sock
        self.buffer = b""
        """What has arrived and was not used."""
        self.deadline: float | None = None
        self.is_closing = False
        """Whether it ends with the response."""
        self.is_answering = False
        self._server = server
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(sock.fileno(), 1)
        self._is_watched = False
        self._is_readable = True  # most send a request at once
        self._reader: Any = None
        """The greenlet that waits for something to receive."""
        self._on_disconnect: Callable[[], object] | None = None
        self._ending: gevent.Greenlet[..., object] | None = None
        """Ends the greenlet that answers, in a moment."""

    def serve(self) -> None:
        """Answer requests until the client disconnects or is disconnected."""
        try:
            while self._serve_one():
                if self.buffer:  # sent ahead: others are served in between
                    yield_to_hub()
        except OSError:
            pass  # the client has disconnected
        finally:
            self._watcher.stop()
            self._watcher.close()

    @property
    def is_server_stopping(self) -> bool:
        return self._server.stopping

    def receive(self) -> bool:
        """Wait for more in `buffer`; False where the client sends no more.

        Goes through the hub each time, so that a client that never pauses holds up nobody.
        """
        while True:
            self._wait_until_readable()
            try:
                data: bytes = self.sock._sock.recv(BLOCK)  # noqa: SLF001 - gevent's would wait
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                return False
            self.buffer = self.buffer + data if self.buffer else data
            return data != b""

    def pause(self) -> None:
        """Let others run. All that pause go on in turns: many cost others no more than one."""
        self._server.turns.wait()

    def send(self, data: bytes) -> None:
        """Raises `ClientGone`, also where the client reads nothing for too long."""
        try:
            send_all(self.sock, data)
        except OSError as error:
            raise ClientGone from error

    def watch(self, on_disconnect: Callable[[], object]) -> None:
        """Call `on_disconnect` in the hub once there is something to receive, or the end."""
        self._on_disconnect = on_disconnect
        self._start_watching()

    def end_with_client(self, seconds: float) -> None:
        """See `Request.end_with_client`."""
        self.watch(partial(self._end_if_disconnected, gevent.getcurrent(), seconds))

    def close_now(self) -> None:
        """End the connection; a greenlet that waits for the client goes on, and learns of it."""
        with suppress(OSError):  # the client has ended it
            self.sock.shutdown(socket.SHUT_RDWR)

    def _wait_until_readable(self) -> None:
        self._reader = gevent.getcurrent()
        self._start_watching()
        try:
            while not self._is_readable:
                self._hub.switch()
        finally:
            self._reader, self._is_readable = None, False

    def _start_watching(self) -> None:
        """The watcher goes on between requests: starting it takes a system call."""
        if not self._is_watched:
            self._watcher.start(self._readable)
            self._is_watched = True

    def _readable(self) -> None:
        """Called in the hub."""
        if self._reader is not None:
            self._is_readable = True
            self._reader.switch()
            return
        self._watcher.stop()
        self._is_watched = False
        if self._on_disconnect is not None:
            self._on_disconnect()

    def _end_if_disconnected(self, answering: Any, seconds: float) -> None:
        """Called in the hub, which sees requests that were sent ahead as well."""
        if not seconds:
            answering.kill(block=False)
        elif not self._has_sent_more():
            self._ending = gevent.spawn_later(seconds, answering.kill, block=False)

    def _has_sent_more(self) -> bool:
        """Whether something has arrived behind the request that is being answered."""
        try:
            return bool(self.buffer or self.sock._sock.recv(1, socket.MSG_PEEK))  # noqa: SLF001
        except OSError:
            return False

    def _serve_one(self) -> bool:
        """Answer one request; whether another may follow."""
        try:
            head = self._read_head()
        except SignalboxError as error:
            self.send(closing_response(error))
            self._linger()
            return False
        if head is None:
            return False
        self.is_closing = not head.keeps_connection
        request = Request(head, self)
        self.is_answering = True
        try:
            self._answer(request)
        except ClientGone:
            return False
        finally:
            self.is_answering, self._on_disconnect = False, None
            if self._ending is not None:
                self._ending.kill(block=False)
                self._ending = None
            self._server.last_busy = monotonic()
        if self.is_closing and (self.buffer or not request.is_read):
            self._linger()
        return not self.is_closing

    def _read_head(self) -> Head | None:
        """None where the client disconnects first. Raises `Malformed` or `TooLarge`."""
        self.deadline = monotonic() + IDLE_SECONDS
        known = 0
        while True:
            if self.buffer:
                self.buffer = without_empty_lines(self.buffer)
                if (length := head_length(self.buffer, known)) is not None:
                    break
                if self.buffer and not known:
                    self.deadline = monotonic() + HEAD_SECONDS
                known = len(self.buffer)
            if not self.receive():
                return None
        self.deadline = None
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return parse_head(data)

    def _answer(self, request: Request) -> None:
        """Send the response, and read what is left of the body. Raises `ClientGone`."""
        streamed: WsgiResponse | None = None
        try:
            if (whole := self._server.direct(request)) is not None:
                self.send(encode_response(request, whole))
            else:
                streamed = WsgiResponse(request)
                environ = environment(request, self._server.server_port)
                streamed.run(self._server.application, environ)
        except ClientGone:
            raise
        except Exception:
            logger.exception("Unexpected error.")
            self.is_closing = True
            if not (request.is_taken_over or (streamed and streamed.has_begun)):
                why = "Something went wrong in the server; what, is in its log."
                self.send(closing_response(Internal(why)))
            return
        self.is_closing = request.closes_connection
        try:
            if not self.is_closing:
                request.skip_body()
        except BodyError:
            self.is_closing = True

    def _linger(self) -> None:
        """Tell the client that nothing follows, and read what it still sends."""
        self.deadline = monotonic() + LINGER_SECONDS
        self.sock.shutdown(socket.SHUT_WR)
        self.buffer = b""
        while self.receive():
            self.buffer = b""


class Server(StreamServer):
    """Listens on 127.0.0.1 only, and reserves the same port of ::1.

    `direct` is asked first; `application` answers by WSGI what it leaves.
    """

    max_accept = 8
    """Connections that are accepted, and mostly answered, before others have their turn."""
    backlog = 1024
    """Connections that may wait to be accepted; more of them try again after a second."""

    def __init__(
        self,
        port: int,
        application: Application,
        max_connections: int,
        direct: Direct = lambda _: None,
    ) -> None:
        super().__init__(("127.0.0.1", port))
        self.application, self.direct = application, direct
        self.connections: set[Connection] = set()
        self.max_connections = max_connections
        self.stopping = False
        self.turns = Turns(seconds=0)  # one at a time
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

    def handle(self, sock: Any, _address: Any) -> None:
        """In a greenlet of its own, after which the socket is closed."""
        if len(self.connections) >= self.max_connections:
            refuse_connection(sock, self.max_connections)
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, self)
        self.connections.add(connection)
        try:
            connection.serve()
        finally:
            self.connections.discard(connection)

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
        return any(connection.is_answering for connection in self.connections)

    def _close_expired(self) -> None:
        while True:
            gevent.sleep(1)
            now = monotonic()
            for connection in list(self.connections):
                if connection.deadline is not None and connection.deadline < now:
                    connection.close_now()


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
        error = Busy(f"The server has {limit} connections open, its limit.", limit=limit)
        sock.sendall(closing_response(error))
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the client has disconnected


def closing_response(error: SignalboxError) -> bytes:
    """The response with which a connection ends where no route gives one."""
    answer = error_answer(error)
    length = ("Content-Length", str(len(answer.body)))
    status_line = STATUS_LINES[_STATUSES.get(type(error), answer.status)]
    headers = [*answer.headers, length, ("Connection", "close")]
    return encode_head(status_line, headers) + answer.body


def encode_response(request: Request, response: Response) -> bytes:
    """Head and body of the response to `request`."""
    headers = [*response.headers, *connection_header(request)]
    if response.status not in (204, 304):  # RFC 9110, 8.6
        headers.append(("Content-Length", str(len(response.body))))
    head = encode_head(STATUS_LINES[response.status], headers)
    return head if request.method == "HEAD" else head + response.body
