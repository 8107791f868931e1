"""A program: reads many streams at once and does nothing with what comes.

Given {"port", "request", "streams", "ready", "end"}, prints {} once every stream has sent `ready`,
then {"at", "bytes", "sample"} once every stream has sent `end`: the time (`perf_counter`, which
processes share), all bytes after `ready`, and the first stream's own as text.
"""

import json
import resource
import selectors
import socket
import sys
from time import perf_counter
from typing import Any

AT_ONCE = 100
"""Connections that are made before any is waited for: more than a listener keeps are lost."""


class Reader:
    """One connection; `mark` is what it waits for, which may arrive in pieces."""

    def __init__(self, port: int, request: bytes, kept: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(request)
        self.bytes = 0
        self._kept: list[bytes] | None = [] if kept else None
        self._tail = b""

    def read(self, mark: bytes) -> bool:
        """Take what is there; whether `mark` was in it."""
        data = self.socket.recv(262_144)
        if not data:
            raise RuntimeError("a stream ended")
        self.bytes += len(data)
        if self._kept is not None:
            self._kept.append(data)
        self._tail = self._tail[-len(mark) :] + data[-4096:]
        return mark in self._tail

    def start_again(self) -> bytes:
        """Forget what was read, and return it where it was kept."""
        kept, self.bytes, self._tail = b"".join(self._kept or ()), 0, b""
        if self._kept is not None:
            self._kept = []
        return kept


def main() -> None:
    given = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    request = given["request"].encode()
    readers: list[Reader] = []
    with selectors.DefaultSelector() as selector:
        while (count := len(readers)) < given["streams"]:
            more = min(AT_ONCE, given["streams"] - count)
            readers += [Reader(given["port"], request, not count + one) for one in range(more)]
            _await(selector, readers[count:], given["ready"].encode())
        for reader in readers:
            reader.start_again()
        _print()
        _await(selector, readers, given["end"].encode())
        at = perf_counter()
    size = sum(reader.bytes for reader in readers)
    _print(at=at, bytes=size, sample=readers[0].start_again().decode())
    sys.stdin.read()  # the streams stay open until whoever started this has looked


def _await(selector: selectors.BaseSelector, readers: list[Reader], mark: bytes) -> None:
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    while selector.get_map():
        for key, _ in selector.select():
            if key.data.read(mark):
                selector.unregister(key.fileobj)


def _print(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
