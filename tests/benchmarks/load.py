"""A program: sends requests over keep-alive connections as fast as they are answered.

Given {"port", "token", "kind", "connections", "seconds"} and "least", how many requests there are
at least, prints {"requests", "seconds"}. The kinds: `set` sends commands, `get` queries one key,
`page` a page of 100 items; keys are the thousand that `set` sets one after the other. `spread`
sets a hundred thousand others.
"""

import json
import re
import selectors
import socket
import sys
from collections.abc import Iterator
from itertools import count
from time import perf_counter, time_ns

KEYS = 1_000
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)


def main() -> None:
    given = json.loads(sys.argv[1])
    requests = REQUESTS[given["kind"]](given["port"], given["token"])
    connections = [connect(given["port"]) for _ in range(given["connections"])]
    done = drive(connections, requests, given["seconds"], given.get("least", 0))
    print(json.dumps(done), flush=True)


def drive(
    connections: list[socket.socket], requests: Iterator[bytes], seconds: float, least: int
) -> dict[str, float]:
    """One request at a time on each connection, for so long, and until so many are answered."""
    answered = 0
    missing = dict.fromkeys(connections, 0)
    with selectors.DefaultSelector() as selector:
        started = perf_counter()
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
            connection.send(next(requests))
        while (spent := perf_counter() - started) < seconds or answered < least:
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                data = connection.recv(65_536)
                if missing[connection]:
                    missing[connection] -= len(data)
                else:
                    missing[connection] = missing_bytes(data)
                if not missing[connection]:
                    answered += 1
                    connection.send(next(requests))
    return {"requests": answered, "seconds": spent}


def missing_bytes(data: bytes) -> int:
    """How many bytes of an answer have not arrived; `data` begins with all of its head.

    Raises `RuntimeError` where the request is refused, or the server closed the connection.
    """
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {data!r}" if data else "the server closed the connection")
    head = data.index(b"\r\n\r\n") + 4
    length = _LENGTH.search(data, 0, head)
    assert length is not None
    return head + int(length[1]) - len(data)


def is_answered(data: bytes) -> bool:
    """Whether the answer to a command is complete."""
    return missing_bytes(data) == 0


def _sets(port: int, token: str) -> Iterator[bytes]:
    """Commands of one length; no value comes twice, in no run."""
    body = b'{"type":"set","key":"bench.k%03d","value":%d}'
    first = time_ns() // 1000
    length = len(body % (0, first))
    start = head(port, token, length)
    return (start + body % (number % KEYS, first + number) for number in count())


def _spread_sets(port: int, token: str) -> Iterator[bytes]:
    """As `_sets`, of a hundred groups of a thousand keys; neighbours are of different groups."""
    body = b'{"type":"set","key":"bench.g%02d.k%03d","value":%d}'
    first = time_ns() // 1000
    start = head(port, token, len(body % (0, 0, first)))
    return (
        start + body % (number % 100, number // 100 % 1_000, first + number) for number in count()
    )


def _gets(port: int, token: str) -> Iterator[bytes]:
    query = _query(port, token)
    return (query % (b"/bench.k%03d" % (number % KEYS)) for number in count())


def _pages(port: int, token: str) -> Iterator[bytes]:
    request = _query(port, token) % b"?limit=100"
    return (request for _ in count())


REQUESTS = {"set": _sets, "spread": _spread_sets, "get": _gets, "page": _pages}


def head(port: int, token: str, length: int) -> bytes:
    """A command's head, before a body of so many bytes."""
    return (
        f"POST /commands HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def _query(port: int, token: str) -> bytes:
    """A query of the state, `%b` in its target."""
    return (
        f"GET /queries/state%b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    main()
