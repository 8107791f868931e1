"""One writer and many script streams, beside plain gevent sending the same bytes."""

import json
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, time_ns
from typing import Final

from load import connect, head, is_answered
from programs import Program, memory, running, serving
from rows import Row, at_least
from support.harness import Server

STREAMS: Final = {100: 0.8, 1000: 1.2}
"""With the least ratio to plain gevent."""
LAST: Final = "the last one"
UNDER_WAY: Final = 8
"""Commands of the writer that wait for their acknowledgement: one alone waits for every commit."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, deliveries = (3, 100_000) if quick else (7, 400_000)
    with serving(folder / "fanout") as server, running("bare_fanout.py") as bare:
        yield from _memory(server, max(STREAMS))
        for streams, target in STREAMS.items():
            ours, plain = [], []
            for number in range(rounds):
                events = deliveries // streams
                rate, sent = _ours(server, streams, events, f"{streams} streams {number}")
                ours.append(rate)
                plain.append(_bare(bare, streams, sent))
            what = f"1 writer, {streams:,} script streams: events received"
            yield at_least(what, ours, "plain gevent", plain, "/s", target)


@contextmanager
def reading(server: Server, streams: int, end: str = LAST) -> Iterator[Program]:
    """So many script streams that have caught up and wait for what comes next."""
    request = (
        f"GET /queries/stream?after={_revision(server)} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.read_token}\r\n\r\n"
    )
    given = {"port": server.port, "request": request, "streams": streams}
    with running("readers.py", **given, ready="caught-up", end=end) as readers:
        yield readers


def _ours(server: Server, streams: int, events: int, name: str) -> tuple[float, list[str]]:
    """Events received per second, all streams together, and the events as they were sent."""
    with reading(server, streams) as readers:
        started = perf_counter()
        write(server, events, name)
        read = readers.read_line()
    sent = [event + "\n\n" for event in read["sample"].split("\n\n") if "event: change" in event]
    assert len(sent) == events
    return events * streams / (read["at"] - started), sent


def _bare(bare: Program, streams: int, events: list[str]) -> float:
    given = {"port": bare.ready["port"], "request": "hello", "streams": streams}
    with running("readers.py", **given, ready="ready", end=LAST) as readers:
        bare.write_line(events=events, streams=streams)
        started = bare.read_line()["at"]
        return float(len(events) * streams / (readers.read_line()["at"] - started))


def write(server: Server, events: int, name: str) -> None:
    """One writer with some commands under way; the last value says that it is the last."""
    idle = deque(connect(server.port) for _ in range(UNDER_WAY))
    busy: deque[socket.socket] = deque()
    for number in range(events - 1):
        if not idle:
            idle.append(_answered(busy.popleft()))
        busy.append(_sent(server, idle.popleft(), f"fan.k{number % 100}", f"{name} {number}"))
    while busy:
        idle.append(_answered(busy.popleft()))
    _answered(_sent(server, idle[0], f"fan.last.{time_ns()}", LAST))
    for connection in idle:
        connection.close()


def _sent(server: Server, connection: socket.socket, key: str, value: str) -> socket.socket:
    body = json.dumps({"type": "set", "key": key, "value": value}).encode()
    connection.send(head(server.port, server.write_token, len(body)) + body)
    return connection


def _answered(connection: socket.socket) -> socket.socket:
    if not is_answered(connection.recv(4096)):
        raise RuntimeError("an acknowledgement came in pieces")
    return connection


def _memory(server: Server, streams: int) -> Iterator[Row]:
    write(server, 100, "warm up")
    before = memory(server.pid)
    with reading(server, streams):
        each = (memory(server.pid) - before) * 1024 / streams
    yield Row(f"{streams:,} script streams: memory of each", f"{each:.1f} KB")


def _revision(server: Server) -> int:
    return int(server.get("/queries/status").json()["revision"])
