"""Logs on real NATS servers without a node around them, and what an operator asks the servers."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import gevent
from gevent.server import StreamServer

from signalbox.server.engines.address import read_address
from signalbox.server.engines.jetstream.log import JetStreamLog
from signalbox.server.engines.shared_log import LogMetadata, LogStatus, nothing_applied
from signalbox.server.model.events import Change, Transaction

FOUNDATION: Final = LogMetadata("store-a", (("lamp.", 3, 1_000),))
METADATA: Final = {"signalbox.foundation": '{"store":"store-a"}'}
SECONDS: Final = 10.0
"""Within which every call has ended, whatever has become of the server."""


class Logs:
    """Logs that are closed at the end."""

    def __init__(self) -> None:
        self._opened: list[JetStreamLog] = []
        self.status: LogStatus | None = None

    def at(self, address: str, metadata: LogMetadata | None = FOUNDATION) -> JetStreamLog:
        """A connected one."""
        log = self.away(address)
        self.status = log.connect(metadata)
        return log

    def away(self, address: str) -> JetStreamLog:
        """One that is not connected."""
        self._opened.append(JetStreamLog(read_address(address)))
        return self._opened[-1]

    def close(self) -> None:
        for log in self._opened:
            log.close()


def made(first: int, number: int = 1, size: int = 1, by: str = "a") -> list[Transaction]:
    """Transactions from revision `first` on, each with a value of that many characters."""
    return [
        Transaction(
            revision,
            f"{by}-{revision}",
            by,
            1_000 + revision,
            "set",
            b"f" * 16,
            [Change("k", '"' + "x" * size + '"')],
        )
        for revision in range(first, first + number)
    ]


def whole(log: JetStreamLog) -> list[Transaction]:
    found: list[Transaction] = []
    while piece := log.read(len(found), 1_000):
        found += piece
    return found


def followed(
    log: JetStreamLog, last: int, after: int = 0, applied: Callable[[], int] = nothing_applied
) -> list[list[Transaction]]:
    """The pieces that come until revision `last` has."""
    pieces: list[list[Transaction]] = []
    with gevent.Timeout(SECONDS):
        for piece in log.follow(after, applied):
            pieces += [piece] if piece else []
            if piece and piece[-1].revision >= last:
                break
    return pieces


def flat(pieces: list[list[Transaction]]) -> list[Transaction]:
    return [one for piece in pieces for one in piece]


def asked(port: int, what: str, **body: Any) -> dict[str, Any]:
    """What JetStream's API answers, by hand: asyncio has a loop in this thread already."""
    text = json.dumps(body) if body else ""
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        command = f"CONNECT {{}}\r\nSUB told 1\r\nPUB $JS.API.{what} told {len(text)}\r\n{text}\r\n"
        plain.sendall(command.encode())
        with plain.makefile("rb") as lines:
            while not (line := lines.readline()).startswith(b"MSG "):
                assert line, "the server has ended"
            answer: dict[str, Any] = json.loads(lines.read(int(line.split()[-1])))
    return answer


def stream(port: int, name: str, **config: Any) -> None:
    """A stream as Signalbox makes them, but for what `config` says otherwise."""
    ours = {
        "name": name,
        "subjects": [f"{name}.log.{FOUNDATION.store}"],
        "discard": "new",
        "allow_direct": True,
        "metadata": METADATA,
    }
    answer = asked(port, f"STREAM.CREATE.{name}", **(ours | config))
    assert "error" not in answer, answer


@contextmanager
def fake_server(greeting: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A port on which somebody greets, and what clients then say to it."""
    heard: list[bytes] = []

    def serve(sock: Any, _: object) -> None:
        sock.sendall(greeting)
        while data := sock.recv(4096):
            heard.append(data)
            if b"PING" in data:
                sock.sendall(b"PONG\r\n")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        assert server.server_port is not None
        yield server.server_port, heard
    finally:
        server.stop()


def in_parallel(*works: Any) -> Sequence[Any]:
    """What each gives, all done at once by greenlets."""
    running = [gevent.spawn(work) for work in works]
    gevent.joinall(running, timeout=SECONDS, raise_error=True)
    return [one.value for one in running]
