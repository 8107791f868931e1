"""Parses CSV with the columns key and value, as programs and spreadsheets write it (RFC 4180)."""

import csv
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from signalbox.server.formats.row_values import parse_json, set_command
from signalbox.server.formats.text_lines import EXPECTED, MAX_LINE, Line, Row, RowLines, lines
from signalbox.server.model.commands import Command
from signalbox.server.model.errors import (
    Malformed,
    SignalboxError,
    TooLarge,
    quoted,
)

SEPARATORS: Final = ",;\t"
MAX_CELL: Final = 2 * MAX_LINE
"""Characters of a cell: more than a row can have. The limit of Python is 131,072."""
_SPREADSHEETS: Final = {"TRUE": True, "FALSE": False}
"""How spreadsheets write true and false."""
_SEPARATOR_LINE: Final = re.compile(r'("?)sep=[,;\t|]\1')
"""The line before the header by which Excel is given the separator."""
_GUARDED: Final = re.compile(r"'+[=+\-@]")
"""A cell that an export has escaped, since it would be run as a formula."""


class _Header(NamedTuple):
    separator: str
    width: int
    key: int
    value: int


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """The rows of a CSV file. A value is JSON, TRUE or FALSE, else text. Raises `Malformed` without
    a header.
    """
    csv.field_size_limit(MAX_CELL)
    row_lines = RowLines(lines(blocks))
    header = _header(row_lines)
    rows = csv.reader(map(_text_of_line, row_lines), delimiter=header.separator, strict=True)
    while True:
        row_lines.start_row()
        try:
            command = _command(next(rows), header)
        except csv.Error:
            command = _unclosed_quote(row_lines)
        except StopIteration:
            return
        if command is not None:
            yield [row_lines.row(command)]


def is_header(text: str) -> bool:
    """Whether a line is a header, or the line with the separator before it."""
    return _is_separator_line(text) or _parse_header(text) is not None


def escape_formula(text: str) -> str:
    """A cell as an export writes it, so that no spreadsheet runs it as a formula."""
    return "'" + text if text[:1] in set("=+-@") or _GUARDED.match(text) else text


def unescape_formula(cell: str) -> str:
    """The text that `escape_formula` has kept spreadsheets from taking as a formula."""
    return cell[1:] if _GUARDED.match(cell) else cell


def _header(row_lines: RowLines) -> _Header:
    """The separator and the columns, by the first line of the CSV file. Raises `Malformed`."""
    row_lines.start_row()
    non_blank = (line for line in row_lines if line.text.strip())
    first = next(non_blank, None)
    if first is not None and _is_separator_line(first.text):
        first = next(non_blank, None)
    if first is None:
        raise Malformed(f"The file is empty; {EXPECTED}.")
    if first.fault is not None:
        raise Malformed(f"Line {first.number}: {first.fault.message}")
    if header := _parse_header(first.text):
        return header
    raise Malformed(
        f"Line {first.number} is {quoted(first.text.strip())}; the first line of a CSV file names "
        "the columns key and value, with a comma, a semicolon or a tab between them."
    )


def _is_separator_line(text: str) -> bool:
    """Whether a line is `sep=;`, in which spreadsheets name the separator."""
    return _SEPARATOR_LINE.fullmatch(text.strip("\r\n ")) is not None


def _parse_header(text: str) -> _Header | None:
    """The header in a line that names the columns key and value; None where it does not."""
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader([text], delimiter=separator, strict=True), [])
        except csv.Error:
            continue
        names = [cell.strip().lower() for cell in cells]
        if names.count("key") == names.count("value") == 1:
            return _Header(separator, len(names), names.index("key"), names.index("value"))
    return None


def _command(cells: list[str], header: _Header) -> Command | SignalboxError | None:
    """The `set` command of a row of cells; None of a blank row."""
    if not any(cells):
        return None  # a blank line, also as a spreadsheet writes it
    if not max(header.key, header.value) < len(cells) <= header.width:
        return Malformed(f"The row has {len(cells)} cells; the first line names {header.width}.")
    key = cells[header.key]
    try:
        return set_command(unescape_formula(key), _cell_value(cells[header.value]))
    except SignalboxError as error:
        return error


def _unclosed_quote(row_lines: RowLines) -> SignalboxError:
    """The error is that of the first line: the others are parsed as rows of their own."""
    is_long, size = row_lines.is_full, row_lines.size
    row_lines.put_back_rest()
    if is_long:
        return TooLarge(
            f"A quote opens in this line and is not closed within {size} characters; allowed are "
            f"{MAX_LINE} bytes.",
            limit=MAX_LINE,
        )
    return Malformed(
        "A quote opens in this line that is not closed as CSV needs it; one within a quoted cell "
        "is written twice."
    )


def _cell_value(cell: str) -> Any:
    """The value in a cell; a text that begins as JSON must be JSON."""
    if cell in _SPREADSHEETS:
        return _SPREADSHEETS[cell]
    try:
        return parse_json(cell)
    except SignalboxError:
        if cell[:1] in set('{["'):
            raise
        return cell


def _text_of_line(line: Line) -> str:
    """What the CSV parser reads of a line."""
    return line.text
