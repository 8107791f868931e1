"""The difference between two values of a key: numbers by amount, texts by word, JSON by path.

Pure; values are given as compact JSON text, None where there is no such key.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from signalbox.ui import formatting

MAX_JSON: Final = 16_000
"""Characters of JSON up to which it is compared by path."""
MAX_PATHS: Final = 6
"""Paths of a JSON value that are listed; the others are counted."""
CONTEXT: Final = 24
"""Characters of unchanged text on either side of a change."""
MAX_CHANGE: Final = 160
"""Characters of one changed part of a text, at most."""
MAX_TOKENS: Final = 200
"""Words and signs of the changed part of a text that are compared one by one."""
MAX_DIGITS: Final = 18
"""Digits of a difference that is shown exactly."""

MAX_WORD: Final = 80
"""Characters of a word, at most; a longer one may be split."""

_ABSENT: Final = object()
_EXACT: Final = Context(prec=600_000)
"""More digits than two values together can have."""
_ROUGH: Final = Context(prec=6)
_TOKEN: Final = re.compile(r"\d+(?:[.,]\d+)+|\w+|\s+|[^\w\s]")
_WORD_END: Final = re.compile(r"(?:\w|(?<=\d)[.,](?=\d))+\Z")
_NAME: Final = re.compile(r"[^\W\d]\w*")


class Piece(NamedTuple):
    """`kind`: "same", "ins" (inserted), "del" (deleted), "up" and "down" of a number, "path"."""

    kind: str
    text: str

    @property
    def size(self) -> int:
        """The length of the piece in characters."""
        return len(self.text)


class Delta(NamedTuple):
    """`kind`: "number" (one piece), "text" (the whole text's pieces), "json" or "other".

    `paths` has one line for each path of a JSON value; `more` counts those left out.
    """

    kind: str
    pieces: Sequence[Piece] = ()
    paths: Sequence[Sequence[Piece]] = ()
    more: int = 0


class Number(str):
    """A number as in the JSON text."""

    __slots__ = ()


def delta(before: str | None, after: str | None) -> Delta:
    """The difference from `before` to `after`; "other" without pieces where the types differ."""
    if before is None or after is None or before == after:
        return Delta("other")
    kinds = formatting.type_name(before), formatting.type_name(after)
    if kinds == ("number", "number"):
        return Delta("number", [step(before, after)])
    if kinds == ("text", "text"):
        return Delta("text", _text_diff(_string(before), _string(after)))
    if kinds in (("list", "list"), ("object", "object")):
        return _json_diff(before, after)
    return Delta("other")


def step(before: str, after: str) -> Piece:
    """The increase or decrease of a number: exact unless it has more than `MAX_DIGITS`."""
    change = _EXACT.subtract(_decimal(after), _decimal(before))
    text = _decimal_text(_EXACT.abs(change))
    return Piece("down", f"\N{MINUS SIGN}{text}") if change < 0 else Piece("up", f"+{text}")


def _decimal(raw: str) -> Decimal:
    """A number as an exact decimal, so that the difference of two is exact."""
    return _EXACT.create_decimal(raw)


def _decimal_text(number: Decimal) -> str:
    """The difference of two numbers as a text, rounded where it has too many digits."""
    shortest = number.normalize(_EXACT)
    written = f"{shortest:f}"
    return written if len(written) <= MAX_DIGITS else f"{_ROUGH.plus(shortest).normalize(_ROUGH):e}"


def _string(raw: str) -> str:
    """The text of a value that is a JSON string."""
    return str(msgspec.json.decode(raw))


# Texts


def _text_diff(before: str, after: str) -> list[Piece]:
    """The difference of two texts, word by word between their common beginning and end."""
    head = _common_prefix(before, after)
    tail = _common_prefix(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    pieces = [Piece("same", after[:head]), *_changed_pieces(old, new)]
    pieces.append(Piece("same", after[len(after) - tail :] if tail else ""))
    return [_shortened(piece, pieces) for piece in pieces if piece.text]


def _common_prefix(one: str, other: str) -> int:
    """The length of the common prefix, whole words only."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return min(low - _word_overlap(one, low), low - _word_overlap(other, low))


def _word_overlap(text: str, at: int) -> int:
    """How many characters of a word or number are before a position within it."""
    first = max(0, at - MAX_WORD)
    word_end = _WORD_END.search(text[first : at + 1]) if 0 < at < len(text) else None
    return max(0, at - first - word_end.start()) if word_end else 0


def _changed_pieces(old: str, new: str) -> Iterator[Piece]:
    """The pieces of the text between the common beginning and end, word by word."""
    one, other = _tokens(old), _tokens(new)
    if max(len(one), len(other)) > MAX_TOKENS:
        yield from (Piece("del", old), Piece("ins", new))
        return
    for kind, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(other[k:m]))
            continue
        yield Piece("del", "".join(one[i:j]))
        yield Piece("ins", "".join(other[k:m]))


