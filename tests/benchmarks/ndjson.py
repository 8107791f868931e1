"""The keys and values that the large benchmarks use, and their way into a server."""

import json
import socket
from collections.abc import Iterator
from typing import Any

from support.harness import Server

SITES, DEVICES = 10, 100


def key(number: int) -> str:
    """Ten sites of a hundred devices each; neighbours in number are far apart in key order."""
    site, device = number % SITES, number // SITES % DEVICES
    return f"site{site}.device{device:02}.metric{number // (SITES * DEVICES):03}"


def value(number: int) -> Any:
    """Mostly numbers, as devices have; some text and truth."""
    kinds = (number * 0.25, number, f"state {number % 977} of unit {number}", number % 2 == 0)
    return kinds[number % 4]


def lines(count: int) -> bytes:
    """`count` commands, one a line."""
    return b"".join(_line(number) for number in range(count))


def _line(number: int) -> bytes:
    command = {"type": "set", "key": key(number), "value": value(number)}
    return json.dumps(command, separators=(",", ":")).encode() + b"\n"


def send(server: Server, body: bytes) -> dict[str, Any]:
    """Import `body`; the summary. Raises `RuntimeError` where it was not wholly accepted."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = (
        f"POST /commands/import HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {server.write_token}\r\nContent-Type: application/x-ndjson\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with connection, connection.makefile("rb") as answer:
        connection.sendall(head.encode())
        connection.sendall(body)
        found = list(_objects(answer))
    if not found or found[-1].get("status") != "accepted" or found[-1]["rejected"]:
        raise RuntimeError(f"The import was refused: {found[-1:]}")
    summary: dict[str, Any] = found[-1]
    return summary


def _objects(answer: Any) -> Iterator[dict[str, Any]]:
    for line in answer:
        if line.startswith(b"{"):
            yield json.loads(line)
