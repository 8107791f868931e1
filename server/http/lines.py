"""Reads a request's body line by line, ahead of whoever takes the lines."""

from collections.abc import Iterator
from typing import Any, Final

import gevent
from gevent.event import Event

MAX_LINE: Final = 1024 * 1024
MAX_RECORD: Final = 24 * 1024 * 1024
"""Of a line that is a whole transaction: its keys and values, and what stands around them."""
BLOCK: Final = 64 * 1024
RECORD: Final = b'{"revision"'
"""How an export of the history begins its lines."""
LOOK_SECONDS: Final = 0.5
"""Between two looks whether the server is to end."""
READ_AHEAD: Final = 4_000
READ_AHEAD_BYTES: Final = 4 * 1024 * 1024


class LineReader:
    """The lines of a body, without their ends; one that is too long is cut behind its limit.

    `error` says why the body ended early, if it did.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self._body = environ["wsgi.input"]
        self._handler = environ["signalbox.handler"]
        self._lines: list[bytes] = []
        self._bytes = 0
        self._arrived, self._taken = Event(), Event()
        self._ended = False
        self.error: OSError | None = None
        self._greenlet = gevent.spawn(self._read)

    @property
    def is_stopping(self) -> bool:
        """The server is to end, and the body has not."""
        return bool(self._handler.server.stopping) and not self._ended

    def first(self) -> bytes:
        """The first line that is not blank, as soon as it has arrived; empty where there is none.

        `take` gives it all the same.
        """
        while True:
            line = next((line for line in self._lines if line.strip()), b"")
            if line or self._ended or self.is_stopping or len(self._lines) >= READ_AHEAD:
                return line
            self._arrived.clear()
            self._arrived.wait(LOOK_SECONDS)

    def take(self, seconds: float) -> list[bytes] | None:
        """The lines that have arrived; none after so many seconds, None at the end of the body."""
        self._arrived.wait(seconds)
        lines, self._lines, self._bytes = self._lines, [], 0
        if not lines and self._ended:
            return None
        if not self._ended:
            self._arrived.clear()
        self._taken.set()
        return lines

    def close(self) -> None:
        self._greenlet.kill()

    def _read(self) -> None:
        try:
            for lines in _split(self._blocks()):
                self._lines += lines
                self._bytes += sum(map(len, lines))
                self._arrived.set()
                if len(self._lines) >= READ_AHEAD or self._bytes >= READ_AHEAD_BYTES:
                    self._taken.clear()
                    self._taken.wait()
        except OSError as error:
            self.error = error
            self._handler.close_connection = True  # where another request begins cannot be known
        finally:
            self._ended = True
            self._arrived.set()

    def _blocks(self) -> Iterator[bytes]:
        while block := self._block():
            self._handler.extend()
            yield block

    def _block(self) -> bytes:
        """What has arrived, at least one byte; empty at the end.

        pywsgi's `read` waits until it has all that it was asked for, which a slow sender may never
        send; its `readline` is slow. A body of known length is read past them.
        """
        body = self._body
        if body.chunked_input:
            line: bytes = body.readline(BLOCK)
            return line
        body.read(0)  # sends "100 Continue" where the sender waits for it
        left = (body.content_length or 0) - body.position
        data: bytes = body.rfile.read1(min(BLOCK, left)) if left else b""
        body.position += len(data)
        if left and not data:
            raise ConnectionError(f"{left} bytes of the body are missing")
        return data


def _split(blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Whole lines as they come; of a line that is too long only the beginning is kept."""
    line = bytearray()
    for block in blocks:
        first, *others = block.split(b"\n")
        line += first
        del line[_most(line) + 1 :]
        if others:
            yield [bytes(line), *others[:-1]]
            line = bytearray(others[-1])
    if line:
        yield [bytes(line)]


def _most(line: bytearray) -> int:
    """What a line may have in bytes, by how it begins."""
    return MAX_RECORD if line.startswith(RECORD) else MAX_LINE
