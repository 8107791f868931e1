"""Where the body of a request ends in the bytes that arrive (RFC 9112, 6 and 7)."""

import re
from typing import Final, Protocol

BLOCK: Final = 65_536
"""The most bytes that are received at once."""
LINES_AT_ONCE: Final = 200
"""Others run after so many lines of a body in chunks: a chunk may be a single byte."""
MAX_SIZE_LINE: Final = 1024
"""Bytes of the line before a chunk, or of one behind the last."""
MAX_EXTENSIONS: Final = 16_384
"""Bytes of all chunk extensions of one body; they are ignored."""
MAX_TRAILERS: Final = 8_192
"""Bytes of the lines behind the last chunk; they are ignored."""
# Possessive, so that no line takes more time than its length.
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rf"[ \t]*+;[ \t]*+{_NAME}(?:[ \t]*+=[ \t]*+(?:{_NAME}|{_QUOTED}))?+"
_SIZE_LINE: Final = re.compile(rf"([0-9A-Fa-f]{{1,16}})((?:{_EXTENSION})*+)".encode("latin-1"))
_TRAILER: Final = re.compile(rf"{_NAME}:[\t\x20-\x7e\x80-\xff]*".encode("latin-1"))


class ClientGone(ConnectionError):
    """The client has disconnected, or takes nothing for too long."""


class BodyError(ClientGone):
    """The body ends early, or is not framed as HTTP/1.1 says."""


class Source(Protocol):
    """Where the bytes of a connection come from."""

    buffer: bytes
    """What has arrived and was not used."""

    def receive(self) -> bool:
        """Wait for more in `buffer`; False where the client sends no more."""

    def pause(self) -> None:
        """Let others run before more of what has arrived is read."""


class SizedBody:
    """A body of `length` bytes."""

    def __init__(self, source: Source, length: int) -> None:
        self._source, self.length = source, length
        self._left = length
        self.is_complete = length == 0

    def read_some(self, most: int) -> bytes:
        if self.is_complete:
            return b""
        source = self._source
        if not source.buffer and not source.receive():
            raise BodyError(f"{self._left} bytes of the body are missing")
        data = source.buffer[: min(most, self._left)]
        source.buffer = source.buffer[len(data) :]
        self._left -= len(data)
        self.is_complete = self._left == 0
        return data


class ChunkedBody:
    """A body in chunks, each behind a line with its size; the last has none."""

    length = None

    def __init__(self, source: Source) -> None:
        self._source = source
        self.is_complete = False
        self._left = 0
        """Bytes of the current chunk that have not been read."""
        self._is_behind_data = False
        self._is_behind_last = False
        self._is_interrupted = False
        """Whether more has arrived than was read at once."""
        self._extensions = self._trailers = 0

    def read_some(self, most: int) -> bytes:
        while not self.is_complete:
            if self._is_interrupted:
                self._source.pause()
            if data := self._decode(most):
                return data
            if self.is_complete or self._is_interrupted:
                continue
            if not self._source.receive():
                raise BodyError("the last chunk of the body is missing")
        return b""

    def _decode(self, most: int) -> bytes:
        """The data of the chunks that have arrived, `most` bytes of it; they leave the buffer."""
        buffer, at, pieces, size = self._source.buffer, 0, list[bytes](), 0
        lines_left, self._is_interrupted = LINES_AT_ONCE, False
        while size < most and not self.is_complete:
            if self._left:
                piece = buffer[at : at + min(self._left, most - size)]
                if not piece:
                    break
                pieces.append(piece)
                size, at, self._left = size + len(piece), at + len(piece), self._left - len(piece)
                self._is_behind_data = self._left == 0
            elif self._is_behind_data:
                if not b"\r\n".startswith(end_of_chunk := buffer[at : at + 2]):
                    raise BodyError("a chunk is longer than its size")
                if len(end_of_chunk) < 2:
                    break
                at, self._is_behind_data = at + 2, False
            else:
                end = buffer.find(b"\n", at, at + MAX_SIZE_LINE)
                if end < 0:
                    break
                if not lines_left:
                    self._is_interrupted = True
                    break
                self._read_line(buffer[at : end + 1])
                at, lines_left = end + 1, lines_left - 1
        self._source.buffer = rest = buffer[at:]
        is_stuck = not (pieces or self._left or self.is_complete or self._is_interrupted)
        if is_stuck and len(rest) >= MAX_SIZE_LINE:
            raise BodyError("a line of the body is too long")
        return b"".join(pieces)

    def _read_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise BodyError("a line of the body does not end with CR and LF")
        text = line[:-2]
        if self._is_behind_last:
            self._read_trailer(text)
        elif found := _SIZE_LINE.fullmatch(text):
            self._left = int(found[1], 16)
            self._is_behind_last = self._left == 0
            self._extensions += len(found[2])
            if self._extensions > MAX_EXTENSIONS:
                raise BodyError("the chunk extensions are too long")
        else:
            raise BodyError("a chunk has no size")

    def _read_trailer(self, text: bytes) -> None:
        self._trailers += len(text)
        if not text:
            self.is_complete = True
        elif not _TRAILER.fullmatch(text) or self._trailers > MAX_TRAILERS:
            raise BodyError("a line behind the last chunk is not NAME: VALUE, or they are too long")
