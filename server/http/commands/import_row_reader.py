"""Reads the rows of an imported file from the body of a request, ahead of their consumer."""

import logging
from typing import Final

import gevent
from gevent.event import Event

from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import Row
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.request_body import IncomingBody
from signalbox.server.model.errors import IncompleteBody, Internal, SignalboxError, Unavailable
from signalbox.server.runtime.error_messages import reason

logger: Final = logging.getLogger(__name__)

STOP_CHECK_SECONDS: Final = 0.5
"""How often to check whether the server is stopping."""
READ_AHEAD: Final = 4_000
READ_AHEAD_BYTES: Final = 4 * 1024 * 1024


class RowReader:
    """The rows of the file in a body. `error` is set where the body ended early."""

    def __init__(self, request: Request, file: ImportFile) -> None:
        """Begin to read the body of `request` as the rows of `file`."""
        self.file = file
        self._body = IncomingBody(request)
        self._rows: list[Row] = []
        self._bytes = 0
        self._arrived, self._consumed = Event(), Event()
        self._ended = False
        self.error: OSError | None = None
        self._greenlet = gevent.spawn(self._read)

    @property
    def is_stopping(self) -> bool:
        """The server is stopping, and not all rows have been read."""
        return self._body.is_server_stopping and not self._ended

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
        """Read no more rows from the body."""
        self._greenlet.kill()

    def _read(self) -> None:
        """Read the rows ahead, in a greenlet of its own."""
        try:
            for rows in self.file.read(self._body.blocks()):
                self._rows += rows
                self._bytes += sum(len(row.text) for row in rows)
                self._arrived.set()
                if self._is_full:
                    self._consumed.clear()
                    self._consumed.wait()
        except OSError as error:
            self.error = error
            self._body.close_connection()
        except Exception as error:
            logger.exception("The file of an import was not read to its end.")
            self._body.close_connection()
            self.file.error = Internal(f"The file was not read to its end: {reason(error)}.")
        finally:
            self._ended = True
            self._arrived.set()


def body_error(reader: RowReader) -> SignalboxError | None:
    """Why the body, or the file in it, was not read to its end."""
    if reader.error:
        return IncompleteBody()
    if reader.file.error:
        return reader.file.error
    if reader.is_stopping:
        return Unavailable("The server is ending. Send it again under the same id to go on.")
    return None
