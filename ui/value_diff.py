"""What differs between two values of a key: numbers by how much, texts by word, JSON by path.

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

LONGEST: Final = 16_000
"""Characters of JSON up to which it is compared by path."""
PATHS: Final = 6
"""Paths of a JSON value that are named; the rest is counted."""
CONTEXT: Final = 24
"""Characters of what is the same on either side of a change."""
CHANGED: Final = 160
"""Characters that one changed stretch of a text shows at most."""
TOKENS: Final = 200
"""Words and signs of the changed part of a text that are compared one by one."""
DIGITS: Final = 18
"""Digits of a difference that is written out exactly."""

WORD: Final = 80
"""Characters of a word at most; a longer one may be cut."""

_EXACT: Final = Context(prec=600_000)
"""More digits than two values together can have."""
_ROUGH: Final = Context(prec=6)
_TOKEN: Final = re.compile(r"\d+(?:[.,]\d+)+|\w+|\s+|[^\w\s]")
_BEGUN: Final = re.compile(r"(?:\w|(?<=\d)[.,](?=\d))+\Z")
_NAME: Final = re.compile(r"[^\W\d]\w*")


class Piece(NamedTuple):
    """`kind`: "same", "ins" (now there), "del" (no longer), "up" and "down" of a number, "path"."""

    kind: str
    text: str

    @property
    def size(self) -> int:
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
    """A number as it was written."""

    __slots__ = ()


def delta(before: str | None, after: str | None) -> Delta:
    """What made `after` of `before`; of another kind, or nothing to say, "other" and no pieces."""
    if before is None or after is None or before == after:
        return Delta("other")
    kinds = formatting.kind(before), formatting.kind(after)
    if kinds == ("number", "number"):
        return Delta("number", [step(before, after)])
    if kinds == ("text", "text"):
        return Delta("text", _by_word(_text(before), _text(after)))
    if kinds in (("list", "list"), ("object", "object")):
        return _by_path(before, after)
    return Delta("other")


def step(before: str, after: str) -> Piece:
    """By how much a number went up or down: exact, unless that takes more than `DIGITS`."""
    change = _EXACT.subtract(_decimal(after), _decimal(before))
    text = _plain(_EXACT.abs(change))
    return Piece("down", f"\N{MINUS SIGN}{text}") if change < 0 else Piece("up", f"+{text}")


def _decimal(raw: str) -> Decimal:
    return _EXACT.create_decimal(raw)


def _plain(number: Decimal) -> str:
    shortest = number.normalize(_EXACT)
    written = f"{shortest:f}"
    return written if len(written) <= DIGITS else f"{_ROUGH.plus(shortest).normalize(_ROUGH):e}"


def _text(raw: str) -> str:
    return str(msgspec.json.decode(raw))


# Texts


def _by_word(before: str, after: str) -> list[Piece]:
    head = _shared(before, after)
    tail = _shared(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    pieces = [Piece("same", after[:head]), *_middle(old, new)]
    pieces.append(Piece("same", after[len(after) - tail :] if tail else ""))
    return [_shortened(piece, pieces) for piece in pieces if piece.text]


def _shared(one: str, other: str) -> int:
    """How many characters both begin with, whole words only."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return min(low - _begun(one, low), low - _begun(other, low))


def _begun(text: str, at: int) -> int:
    """How many characters of a word or number stand before the place that is within it."""
    first = max(0, at - WORD)
    found = _BEGUN.search(text[first : at + 1]) if 0 < at < len(text) else None
    return max(0, at - first - found.start()) if found else 0


def _middle(old: str, new: str) -> Iterator[Piece]:
    one, other = _tokens(old), _tokens(new)
    if max(len(one), len(other)) > TOKENS:
        yield from (Piece("del", old), Piece("ins", new))
        return
    for kind, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(other[k:m]))
            continue
        yield Piece("del", "".join(one[i:j]))
        yield Piece("ins", "".join(other[k:m]))


def _tokens(text: str) -> list[str]:
    return [found[0] for found in islice(_TOKEN.finditer(text), TOKENS + 1)]


def _shortened(piece: Piece, pieces: Sequence[Piece]) -> Piece:
    """What is the same only beside a change, and of a change as much as one can read."""
    kind, text = piece
    if kind != "same":
        return Piece(kind, text if len(text) <= CHANGED else f"{text[: CHANGED - 1]}…")
    if len(text) <= 2 * CONTEXT + 1:
        return piece
    start = "" if piece is pieces[0] else text[:CONTEXT]
    end = "" if piece is pieces[-1] else text[-CONTEXT:]
    return Piece(kind, f"{start}…{end}")


# JSON


def _by_path(before: str, after: str) -> Delta:
    if max(len(before), len(after)) > LONGEST:
        return Delta("json", more=-1)
    lines = list(_walk(_parsed(before), _parsed(after), ""))
    return Delta("json", paths=lines[:PATHS], more=max(0, len(lines) - PATHS))


def _parsed(raw: str) -> Any:
    return json.loads(raw, parse_int=Number, parse_float=Number)


def _walk(before: Any, after: Any, path: str) -> Iterator[list[Piece]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            below = _below(path, name)
            if name not in after:
                yield _line(below, gone=before[name])
            elif name not in before:
                yield _line(below, came=after[name])
            else:
                yield from _walk(before[name], after[name], below)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _walk_list(before, after, path)
    elif not _same(before, after):
        yield _line(path, gone=before, came=after)


def _walk_list(before: list[Any], after: list[Any], path: str) -> Iterator[list[Piece]]:
    """Elements at both ends that are the same stay; between them, one is compared with another."""
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if not _same(before[i], after[i])), shorter)
    rest = range(1, shorter - head + 1)
    tail = next((i - 1 for i in rest if not _same(before[-i], after[-i])), len(rest))
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    for i in range(max(len(old), len(new))):
        below = f"{path}[{head + i}]"
        if i >= len(new):
            yield _line(below, gone=old[i])
        elif i >= len(old):
            yield _line(below, came=new[i])
        else:
            yield from _walk(old[i], new[i], below)


def _same(one: Any, other: Any) -> bool:
    """As the server has it: the same type and value; 1 equals 1.0, and true is no number."""
    if isinstance(one, Number) and isinstance(other, Number):
        return one == other or _decimal(one) == _decimal(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _below(path: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _line(path: str, **what: Any) -> list[Piece]:
    gone, came = what.get("gone", _line), what.get("came", _line)
    pieces = [Piece("path", path or "all")]
    if isinstance(gone, Number) and isinstance(came, Number):
        return [*pieces, Piece("same", str(came)), step(gone, came)]
    if gone is not _line:
        pieces.append(Piece("del", formatting.cut(_written(gone), 60)))
    if came is not _line:
        pieces.append(Piece("ins", formatting.cut(_written(came), 60)))
    return pieces


def _written(value: Any) -> str:
    """Compact JSON, with numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        inner = (f"{_written(name)}: {_written(each)}" for name, each in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
