"""JSON values: strict decoding, compact encoding, equality, size and depth (RFC 8259)."""

import json
import math
import re
from decimal import Context, Decimal
from itertools import accumulate
from typing import Any, Final

import msgspec
from jiter import from_json

from signalbox.server.model.errors import Invalid, Malformed, TooLarge

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 100
ENVELOPE: Final = 3
"""Levels around a value, at most: a batch, its list of commands and a command."""
MAX_INT_DIGITS: Final = 4_300
"""Python converts no longer text to an `int`, since that takes time that grows with the square of
the digits. Longer integers stay texts: `msgspec.Raw`, which is encoded as it is."""

TYPES: Final = {
    "null": "n",
    "boolean": "tf",
    "number": "-0123456789",
    "string": '"',
    "array": "[",
    "object": "{",
}
"""Each JSON type with the characters its text can begin with."""

_encode: Final = msgspec.json.Encoder().encode
_EXACT: Final = Context(prec=2 * MAX_BYTES)
_SIMPLE: Final = {str, int, bool, type(None), msgspec.Raw}
_CONTAINERS: Final = (dict, list)
_BEYOND_INT: Final = 10**MAX_INT_DIGITS
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class _NotJSON(ValueError):
    """What Python's own decoder accepts and RFC 8259 does not, in our words."""


def decode(body: bytes, what: str = "The body") -> Any:
    """The JSON value in `body` (UTF-8); integers beyond `MAX_INT_DIGITS` as `msgspec.Raw`.

    Raises `Malformed`, whose message begins with `what`, for anything that is not exactly one JSON
    value, including duplicate names, NaN, Infinity, lone surrogates and invalid UTF-8; `TooLarge`
    where it nests deeper than a value may within a batch, so that whoever gets it may recurse.
    """
    try:
        value = from_json(body, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)
    except ValueError:
        value = _decode_or_explain(body, what)
    if len(body) > MAX_DEPTH and body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        depth = _depth(value)
        if depth > MAX_DEPTH + ENVELOPE:
            raise _too_deep(depth)
    return value


def _decode_or_explain(body: bytes, what: str) -> Any:
    """As `decode`, by Python's own decoder: it reads integers of any length and locates errors."""
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if "\\u" in text:
            _refuse_surrogates(value)
        return value
    except UnicodeDecodeError as error:
        raise Malformed(
            f"{what} is not UTF-8: byte {error.start} is {body[error.start]:#04x}."
        ) from error
    except RecursionError:
        raise _unending(text) from None
    except json.JSONDecodeError as error:
        raise Malformed(f"{what} is not JSON: {_place(error)}.") from error
    except _NotJSON as error:
        raise Malformed(f"{what} is not JSON: {error}.") from error


def _place(error: json.JSONDecodeError) -> str:
    """Where a text violates JSON's syntax, as part of a sentence; characters count from 1."""
    if error.pos >= len(error.doc.rstrip()):
        return "it ends where more is needed"
    if error.msg.startswith("Unterminated string"):
        return f"the string that begins at its character {error.pos + 1} does not end"
    return f"its character {error.pos + 1}, {error.doc[error.pos]!r}, is not allowed there"


def encode(value: Any) -> str:
    """`value` as compact JSON text; what `decode` returned comes back equal."""
    return _encode(value).decode()


def same(one: str, other: str) -> bool:
    """Whether two JSON texts are equal: same type and value, recursively; 1 equals 1.0."""
    if one == other:
        return True
    both = one + other
    if both.isdigit() or (one[0] == other[0] == '"' and "\\" not in both):
        return False  # most commands: integers and plain texts have one encoding alone
    return _same_decoded(decode(one.encode()), decode(other.encode()))


def type_of(raw: str) -> str:
    """The JSON type's name of a JSON text, a key of `TYPES`."""
    return next(name for name, starts in TYPES.items() if raw[0] in starts)


def shown_text(raw: str) -> str:
    """What a search looks at in a JSON text: a string's content, else the text itself."""
    return str(msgspec.json.decode(raw)) if raw[:1] == '"' else raw


def size(raw: str) -> int:
    """The bytes of a JSON text in UTF-8."""
    return len(raw) if raw.isascii() else len(raw.encode())


