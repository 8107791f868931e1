"""Parses one JSON object of keys and values, member by member, so that its size is unlimited."""

import re
from collections.abc import Iterator
from typing import Final

from signalbox.server.formats.text_lines import (
    EXPECTED,
    MAX_LINE,
    Row,
    too_long,
    with_line_feeds,
)
from signalbox.server.model import values
from signalbox.server.model.commands import Command, checked_set
from signalbox.server.model.errors import (
    Malformed,
    SignalboxError,
    TooLarge,
    quoted,
)

WHITESPACE: Final = b" \t\r\n"
_STRING: Final = rb'"(?:[^"\\\r\n]++|\\[^\r\n])*+(?:(")|\\?(?=[\r\n]))|"'
"""A string to its closing quote or the end of the line; without either, its first quote."""
_OUTER: Final = re.compile(_STRING + rb"|[{}\[\],:]")
_INNER: Final = re.compile(_STRING + rb"|[{}\[\]]")
_MEMBER: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:(.*)', re.DOTALL)
_BRACKETS: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """One row for each member of a JSON object. Raises `Malformed` for anything but one."""
    scanner = _Scanner()
    for block in with_line_feeds(blocks):
        for row in scanner.feed(block):
            yield [row]
    scanner.end()


class _Scanner:
    """Finds the ends of members: outside of strings, at depth 1. The decoder parses each.

    `_text` is what is not consumed yet; it begins in line `_line`, and the member at `_start`.
    """

    def __init__(self) -> None:
        """A scanner of a JSON object, before its first block."""
        self._text, self._line, self._at, self._depth = b"", 1, 0, 0
        self._is_over = False
        self._seen = set[int]()
        self._begin_member(0)

    def _begin_member(
        self, at: int, may_be_empty: bytes = b"", fault: Malformed | None = None
    ) -> None:
        """Begin a member; it may be missing before one of the characters `may_be_empty`."""
        self._start, self._may_be_empty = at, may_be_empty
        self._fault: SignalboxError | None = fault
        self._number: int | None = None
        self._name_at, self._has_colon = at, False
        self._bytes_dropped = 0
        """Bytes of the member that were dropped."""

    def feed(self, block: bytes) -> Iterator[Row]:
        """Rows of the members that end in this block."""
        self._text += block
        while token := (_INNER if self._depth > 1 else _OUTER).search(self._text, self._at):
            self._check_blank(token.start())
            if token[0] == b'"' and self._text[token.end() : token.end() + 1] not in (b"\r", b"\n"):
                self._at = token.start()
                break
            self._at = token.end()
            yield from self._token(token[0], token.start(), token[1] is not None)
        else:
            self._check_blank(len(self._text))
            self._at = len(self._text)
        self._drop_consumed()

    def end(self) -> None:
        """End the scan of the file. Raises `Malformed` where the object is not complete."""
        if self._is_over:
            return
        self._check_blank(len(self._text))
        if self._depth == 0:
            raise Malformed(f"The file is empty; {EXPECTED}.")
        if self._number is None and not self._text[self._start :].strip(WHITESPACE):
            raise Malformed("The file ends before its object does: it has no } at its end.")
        number = self._line_of(self._start) if self._number is None else self._number
        raise Malformed(
            f"Line {number}: what begins here does not end. Nothing behind it was read."
        )

    def _token(self, token: bytes, at: int, is_closed: bool) -> Iterator[Row]:
        """Handle a bracket, comma, colon or string of the JSON object."""
        if self._depth == 0:
            self._check_object_start(token, at)
            self._depth = 1
            self._begin_member(self._at, b"}")
        elif token[:1] == b'"':
            yield from self._string(at, is_closed)
        elif self._depth > 1 or token in (b"{", b"["):
            self._depth += _BRACKETS[token]
        elif token in (b",", b"}"):
            yield from self._member(token, at)
        elif token == b":":
            yield from self._colon()

    def _member(self, sign: bytes, end: int) -> Iterator[Row]:
        """The row of the member that ends with this comma or brace, if there is one."""
        is_nothing = self._number is None and not self._text[self._start : end].strip(WHITESPACE)
        if not is_nothing or sign not in self._may_be_empty:
            yield self._row(end)
        self._begin_member(self._at)
        if sign == b"}":
            self._depth, self._is_over = 0, True

    def _string(self, at: int, is_closed: bool) -> Iterator[Row]:
        """A string that is not closed ends with its line, and so does its member."""
        if self._depth > 1:
            return
        self._name_at = at
        if not is_closed:
            self._fault = Malformed("A text in this line has no quote at its end.")
            self._number = self._line_of(at)
            yield self._row(self._at)
            self._begin_member(self._at, b",}")

    def _colon(self) -> Iterator[Row]:
        """A second colon shows that the comma before the name is missing."""
        if self._has_colon:
            name_at = self._name_at
            yield self._row(name_at)
            self._begin_member(
                name_at, fault=Malformed("There is no comma before the name in this line.")
            )
        self._has_colon = True

    def _row(self, end: int) -> Row:
        """The row of a member: a `set` command, or what is wrong with its key or value."""
        number = self._line_of(self._start) if self._number is None else self._number
        if isinstance(self._fault, TooLarge) or end - self._start > MAX_LINE:
            size = end - self._start + self._bytes_dropped
            return Row(number, b"", too_long(size, what="member"))
        text = self._text[self._start : end].strip(WHITESPACE)
        return Row(number, text, self._fault or self._command(text))

    def _command(self, text: bytes) -> Command | SignalboxError:
        """The `set` command of a member of the object."""
        member = _MEMBER.fullmatch(text)
        if member is None:
            given = quoted(text.decode(errors="replace")) if text else "nothing"
            return Malformed(f'There is {given} instead of "key": value.')
        try:
            key = values.decode(member[1], "The key")
            if not (raw := member[2].strip(WHITESPACE)):
                return Malformed(f"The key {quoted(key)} has no value.")
            value = values.decode(raw, f"The value of {quoted(key)}")
            command = checked_set(key, value)
        except SignalboxError as error:
            return error
        if hash(key) in self._seen:
            return Malformed(f"The key {quoted(key)} occurs twice.")
        self._seen.add(hash(key))
        return command

    def _drop_consumed(self) -> None:
        """Drop what is consumed, and a member that is too long."""
        if isinstance(self._fault, TooLarge) or len(self._text) - self._start > MAX_LINE:
            self._truncate_member()
        gone = self._at if self._depth == 0 else self._start
        self._line += self._text.count(b"\n", 0, gone)
        self._text = self._text[gone:]
        self._at -= gone
        self._start, self._name_at = self._start - gone, self._name_at - gone

    def _truncate_member(self) -> None:
        """Drop the text of a member that is too large; reading goes on behind it."""
        if self._number is None:
            self._number = self._line_of(self._start)
        self._fault = too_long(self._at - self._start, what="member")
        self._line += self._text.count(b"\n", 0, self._at)
        unread = self._text[self._at :]  # of an open string: its last backslashes count
        slashes = len(unread) - len(unread.rstrip(b"\\"))
        self._text = unread[:1] + b"\\" * (slashes % 2)
        self._bytes_dropped += self._at - self._start + len(unread) - len(self._text)
        self._at = self._start = self._name_at = 0

    def _check_object_start(self, token: bytes, at: int) -> None:
        """Raises `Malformed` unless the file begins with an object."""
        if token != b"{" or self._is_over:
            raise self._no_object(at)

    def _check_blank(self, end: int) -> None:
        """Raises `Malformed` for anything but blanks around the object."""
        if self._depth == 0 and (blank := self._text[self._at : end]).strip(WHITESPACE):
            raise self._no_object(self._at + len(blank) - len(blank.lstrip(WHITESPACE)))

    def _no_object(self, at: int) -> Malformed:
        """The error of a JSON file that is not one object."""
        where = f"Line {self._line_of(at)} has something"
        if self._is_over:
            return Malformed(f"{where} behind the end of the object.")
        return Malformed(
            f"{where} before the {{ of an object; a JSON file is one, of keys and values."
        )

    def _line_of(self, at: int) -> int:
        """The number of the line at this position, after blanks."""
        rest = self._text[at:]
        at += len(rest) - len(rest.lstrip(WHITESPACE))
        return self._line + self._text.count(b"\n", 0, at)
