"""NDJSON: one command a line, or one transaction of a recorded history."""

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
"""Of a line that is a whole transaction: its keys and values, and what stands around them."""
HISTORY_LINE_START: Final = b'{"revision"'
"""How an export of the history begins its lines."""


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """Whole lines as they come; of a line that is too long only the beginning is kept."""
    numbers, line, size = count(1), bytearray(), 0
    for block in with_line_feeds(blocks):
        first, *others = block.split(b"\n")
        line += first
        size += len(first)
        del line[_most(line) + 1 :]
        if others:
            ended = _row(next(numbers), line, size)
            yield [ended, *(Row(next(numbers), text) for text in others[:-1])]
            line, size = bytearray(others[-1]), len(others[-1])
    if line:
        yield [_row(next(numbers), line, size)]


def _row(number: int, line: bytearray, size: int) -> Row:
    fault = None if size <= (most := _most(line)) else too_long(size, most, _what(line))
    return Row(number, bytes(line), fault)


def is_command(line: bytes) -> bool:
    """Whether a line is one of these, and not the beginning of one JSON object."""
    if line.startswith(HISTORY_LINE_START):
        return True
    try:
        found = values.decode(line)
    except SignalboxError:
        return line.startswith(b'{"type"')
    return isinstance(found, dict) and found.get("type") in TYPES


def _what(line: bytearray) -> str:
    return "transaction" if line.startswith(HISTORY_LINE_START) else "line"


def _most(line: bytearray) -> int:
    """What a line may have in bytes, by how it begins."""
    return MAX_HISTORY_LINE if line.startswith(HISTORY_LINE_START) else MAX_LINE
