"""Reads the file in a request's body row by row, ahead of its consumer."""

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
STOP_CHECK_SECONDS: Final = 0.5
"""How often to check whether the server is stopping."""
READ_AHEAD: Final = 4_000
READ_AHEAD_BYTES: Final = 4 * 1024 * 1024


class RowReader:
    """The rows of the file in a body. `error` is set where the body ended early."""

    def __init__(self, environ: dict[str, Any], file: ImportFile) -> None:
        self.file = file
        self._body = environ["wsgi.input"]
        self._handler = environ["signalbox.handler"]
        self._rows: list[Row] = []
        self._bytes = 0
        self._arrived, self._consumed = Event(), Event()
        self._ended = False
        self.error: OSError | None = None
        self._greenlet = gevent.spawn(self._read)

    @property
    def is_stopping(self) -> bool:
        """The server is stopping before the end of the body."""
        return bool(self._handler.server.stopping) and not self._ended

    def first_row(self) -> bytes:
        """Wait for the first row that is not blank; empty where there is none.

        `next_rows` returns it, too.
        """
        while True:
            text = next((row.text for row in self._rows if row.text.strip()), b"")
            if text or self._ended or self.is_stopping or self._is_full:
                return text
            self._arrived.clear()
            self._arrived.wait(STOP_CHECK_SECONDS)

    def next_rows(self, seconds: float) -> list[Row] | None:
        """The rows that have arrived; empty after so many seconds, None at the end of the body."""
        self._arrived.wait(seconds)
        rows, self._rows, self._bytes = self._rows, [], 0
        if not rows and self._ended:
            return None
        if not self._ended:
            self._arrived.clear()
        self._consumed.set()
        return rows

    @property
    def _is_full(self) -> bool:
        """Reading pauses until the rows have been consumed."""
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
                    self._consumed.clear()
                    self._consumed.wait()
        except OSError as error:
            self.error = error
            self._handler.close_connection = True  # the start of the next request is unknown
        except Exception as error:
            logger.exception("The file of an import was not read to its end.")
            self._handler.close_connection = True
            self.file.error = Internal(f"The file was not read to its end: {reason(error)}.")
        finally:
            self._ended = True
            self._arrived.set()

    def _blocks(self) -> Iterator[bytes]:
        while block := self._block():
            self._handler.extend_deadline()
            yield block
            if self._bytes_left() != 0:  # at the end, the last rows are handed over at once
                wait_until_idle()  # a fast sender would keep this greenlet running

    def _bytes_left(self) -> int | None:
        """Bytes of the body that have not arrived; None where its length is unknown."""
        body = self._body
        return None if body.chunked_input else (body.content_length or 0) - body.position

    def _block(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end.

        pywsgi's `read` waits until it has all that it was asked for, which a slow sender may never
        send; its `readline` is slow. A body of known length is read past them.
        """
        body = self._body
        if body.chunked_input:
            line: bytes = body.readline(BLOCK)
            return line
        body.read(0)  # sends "100 Continue" where the sender waits for it
        left = self._bytes_left()
        data: bytes = body.rfile.read1(min(BLOCK, left)) if left else b""
        body.position += len(data)
        if left and not data:
            raise ConnectionError(f"{left} bytes of the body are missing")
        return data
