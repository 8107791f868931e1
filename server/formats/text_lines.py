"""Decodes a text file and splits it into lines and rows; refuses binary files."""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from signalbox.server.model.commands import Command
from signalbox.server.model.errors import Malformed, SignalboxError, TooLarge

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line, and of a row of several lines."""
DETECTION_BYTES: Final = 64 * 1024
"""Bytes that are searched for the first line, by which format and binary files are detected."""
ENCODINGS: Final = ("utf-8", "latin-1", "cp1252", "utf-16")
EXPECTED: Final = (
    "expected is a text: NDJSON, one JSON object, CSV with the columns key and value, .env, or "
    "lines of key = value"
)
_BINARY: Final = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"SQLite format 3": "an SQLite database",
    b"PK\x03\x04": "a ZIP archive, as XLSX and other office files are",
    b"\x1f\x8b": "compressed with gzip",
    b"%PDF": "a PDF",
}
_COMPLETE_LINE: Final = re.compile(rb"\s*+[^\r\n]++[\r\n]")
"""A beginning with a complete line that is not blank."""
_UTF16_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Row(NamedTuple):
    """The lines of one command: the number of the first line, from 1, and the text.

    `command` is the command, or why there is none; None: the text is JSON to be parsed.
    """

    number: int
    text: bytes
    command: Command | SignalboxError | None = None


class Line(NamedTuple):
    """`text` with its line end; `fault` is set where it is no valid text."""

    number: int
    text: str
    fault: SignalboxError | None

    @property
    def bytes(self) -> bytes:
        """The line as it stands in the file; a byte that its encoding does not know is kept."""
        return self.text.encode(errors="surrogateescape")


def decode_file(blocks: Iterator[bytes], encoding: str) -> tuple[bytes, Iterator[bytes]]:
    """The beginning of a file and the whole file, in UTF-8 and without a byte order mark.

    Raises `Malformed` for a binary file.
    """
    start = b""
    while (
        len(start) < DETECTION_BYTES
        and not _COMPLETE_LINE.match(start)
        and (block := next(blocks, b""))
    ):
        start += block
    _refuse_binary(first_line(start)[:DETECTION_BYTES], encoding)
    pieces = _utf8(chain([start], blocks), encoding)
    first = next(pieces, b"").removeprefix(codecs.BOM_UTF8)
    return first, chain([first], pieces)


def first_line(start: bytes) -> bytes:
    """The first line that is not blank, without its end; empty where there is none."""
    return next(iter(start.lstrip().splitlines()), b"")


def with_line_feeds(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """CR and CRLF replaced by LF, for formats in which no value has a literal CR."""
    is_behind_cr = False
    for block in blocks:
        text = block.removeprefix(b"\n") if is_behind_cr else block
        is_behind_cr = block.endswith(b"\r") or (is_behind_cr and not block)
        yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _refuse_binary(start: bytes, encoding: str) -> None:
    """Check the first line; later binary data is an error of its line."""
    for mark, kind in _BINARY.items():
        if start.startswith(mark):
            raise Malformed(f"The file is {kind}; {EXPECTED}.")
    if encoding == "utf-16":
        return
    if start.startswith(_UTF16_BOMS):
        raise Malformed("The file is in another encoding, UTF-16, not UTF-8.", field="encoding")
    if (at := start.find(b"\0")) >= 0:
        raise Malformed(f"The file is no text: byte {at + 1} is 0x00; {EXPECTED}.")


def _utf8(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The blocks of a file in UTF-8; undecodable bytes are kept and reported by their line."""
    if encoding == "utf-8":
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    try:
        for block in blocks:
            yield decoder.decode(block).encode(errors="surrogateescape")
        yield decoder.decode(b"", final=True).encode(errors="surrogateescape")
    except UnicodeError as error:
        raise Malformed(
            f"The file is not {encoding.upper()}: it has a part of a character alone. Nothing "
            "behind that was read."
        ) from error


def lines(blocks: Iterator[bytes]) -> Iterator[Line]:
    """The lines of a text, which end with LF, CR or CRLF; of a long one only the beginning."""
    for number, (raw, size) in enumerate(_raw_lines(blocks), start=1):
        yield _line(number, raw, size)


def _raw_lines(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each line, of a long one its beginning, with its length in bytes."""
    unfinished, cut = b"", 0
    for block in blocks:
        complete = (unfinished + block).splitlines(keepends=True)
        # The last line may continue, also after a CR.
        unfinished = complete.pop() if complete and not complete[-1].endswith(b"\n") else b""
        for line in complete:
            yield line, len(line) + cut
            cut = 0
        if len(unfinished) > MAX_LINE:
            # A CR may end the line, or be the first half of its end: the next block shows it.
            end = b"\r" if unfinished.endswith(b"\r") else b""
            cut += len(unfinished) - MAX_LINE - 1 - len(end)
            unfinished = unfinished[: MAX_LINE + 1] + end
    if unfinished:
        yield unfinished, len(unfinished) + cut


def too_long(size: int, most: int = MAX_LINE, what: str = "line") -> TooLarge:
    """The refusal of a line of so many bytes, or of another row of a file: `what` names it."""
    return TooLarge(f"The {what} has {size} bytes; allowed are {most}.", limit=most)


def _line(number: int, raw: bytes, size: int) -> Line:
    """A line of an imported file as text, with what is wrong with it."""
    fault: SignalboxError | None = None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        text = raw.decode(errors="surrogateescape")
        fault = not_utf8(error.start, raw[error.start])
    if len(raw) > MAX_LINE:
        text = text[: MAX_LINE + 1]
        fault = too_long(size)
    elif "\0" in text:
        fault = fault or Malformed(
            f"Byte {raw.index(0) + 1} of the line is 0x00; no text has that."
        )
    return Line(number, text, fault)


def not_utf8(start: int, byte: int) -> Malformed:
    """The error of a line that is not UTF-8; `start` counts from 0."""
    return Malformed(
        f"Byte {start + 1} of the line is {byte:#04x}, which is not UTF-8; the file may be in "
        "another encoding, such as latin-1.",
        field="encoding",
    )


class RowLines:
    """Lines for a parser that reads as many as a row needs: `start_row`, then iterate."""

    def __init__(self, source: Iterator[Line]) -> None:
        """The lines of `source`, which a parser makes rows of."""
        self._source = source
        self._put_back: list[Line] = []
        self.size = 0
        """Characters of the row."""
        self.lines: list[Line] = []

    def start_row(self) -> None:
        """The next line begins a new row."""
        self.lines, self.size = [], 0

    @property
    def is_full(self) -> bool:
        """Whether the row has reached its limit: then it gets no more lines."""
        return self.size > MAX_LINE

    def __iter__(self) -> "RowLines":
        """The lines of the row that `start_row` has begun."""
        return self

    def __next__(self) -> Line:
        """The next line of the row, one that was put back first; it ends where it has too many."""
        if self.is_full:
            raise StopIteration
        line = self._put_back.pop() if self._put_back else next(self._source)
        self.lines.append(line)
        self.size += len(line.text)
        return line

    def put_back_rest(self) -> None:
        """End the row after its first line; the others are read again."""
        self._put_back += reversed(self.lines[1:])
        del self.lines[1:]

    def row(self, command: Command | SignalboxError) -> Row:
        """The lines as a row; the first line with a fault makes it that of the row."""
        text = b"".join(line.bytes for line in self.lines)
        for line in self.lines:
            if line.fault is not None:
                return Row(line.number, text, line.fault)
        return Row(self.lines[0].number, text, command)
