"""Sending an import to a real server, whole or chunk by chunk, and what is answered."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.harness import Server
from support.raw_http import NDJSON, Client, head, plain_socket

OCTETS = "application/octet-stream"
TYPES = {"ndjson": "application/x-ndjson", "json": "application/json", "csv": "text/csv"}


def upload(client: Client, body: Any, kind: str = "", **query: Any) -> list[dict[str, Any]]:
    """The answer's lines for a file whose media type is that of `kind`."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    headers = {"Content-Type": TYPES.get(kind, OCTETS)}
    answer = client.ask("POST", f"/commands/import?{asked}", body, headers)
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


def refused_lines(answer: list[dict[str, Any]]) -> list[int]:
    return sorted(line["line"] for line in answer if line["type"] == "rejected")


def set_commands(prefix: str, count: int, value: Any = 1) -> Iterator[dict[str, Any]]:
    return ({"type": "set", "key": f"{prefix}.{n:06}", "value": value} for n in range(count))


def revision(client: Client) -> int:
    return int(client.get("status").json()["revision"])


@contextmanager
def chunked_import(box: Server, query: str) -> Iterator[socket.socket]:
    """An import whose chunks the test sends one by one."""
    kind = f"Content-Type: {NDJSON['Content-Type']}"
    with plain_socket(box) as plain:
        plain.sendall(
            head(box, f"POST /commands/import?{query}", kind, "Transfer-Encoding: chunked")
        )
        yield plain
