"""A program: sends commands at a steady rate and notes when another client hears of each.

Given {"port", "write", "read", "rate", "seconds"} and "at", where the other client listens to
another port, prints {"lags"}: milliseconds from each POST to
its event on a stream. A command that is due while every connection waits for an answer counts from
then on.
"""

import json
import re
import selectors
import socket
import sys
from collections import deque
from time import perf_counter, perf_counter_ns

from load import connect, head, is_answered

CONNECTIONS = 8
EVENT = re.compile(rb'"key":"lag\.k\d+","value":(\d+)')
BODY = b'{"type":"set","key":"lag.k%03d","value":%d}'


class Pace:
    """Sends on whichever connection is free; `lags` are in milliseconds."""

    def __init__(self, port: int, token: str, stream: socket.socket) -> None:
        self._port, self._token, self._stream = port, token, stream
        self._idle = [connect(port) for _ in range(CONNECTIONS)]
        self._due: deque[int] = deque()
        self._sent = 0
        self._received = b""
        self.lags: list[float] = []

    def run(self, rate: float, seconds: float) -> None:
        """Send for so long, then hear the rest."""
        with selectors.DefaultSelector() as selector:
            for sock in (self._stream, *self._idle):
                selector.register(sock, selectors.EVENT_READ)
            started, count = perf_counter(), int(rate * seconds)
            while len(self.lags) < count:
                planned = min(int((perf_counter() - started) * rate) + 1, count)
                while self._sent + len(self._due) < planned:
                    self._due.append(perf_counter_ns())
                self._send()
                for key, _ in selector.select(0.001):
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _send(self) -> None:
        while self._due and self._idle:
            body = BODY % (self._sent % 1000, self._due.popleft())
            self._idle.pop().send(head(self._port, self._token, len(body)) + body)
            self._sent += 1

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(262_144)
        if sock is not self._stream:
            if is_answered(data):
                self._idle.append(sock)
            return
        now = perf_counter_ns()
        self._received += data
        for found in EVENT.finditer(self._received):
            self.lags.append((now - int(found[1])) / 1e6)
        self._received = self._received[self._received.rfind(b"\n") + 1 :]


def listen(port: int, token: str) -> socket.socket:
    """A stream that waits for what comes next."""
    stream = connect(port)
    request = f"GET /queries/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    stream.sendall(f"{request}Authorization: Bearer {token}\r\n\r\n".encode())
    received = b""
    while b"caught-up" not in received:
        received += stream.recv(262_144)
    return stream


def main() -> None:
    given = json.loads(sys.argv[1])
    pace = Pace(
        given["port"], given["write"], listen(given.get("at", given["port"]), given["read"])
    )
    pace.run(given["rate"], given["seconds"])
    print(json.dumps({"lags": pace.lags}), flush=True)


if __name__ == "__main__":
    main()
