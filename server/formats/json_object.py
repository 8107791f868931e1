"""One JSON object from key to value, of any size: member by member, without holding all of it."""

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

BLANK: Final = b" \t\r\n"
_STRING: Final = rb'"(?:[^"\\\r\n]++|\\[^\r\n])*+(?:(")|\\?(?=[\r\n]))|"'
"""To its closing quote, or the end of the line; where neither has come yet, its first quote."""
_OUTER: Final = re.compile(_STRING + rb"|[{}\[\],:]")
_INNER: Final = re.compile(_STRING + rb"|[{}\[\]]")
_MEMBER: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:(.*)', re.DOTALL)
_BRACKETS: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """Its members. Raises `Malformed` where there is no such object, or behind its end."""
    scanner = _Scanner()
    for block in with_line_feeds(blocks):
        for row in scanner.feed(block):
            yield [row]
    scanner.end()


class _Scanner:
    """Finds where members end: outside of texts, at depth 1. What they say is the decoder's part.

    `_text` holds what is not over yet; it begins in line `_line`, and the member at `_start`.
    """

    def __init__(self) -> None:
        self._text, self._line, self._at, self._depth = b"", 1, 0, 0
        self._is_over = False
        self._seen = set[int]()
        self._begin(0)

    def _begin(self, at: int, may_be_nothing: bytes = b"", fault: Malformed | None = None) -> None:
        """A member begins; before the signs `may_be_nothing` there need not be one."""
        self._start, self._may_be_nothing = at, may_be_nothing
        self._fault: SignalboxError | None = fault
        self._number: int | None = None
        self._name_at, self._has_colon = at, False
        self._cut_off = 0
        """Bytes of it that are not kept."""

    def feed(self, block: bytes) -> Iterator[Row]:
        """The members that end in this piece."""
        self._text += block
        while found := (_INNER if self._depth > 1 else _OUTER).search(self._text, self._at):
            self._check_nothing(found.start())
            if found[0] == b'"' and self._text[found.end() : found.end() + 1] not in (b"\r", b"\n"):
                self._at = found.start()
                break
            self._at = found.end()
            yield from self._token(found[0], found.start(), found[1] is not None)
        else:
            self._check_nothing(len(self._text))
            self._at = len(self._text)
        self._forget()

    def end(self) -> None:
        """Raises `Malformed` where the object is not over."""
        if self._is_over:
            return
        self._check_nothing(len(self._text))
        if self._depth == 0:
            raise Malformed(f"The file is empty; {EXPECTED}.")
        if self._number is None and not self._text[self._start :].strip(BLANK):
            raise Malformed("The file ends before its object does: it has no } at its end.")
        number = self._line_of(self._start) if self._number is None else self._number
        raise Malformed(
            f"Line {number}: what begins here does not end. Nothing behind it was read."
        )

    def _token(self, token: bytes, at: int, is_closed: bool) -> Iterator[Row]:
        if self._depth == 0:
            self._check_begins(token, at)
            self._depth = 1
            self._begin(self._at, b"}")
        elif token[:1] == b'"':
            yield from self._string(at, is_closed)
        elif self._depth > 1 or token in (b"{", b"["):
            self._depth += _BRACKETS[token]
        elif token in (b",", b"}"):
            yield from self._member(token, at)
        elif token == b":":
            yield from self._colon()

    def _member(self, sign: bytes, end: int) -> Iterator[Row]:
        is_nothing = self._number is None and not self._text[self._start : end].strip(BLANK)
        if not is_nothing or sign not in self._may_be_nothing:
            yield self._row(end)
        self._begin(self._at)
        if sign == b"}":
            self._depth, self._is_over = 0, True

    def _string(self, at: int, is_closed: bool) -> Iterator[Row]:
        """A text that is not closed ends with its line, and with it a member that it is part of."""
        if self._depth > 1:
            return
        self._name_at = at
        if not is_closed:
            self._fault = Malformed("A text in this line has no quote at its end.")
            self._number = self._line_of(at)
            yield self._row(self._at)
            self._begin(self._at, b",}")

    def _colon(self) -> Iterator[Row]:
        """A second one shows that there is no comma before the name."""
        if self._has_colon:
            name_at = self._name_at
            yield self._row(name_at)
            self._begin(name_at, fault=Malformed("There is no comma before the name in this line."))
        self._has_colon = True

    def _row(self, end: int) -> Row:
        number = self._line_of(self._start) if self._number is None else self._number
        if isinstance(self._fault, TooLarge) or end - self._start > MAX_LINE:
            size = end - self._start + self._cut_off
            return Row(number, b"", too_long(size, what="member"))
        text = self._text[self._start : end].strip(BLANK)
        return Row(number, text, self._fault or self._command(text))

    def _command(self, text: bytes) -> Command | SignalboxError:
        found = _MEMBER.fullmatch(text)
        if found is None:
            given = quoted(text.decode(errors="replace")) if text else "nothing"
            return Malformed(f'There is {given} instead of "key": value.')
        try:
            key = values.decode(found[1], "The key")
            value = values.decode(found[2].strip(BLANK), f"The value of {quoted(key)}")
            command = checked_set(key, value)
        except SignalboxError as error:
            return error
        if hash(key) in self._seen:
            return Malformed(f"The key {quoted(key)} stands there already.")
        self._seen.add(hash(key))
        return command

    def _forget(self) -> None:
        """Let go of what is over, and of a member that is too long."""
        if isinstance(self._fault, TooLarge) or len(self._text) - self._start > MAX_LINE:
            self._cut()
        gone = self._at if self._depth == 0 else self._start
        self._line += self._text.count(b"\n", 0, gone)
        self._text = self._text[gone:]
        self._at -= gone
        self._start, self._name_at = self._start - gone, self._name_at - gone

    def _cut(self) -> None:
        if self._number is None:
            self._number = self._line_of(self._start)
        self._fault = too_long(self._at - self._start, what="member")
        self._line += self._text.count(b"\n", 0, self._at)
        rest = self._text[self._at :]  # of a text whose end has not come; how it ends decides
        slashes = len(rest) - len(rest.rstrip(b"\\"))
        self._text = rest[:1] + b"\\" * (slashes % 2)
        self._cut_off += self._at - self._start + len(rest) - len(self._text)
        self._at = self._start = self._name_at = 0

    def _check_begins(self, token: bytes, at: int) -> None:
        if token != b"{" or self._is_over:
            raise self._no_object(at)

    def _check_nothing(self, end: int) -> None:
        """Around the object is nothing."""
        if self._depth == 0 and (rest := self._text[self._at : end]).strip(BLANK):
            raise self._no_object(self._at + len(rest) - len(rest.lstrip(BLANK)))

    def _no_object(self, at: int) -> Malformed:
        where = f"Line {self._line_of(at)} has something"
        if self._is_over:
            return Malformed(f"{where} behind the end of the object.")
        return Malformed(
            f"{where} before the {{ of an object; a JSON file is one, of keys and values."
        )

    def _line_of(self, at: int) -> int:
        """The line of what stands there or follows the blanks there."""
        rest = self._text[at:]
        at += len(rest) - len(rest.lstrip(BLANK))
        return self._line + self._text.count(b"\n", 0, at)
