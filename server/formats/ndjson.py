"""Parses NDJSON: one command a line, or one transaction of an exported history."""

from collections.abc import Iterator
from itertools import count
from typing import Final

from signalbox.server.formats.text_lines import (
    MAX_LINE,
    Row,
    too_long,
    with_line_feeds,
)
from signalbox.server.model import values
from signalbox.server.model.commands import TYPES
from signalbox.server.model.errors import SignalboxError

MAX_HISTORY_LINE: Final = 24 * 1024 * 1024
"""Bytes of a line that is a whole transaction."""
HISTORY_LINE_START: Final = b'{"revision"'
"""How a line of an exported history begins."""


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """One row for each line of JSON; of one that is too long only the beginning is kept."""
    numbers, line, size = count(1), bytearray(), 0
    for block in with_line_feeds(blocks):
        first, *others = block.split(b"\n")
        line += first
        size += len(first)
        del line[_max_bytes(line) + 1 :]
        if others:
            ended = _row(next(numbers), line, size)
            yield [ended, *(Row(next(numbers), text) for text in others[:-1])]
            line, size = bytearray(others[-1]), len(others[-1])
    if line:
        yield [_row(next(numbers), line, size)]


def _row(number: int, line: bytearray, size: int) -> Row:
    """The row of one line of JSON, or its refusal where the line is too long."""
    fault = (
        None if size <= (most := _max_bytes(line)) else too_long(size, most, _kind_of_line(line))
    )
    return Row(number, bytes(line), fault)


def is_command(line: bytes) -> bool:
    """Whether a line is a command or a transaction, not the beginning of one JSON object."""
    if line.startswith(HISTORY_LINE_START):
        return True
    try:
        value = values.decode(line)
    except SignalboxError:
        return line.startswith(b'{"type"')
    return isinstance(value, dict) and value.get("type") in TYPES


def _kind_of_line(line: bytearray) -> str:
    """What a line holds, for messages: a transaction of a history, or a command."""
    return "transaction" if line.startswith(HISTORY_LINE_START) else "line"


def _max_bytes(line: bytearray) -> int:
    """The limit of a line in bytes, which depends on its beginning."""
    return MAX_HISTORY_LINE if line.startswith(HISTORY_LINE_START) else MAX_LINE
