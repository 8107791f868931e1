"""A program: sends `set` commands at a steady rate and notes how long each waits for its answer.

Given {"port", "token", "rate"}, prints {}; then, for each line that it reads, {"waits"}:
milliseconds of each command since the line before. They count from when a command was due, so that
a server which stands still for long is not asked less.
"""

import json
import selectors
import socket
import sys
from collections import deque
from time import perf_counter

from load import connect, head, is_answered

CONNECTIONS = 8
BODY = b'{"type":"set","key":"steady.k%03d","value":%d}'


class Steady:
    """Sends on whichever connection is free."""

    def __init__(self, port: int, token: str, rate: float) -> None:
        self._port, self._token, self._rate = port, token, rate
        self._idle = deque(connect(port) for _ in range(CONNECTIONS))
        self._asked: dict[socket.socket, float] = {}
        self._due: deque[float] = deque()
        self._sent = 0
        self._waits: list[float] = []

    def run(self) -> None:
        """Until stdin ends."""
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            for sock in self._idle:
                selector.register(sock, selectors.EVENT_READ)
            following = perf_counter()
            while True:
                while following <= perf_counter():
                    self._due.append(following)
                    following += 1 / self._rate
                self._send()
                for key, _ in selector.select(max(0.0, following - perf_counter())):
                    if key.fileobj is not sys.stdin:
                        self._read(key.fileobj)  # type: ignore[arg-type]
                    elif not self._print_waits():
                        return

    def _send(self) -> None:
        while self._due and self._idle:
            sock = self._idle.popleft()  # in turn, as a server closes what is not used for long
            body = BODY % (self._sent % 1000, self._sent)
            self._asked[sock] = self._due.popleft()
            sock.sendall(head(self._port, self._token, len(body)) + body)
            self._sent += 1

    def _read(self, sock: socket.socket) -> None:
        if is_answered(sock.recv(4096)):
            self._waits.append((perf_counter() - self._asked.pop(sock)) * 1000)
            self._idle.append(sock)

    def _print_waits(self) -> bool:
        if not sys.stdin.readline():
            return False
        print(json.dumps({"waits": self._waits}), flush=True)
        self._waits = []
        return True


def main() -> None:
    given = json.loads(sys.argv[1])
    steady = Steady(given["port"], given["token"], given["rate"])
    print("{}", flush=True)
    steady.run()


if __name__ == "__main__":
    main()