def check_size(raw: str, key: str, field: str = "value") -> None:
    """Raises `TooLarge` where the encoded value exceeds `MAX_BYTES`."""
    if (given := size(raw)) > MAX_BYTES:
        raise TooLarge(
            f"The {field} of {key} has {given} bytes; allowed are {MAX_BYTES}.",
            key=key,
            limit=MAX_BYTES,
        )


def check(value: Any, key: str) -> None:
    """Check a decoded value of a key.

    Raises `TooLarge` beyond `MAX_DEPTH` and `Invalid` for a float that has overflowed.
    """
    if type(value) in _SIMPLE or (isinstance(value, float) and math.isfinite(value)):
        return
    level, depth = [value], 0
    while level:
        if any(isinstance(inner, float) and not math.isfinite(inner) for inner in level):
            raise Invalid(
                f"A number in the value of {key} is beyond what a 64-bit float can hold.", key=key
            )
        if depth == MAX_DEPTH and any(isinstance(inner, _CONTAINERS) for inner in level):
            raise _too_deep(_depth(value))
        level, depth = [inner for outer in level for inner in _children(outer)], depth + 1


def _children(value: Any) -> list[Any]:
    """The values directly within a JSON array or object."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _depth(value: Any) -> int:
    """The depth of nested arrays and objects in a decoded value."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, _CONTAINERS)]:
        level, depth = [inner for outer in level for inner in _children(outer)], depth + 1
    return depth


def _unending(text: str) -> TooLarge:
    """The refusal of a text that nests too deep to decode; it is examined up to `MAX_BYTES`."""
    signs = _STRING.sub("", text[:MAX_BYTES])
    steps = ((sign in "[{") - (sign in "]}") for sign in signs)
    return _too_deep(max(accumulate(steps)), "at least " if len(text) > MAX_BYTES else "")


def _too_deep(depth: int, least: str = "") -> TooLarge:
    """The refusal of a value that nests deeper than allowed."""
    return TooLarge(
        f"The JSON nests deeper than {MAX_DEPTH} levels: it has {least}{depth}.", limit=MAX_DEPTH
    )


def is_number(value: Any) -> bool:
    """Whether a decoded value is a JSON number."""
    return isinstance(value, int | float | msgspec.Raw) and not isinstance(value, bool)


def total(one: Any, other: Any) -> Any:
    """The exact sum of two integers, else that of floats, infinite where none can hold it."""
    if not isinstance(one, float) and not isinstance(other, float):
        if isinstance(one, int) and isinstance(other, int):
            summed = one + other
            if abs(summed) < _BEYOND_INT:
                return summed
        return integer(format(_EXACT.add(as_decimal(one), as_decimal(other)), "f"))
    try:
        return float(one) + float(other)
    except (OverflowError, TypeError):  # an integer beyond every float
        return math.inf


def as_decimal(number: Any) -> Decimal:
    """A JSON number without rounding, so that numbers compare as they are written."""
    return Decimal(bytes(number).decode() if isinstance(number, msgspec.Raw) else number)


def integer(text: str) -> Any:
    """A JSON integer; one of too many digits for Python's `int` stays as it is written."""
    return int(text) if len(text.lstrip("-")) <= MAX_INT_DIGITS else msgspec.Raw(text.encode())


def _same_decoded(one: Any, other: Any) -> bool:
    """Whether two decoded JSON values are equal; the order of members does not count."""
    if isinstance(one, msgspec.Raw) or isinstance(other, msgspec.Raw):
        return type(one) is type(other) and bytes(one) == bytes(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same_decoded(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_decoded, one, other))
    return bool(one == other)


def _refuse_surrogates(value: Any) -> None:
    """Raises `_NotJSON` where a string in the value cannot be encoded as UTF-8."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise _NotJSON("a string holds half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its names and values. Raises `_NotJSON` where a name occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotJSON(f"the name {json.dumps(twice)} occurs twice in one object")
    return result


def _constant(text: str) -> Any:
    """Refuses NaN and Infinity, which Python's JSON decoder would accept."""
    raise _NotJSON(f"{text} is not a JSON value")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=integer
)
