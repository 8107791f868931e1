"""Parses `.env` files, and writes values for `export --format env`: NAME=value.

A value that begins with a quote is parsed as by a shell, also over several lines. Any other is
literal text, up to ` #` or the end of the line. Nothing is expanded.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

from signalbox.server.formats.row_values import json_or_text, scalar_or_text, set_command
from signalbox.server.formats.text_lines import Line, Row, RowLines, lines
from signalbox.server.model import values
from signalbox.server.model.commands import Command
from signalbox.server.model.errors import Malformed, SignalboxError, quoted

QUOTES: Final = ("'", '"')
_COMMENT: Final = re.compile(r"\s#.*", re.DOTALL)
_UNTIL: Final = {
    "'": re.compile(r"([^']*+)('?)", re.DOTALL),
    '"': re.compile(r'((?:[^"\\]++|\\.?)*+)("?)', re.DOTALL),
}
"""By quote: the text behind it, and the closing quote if it is in the same line."""
_ESCAPED: Final = re.compile(r'\\(?:([\\"$`])|\r?\n|\r)')
_OPENS: Final = re.compile(r"\s*(?:export\s+)?[A-Za-z_]\w*\s*=\s*(['\"])")
"""The beginning of a line that sets a quoted value."""
_BARE: Final = re.compile(r"(?:[^\s'\"\\]|\\.)++", re.DOTALL)


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """One row for each variable of an env file, without blank lines and comments."""
    row_lines = RowLines(lines(blocks))
    while True:
        row_lines.start_row()
        if (line := next(row_lines, None)) is None:
            return
        text = line.text.strip()
        if line.fault is not None or (text and not text.startswith("#")):
            yield [row_lines.row(_command(line, row_lines))]


def shell_word(raw: str) -> str:
    """A JSON text as a word of a shell, which `read` parses as the same value."""
    if raw[0] == '"' and "\\u0000" not in raw:
        text = str(values.decode(raw.encode()))
        return shlex.quote(text) if scalar_or_text(text) == text else f"'{text}'"
    if raw[0] in '{["':
        return '"' + re.sub(r'([\\"$`])', r"\\\1", raw) + '"'
    return raw


def _command(line: Line, row_lines: RowLines) -> Command | SignalboxError:
    """The `set` command of a line NAME=value; a quoted value may go on in the next lines."""
    name, equals, value = line.text.partition("=")
    if not equals:
        return Malformed(f"The line is {quoted(line.text.strip())}; allowed is NAME=value.")
    name = re.sub(r"^export\s", "", name.strip()).strip()
    if not value.strip().startswith(QUOTES):
        return set_command(name, scalar_or_text(_COMMENT.sub("", value).strip()))
    word = _QuotedValue()
    try:
        word.add(value.lstrip())
        while not word.is_over:
            following = next(row_lines, None)
            if following is None:
                raise Malformed(f"The quote behind {name}= is never closed.")
            word.add(following.text)
    except SignalboxError as error:
        row_lines.put_back_rest()
        return error
    return set_command(name, word.value)


class _QuotedValue:
    """A value that begins with a quote, parsed as by a shell, line by line."""

    def __init__(self) -> None:
        """A quoted value of an env file, of which no line is read yet."""
        self._parts: list[str] = []
        self._quote = self._first = ""
        self._lines = 0
        self.is_over = False

    @property
    def value(self) -> Any:
        """The value, once its quote is closed."""
        text = "".join(self._parts)
        return _json_or_text(text) if self._first == '"' else text

    def add(self, text: str) -> None:
        """Parse the next line. Raises `Malformed` for what may not follow a quoted value."""
        at, self._lines = 0, self._lines + 1
        while at < len(text):
            if self._quote:
                at = self._read_quoted(text, at)
            elif text[at].isspace():
                break
            elif text[at] in QUOTES:
                self._quote = text[at]
                self._first = self._first or self._quote
                at += 1
            else:
                at = self._read_bare(text, at)
        if not self._quote:
            self.is_over = True
            self._check_rest(text[:at], text[at:].strip())

    def _read_quoted(self, text: str, at: int) -> int:
        """Read on within the quote, up to its end or that of the line; where that was."""
        match = _UNTIL[self._quote].match(text, at)
        assert match is not None
        self._parts.append(match[1] if self._quote == "'" else _ESCAPED.sub(r"\1", match[1]))
        if match[2]:
            self._quote = ""
        return match.end()

    def _read_bare(self, text: str, at: int) -> int:
        """Read the part of a value between two quotes; where it ends."""
        match = _BARE.match(text, at)
        if match is None or (self._lines > 1 and text[at] != "\\"):
            # After several lines, a forgotten quote is more likely than another part of the value.
            raise _not_closed()
        self._parts.append(re.sub(r"\\(.)", r"\1", match[0], flags=re.DOTALL))
        return match.end()

    def _check_rest(self, before: str, rest: str) -> None:
        """Check the rest of the last line; a comment with a quote shows that one was forgotten."""
        if rest and not rest.startswith("#"):
            raise Malformed(
                f"After the quoted value comes {quoted(rest)}; only a comment is allowed."
            )
        opens = _OPENS.fullmatch(before) if self._lines > 1 else None
        if opens is not None and opens[1] in rest:
            raise _not_closed()


def _not_closed() -> Malformed:
    """The error of a value whose closing quote was forgotten."""
    return Malformed("The quote of this value is not closed before another one begins.")


def _json_or_text(text: str) -> Any:
    """The array, the object or the text with U+0000 that `shell_word` puts in double quotes."""
    if text[:1] not in ("{", "[", '"') or (text[0] == '"' and "\\u0000" not in text):
        return text
    return json_or_text(text)
