"""Queries over HTTP and how long each took, in milliseconds from its first byte to its last."""

import json
import re
import socket
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote, urlencode

from load import connect
from support.harness import Server

_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)(?:\r\n|$)", re.IGNORECASE)
_FRAME_ENDS: Final = b"\n\n\r\n"


class Asker:
    """One keep-alive connection; `body` is the last answer's."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._head = (
            f" HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Authorization: Bearer {server.read_token}\r\n\r\n"
        )
        self._connection = connect(server.port)
        self.body = b""

    def ask(self, path: str, **query: Any) -> float:
        """A query that ends. Raises `RuntimeError` where it is refused."""
        started = perf_counter()
        self._connection.sendall(self._request(path, query))
        head, _, self.body = self._receive(self._connection, b"\r\n\r\n").partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(f"{path} was refused: {head!r} {self.body!r}")
        missing = int(length[1]) - len(self.body)
        while missing > 0:
            data = self._connection.recv(262_144)
            self.body += data
            missing -= len(data)
        return (perf_counter() - started) * 1000

    def picture(self, **signals: Any) -> float:
        """A window's stream until its first picture is complete."""
        started = perf_counter()
        with connect(self._port) as connection:
            connection.sendall(self._request("/queries/page", {"datastar": json.dumps(signals)}))
            self.body = self._receive(connection, _FRAME_ENDS)
            spent = perf_counter() - started
        if b'class="row"' not in self.body:
            raise RuntimeError(f"There are no rows in the picture: {self.body[:500]!r}")
        return spent * 1000

    def _request(self, path: str, query: dict[str, Any]) -> bytes:
        return f"GET {quote(path)}?{urlencode(query)}{self._head}".encode()

    def _receive(self, connection: socket.socket, end: bytes) -> bytes:
        data = b""
        while end not in data:
            part = connection.recv(262_144)
            if not part:
                raise RuntimeError(f"The server closed the connection after {data[:500]!r}")
            data += part
        return data