def _tokens(text: str) -> list[str]:
    """The words of a text, and what is between them."""
    return [found[0] for found in islice(_TOKEN.finditer(text), MAX_TOKENS + 1)]


def _shortened(piece: Piece, pieces: Sequence[Piece]) -> Piece:
    """Unchanged text only beside a change, and a change up to `MAX_CHANGE`."""
    kind, text = piece
    if kind != "same":
        return Piece(kind, text if len(text) <= MAX_CHANGE else f"{text[: MAX_CHANGE - 1]}…")
    if len(text) <= 2 * CONTEXT + 1:
        return piece
    start = "" if piece is pieces[0] else text[:CONTEXT]
    end = "" if piece is pieces[-1] else text[-CONTEXT:]
    return Piece(kind, f"{start}…{end}")


# JSON


def _json_diff(before: str, after: str) -> Delta:
    """The difference of two objects or arrays, path by path."""
    if max(len(before), len(after)) > MAX_JSON:
        return Delta("json", more=-1)
    lines = list(_compare(_parse(before), _parse(after), ""))
    return Delta("json", paths=lines[:MAX_PATHS], more=max(0, len(lines) - MAX_PATHS))


def _parse(raw: str) -> Any:
    """A JSON value with its numbers as they are written."""
    return json.loads(raw, parse_int=Number, parse_float=Number)


def _compare(before: Any, after: Any, path: str) -> Iterator[list[Piece]]:
    """A line for each path at which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            below = _child_path(path, name)
            if name not in after:
                yield _line(below, removed=before[name])
            elif name not in before:
                yield _line(below, added=after[name])
            else:
                yield from _compare(before[name], after[name], below)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(before, after, path)
    elif not _is_unchanged(before, after):
        yield _line(path, removed=before, added=after)


def _compare_lists(before: list[Any], after: list[Any], path: str) -> Iterator[list[Piece]]:
    """Skip equal elements at both ends; those in between are compared in order."""
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if not _is_unchanged(before[i], after[i])), shorter)
    rest = range(1, shorter - head + 1)
    tail = next((i - 1 for i in rest if not _is_unchanged(before[-i], after[-i])), len(rest))
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    for i in range(max(len(old), len(new))):
        below = f"{path}[{head + i}]"
        if i >= len(new):
            yield _line(below, removed=old[i])
        elif i >= len(old):
            yield _line(below, added=new[i])
        else:
            yield from _compare(old[i], new[i], below)


def _is_unchanged(one: Any, other: Any) -> bool:
    """Whether parts of values are equal, as on the server: 1 equals 1.0, true is no number."""
    if isinstance(one, Number) and isinstance(other, Number):
        return one == other or _decimal(one) == _decimal(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _is_unchanged(one[name], other[name]) for name in one
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_unchanged, one, other))
    return bool(one == other)


def _child_path(path: str, name: str) -> str:
    """The path of a member below a path, as JavaScript writes it."""
    if not _NAME.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _line(path: str, removed: Any = _ABSENT, added: Any = _ABSENT) -> list[Piece]:
    """The line that says what has changed at a path of a JSON value."""
    pieces = [Piece("path", path or "all")]
    if isinstance(removed, Number) and isinstance(added, Number):
        return [*pieces, Piece("same", str(added)), step(removed, added)]
    if removed is not _ABSENT:
        pieces.append(Piece("del", formatting.truncate(_as_text(removed), 60)))
    if added is not _ABSENT:
        pieces.append(Piece("ins", formatting.truncate(_as_text(added), 60)))
    return pieces


def _as_text(value: Any) -> str:
    """JSON with numbers as in the original text."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        inner = (f"{_as_text(name)}: {_as_text(member)}" for name, member in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
