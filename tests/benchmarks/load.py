"""A program: sends `set` commands over keep-alive connections as fast as they are answered.

Given {"port", "token", "connections", "seconds"}, prints {"requests", "seconds"}.
"""

import json
import selectors
import socket
import sys
from itertools import count
from time import perf_counter, time_ns
from typing import Any


def main() -> None:
    given = json.loads(sys.argv[1])
    requests = _requests(given["port"], given["token"])
    connections = [connect(given["port"]) for _ in range(given["connections"])]
    print(json.dumps(drive(connections, requests, given["seconds"])), flush=True)


def drive(connections: list[socket.socket], requests: Any, seconds: float) -> dict[str, float]:
    """One request at a time on each connection, for so long."""
    answered = 0
    with selectors.DefaultSelector() as selector:
        started = perf_counter()
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
            connection.send(next(requests))
        while (spent := perf_counter() - started) < seconds:
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                if is_answered(connection.recv(4096)):
                    answered += 1
                    connection.send(next(requests))
    return {"requests": answered, "seconds": spent}


def is_answered(data: bytes) -> bool:
    """Whether the answer is complete: each is one JSON object, and no head ends like one."""
    if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {data!r}")
    if not data:
        raise RuntimeError("the server closed the connection")
    return data.endswith(b"}")


def _requests(port: int, token: str) -> Any:
    """Commands of one length on a thousand keys; no value comes twice, in no run."""
    body = b'{"type":"set","key":"bench.k%03d","value":%d}'
    first = time_ns() // 1000
    length = len(body % (0, first))
    start = head(port, token, length)
    return (start + body % (number % 1000, first + number) for number in count())


def head(port: int, token: str, length: int) -> bytes:
    """A command's head, before a body of so many bytes."""
    return (
        f"POST /commands HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    main()
