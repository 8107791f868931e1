"""Reads a file in a request's body row by row, ahead of whoever takes the rows."""

import logging
from collections.abc import Iterator
from typing import Any, Final

import gevent
from gevent.event import Event

from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import Row
from signalbox.server.model.errors import Internal
from signalbox.server.runtime.error_messages import reason
from signalbox.server.runtime.scheduling import wait_until_idle

logger: Final = logging.getLogger(__name__)

BLOCK: Final = 64 * 1024
LOOK_SECONDS: Final = 0.5
"""Between two looks whether the server is to end."""
READ_AHEAD: Final = 4_000
READ_AHEAD_BYTES: Final = 4 * 1024 * 1024


class RowReader:
    """The rows of the file in a body. `error` says why the body ended early, if it did."""

    def __init__(self, environ: dict[str, Any], file: ImportFile) -> None:
        self.file = file
        self._body = environ["wsgi.input"]
        self._handler = environ["signalbox.handler"]
        self._rows: list[Row] = []
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
        """The first row that is not blank, as soon as it has arrived; empty where there is none.

        `take` gives it all the same.
        """
        while True:
            text = next((row.text for row in self._rows if row.text.strip()), b"")
            if text or self._ended or self.is_stopping or self._is_full:
                return text
            self._arrived.clear()
            self._arrived.wait(LOOK_SECONDS)

    def take(self, seconds: float) -> list[Row] | None:
        """The rows that have arrived; none after so many seconds, None at the end of the body."""
        self._arrived.wait(seconds)
        rows, self._rows, self._bytes = self._rows, [], 0
        if not rows and self._ended:
            return None
        if not self._ended:
            self._arrived.clear()
        self._taken.set()
        return rows

    @property
    def _is_full(self) -> bool:
        """It is read on once the rows have been taken."""
        return len(self._rows) >= READ_AHEAD or self._bytes >= READ_AHEAD_BYTES

    def close(self) -> None:
        self._greenlet.kill()

    def _read(self) -> None:
        try:
            for rows in self.file.read(self._blocks()):
                self._rows += rows
                self._bytes += sum(len(row.text) for row in rows)
                self._arrived.set()
                if self._is_full:
                    self._taken.clear()
                    self._taken.wait()
        except OSError as error:
            self.error = error
            self._handler.close_connection = True  # where another request begins cannot be known
        except Exception as error:
            logger.exception("The file of an import was not read to its end.")
            self._handler.close_connection = True
            self.file.trouble = Internal(f"The file was not read to its end: {reason(error)}.")
        finally:
            self._ended = True
            self._arrived.set()

    def _blocks(self) -> Iterator[bytes]:
        while block := self._block():
            self._handler.extend()
            yield block
            if self._left() != 0:  # else the end is known before the last rows are taken
                wait_until_idle()  # a sender that is fast would keep this greenlet going

    def _left(self) -> int | None:
        """Bytes of the body that are still to come, where its length is known."""
        body = self._body
        return None if body.chunked_input else (body.content_length or 0) - body.position

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
        left = self._left()
        data: bytes = body.rfile.read1(min(BLOCK, left)) if left else b""
        body.position += len(data)
        if left and not data:
            raise ConnectionError(f"{left} bytes of the body are missing")
        return data
