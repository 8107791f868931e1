"""Memory of the server for each connection that waits, and for each window that is open."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket
from time import sleep
from typing import Final
from urllib.parse import urlencode

import ndjson
from load import connect
from programs import memory, serving
from rows import Row, at_most
from support.harness import Server

KEYS: Final = 1_000
FEW: Final = 10
SETTLE_SECONDS: Final = 2.0
"""Behind the first picture of a window comes another one; behind its end it is freed."""

Open = Callable[[Server, int], socket]
"""Opens one more, which has had its first answer; the number tells it from others."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    connections, windows = (100, 40) if quick else (800, 200)
    with serving(folder / "store") as server:
        ndjson.send(server, ndjson.lines(KEYS))
        yield _row(server, "an idle connection", connections, _connection, 15)
        yield _row(server, "an open window of 60 rows", windows, _window, 150)


def _row(server: Server, what: str, count: int, open_one: Open, most: float) -> Row:
    _kilobytes(server, FEW, open_one)  # what all share, such as the first one's templates
    opened, closed = _kilobytes(server, count, open_one)
    return at_most(f"memory of {what}, of {count}", opened, "KB", most)._replace(
        beside=f"once they are closed: {max(0.0, closed):.1f} KB"
    )


def _kilobytes(server: Server, count: int, open_one: Open) -> tuple[float, float]:
    """What each of `count` adds to the server's memory while it is open, and afterwards."""
    before = memory(server.pid)
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(open_one(server, number))
        sleep(SETTLE_SECONDS)
        opened = memory(server.pid)
    sleep(SETTLE_SECONDS)
    closed = memory(server.pid)
    return (opened - before) * 1024 / count, (closed - before) * 1024 / count


def _connection(server: Server, number: int) -> socket:
    return _asked(server, f"/queries/state/{ndjson.key(number)}", b"\r\n\r\n")


def _window(server: Server, number: int) -> socket:
    signals = {"actor": f"window.{number}", "from": number, "rows": 60}
    return _asked(
        server, f"/queries/page?{urlencode({'datastar': json.dumps(signals)})}", b"\n\n\r\n"
    )


def _asked(server: Server, path: str, end: bytes) -> socket:
    """A connection whose request was answered, up to `end`."""
    connection = connect(server.port)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    connection.sendall(f"{head}Authorization: Bearer {server.read_token}\r\n\r\n".encode())
    answer = b""
    while end not in answer:
        part = connection.recv(262_144)
        if not part:
            raise RuntimeError(f"{path} was refused: {answer!r}")
        answer += part
    return connection
