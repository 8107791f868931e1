"""JSON values: strict decoding, compact encoding, equality, size and depth (RFC 8259)."""

import json
import math
import re
from decimal import Context, Decimal
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from signalbox.server.model.errors import Invalid, Malformed, TooLarge

Decoded = TypeVar("Decoded")

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 100
ENVELOPE: Final = 3
"""Levels around a value at most: a batch, its list of commands and one of them."""
MAX_FLOAT_DIGITS: Final = 309
"""An integer of more digits is no float's equal. `int` takes time that grows with the square of the
digits, so longer ones stay texts: `msgspec.Raw`, which is encoded as it is."""

TYPES: Final = {
    "null": "n",
    "boolean": "tf",
    "number": "-0123456789",
    "string": '"',
    "array": "[",
    "object": "{",
}
"""Each JSON type with the characters its text can begin with."""

_EXACT: Final = Context(prec=2 * MAX_BYTES)
_SIMPLE: Final = (str, int, type(None), msgspec.Raw)
_LONG: Final = re.compile(rf"\d{{{MAX_FLOAT_DIGITS + 1}}}")
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SPACED: Final = re.compile(rb"\s:")
"""A name that does not end directly before its colon."""


class NotJSON(ValueError):
    """What decoders take though RFC 8259 does not; in our words."""


def decode(body: bytes, what: str = "The body") -> Any:
    """The JSON value in `body` (UTF-8); integers beyond `MAX_FLOAT_DIGITS` as `msgspec.Raw`.

    Raises `Malformed`, which begins with `what`, for anything that is not exactly one JSON value,
    including duplicate names, NaN, Infinity, lone surrogates and bad UTF-8; `TooLarge` where it
    nests deeper than a value may within a batch (so that nothing behind needs to care).
    """
    if is_plain(body):
        try:
            value = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _decode_slowly(body, what)
        if names_once(body, value):
            return value
    return _decode_slowly(body, what)


def is_plain(text: bytes) -> bool:
    """Whether `names_once` can tell, and no depth can hurt."""
    if b"\\" in text or (text.count(b":") > text.count(b'":') and _SPACED.search(text)):
        return False
    return len(text) <= 2 * MAX_DEPTH or text.count(b"[") + text.count(b"{") <= MAX_DEPTH


def names_once(text: bytes, value: Any) -> bool:
    """Whether no name stands twice in one object of the plain JSON `text`, which says `value`.

    Decoders made for speed take the last of two equal names. In a plain text every name ends with a
    quote and a colon and no string contains that: it must be there as often as in what was read.
    """
    return text.count(b'":') == _NAMES.encode(value).count(b'":')


def _decode_slowly(body: bytes, what: str) -> Any:
    try:
        text = body.decode()
        decoder = _LONG_DECODER if _LONG.search(text) else _DECODER
        value = decoder.decode(text)
        if text.count("[") + text.count("{") > MAX_DEPTH and _nests_deeper(
            value, MAX_DEPTH + ENVELOPE
        ):
            raise _too_deep(_depth(value))
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
    except NotJSON as error:
        raise Malformed(f"{what} is not JSON: {error}.") from error


def _place(error: json.JSONDecodeError) -> str:
    """Where a text stops being JSON, counted within the text alone."""
    if error.pos >= len(error.doc.rstrip()):
        return "it ends where more is needed"
    if error.msg.startswith("Unterminated string"):
        return f"the string that begins at its character {error.pos + 1} does not end"
    return f"its character {error.pos + 1}, {error.doc[error.pos]!r}, cannot stand there"


def decode_as(decoder: msgspec.json.Decoder[Decoded], text: bytes) -> Decoded:
    """What `text` says in the type of `decoder`.

    For what is ours, or is looked at again part by part: of two equal names the last one counts.
    Raises `Malformed`, and `TooLarge` where it nests deeper than any decoder goes.
    """
    try:
        return decoder.decode(text)
    except RecursionError:
        raise _unending(text.decode(errors="replace")) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed("It is not as its fields must be.") from error


def encode(value: Any) -> str:
    """`value` as compact JSON text; what `decode` returned comes back equal."""
    return msgspec.json.encode(value).decode()


def same(one: str, other: str) -> bool:
    """Whether two JSON texts mean the same: same type and value, recursively; 1 equals 1.0."""
    if one == other:
        return True
    both = one + other
    if both.isdigit() or (one[0] == other[0] == '"' and "\\" not in both):
        return False  # most commands: integers and texts that are spelt in one way alone
    return _same(decode(one.encode()), decode(other.encode()))


def type_of(raw: str) -> str:
    """The JSON type's name of a JSON text, a key of `TYPES`."""
    return next(name for name, starts in TYPES.items() if raw[0] in starts)


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
    """Raises `TooLarge` beyond `MAX_DEPTH` and `Invalid` for a float that has overflowed."""
    if isinstance(value, _SIMPLE) or (isinstance(value, float) and math.isfinite(value)):
        return
    level, depth = [value], 0
    while level:
        if any(isinstance(inner, float) and not math.isfinite(inner) for inner in level):
            raise Invalid(
                f"A number in the value of {key} is beyond what a 64-bit float can hold.", key=key
            )
        if depth == MAX_DEPTH and any(isinstance(inner, dict | list) for inner in level):
            raise _too_deep(_depth(value))
        level, depth = [inner for outer in level for inner in _inside(outer)], depth + 1


def _nests_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _inside(outer)]
    return any(isinstance(inner, dict | list) for inner in level)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _depth(value: Any) -> int:
    """How many arrays and objects of a decoded value lie in each other."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        level, depth = [inner for outer in level for inner in _inside(outer)], depth + 1
    return depth


def _unending(text: str) -> TooLarge:
    """The refusal of a text that no decoder follows to its end, and we no further than a value."""
    signs = _STRING.sub("", text[:MAX_BYTES])
    steps = ((sign in "[{") - (sign in "]}") for sign in signs)
    return _too_deep(max(accumulate(steps)), "at least " if len(text) > MAX_BYTES else "")


def _too_deep(depth: int, least: str = "") -> TooLarge:
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
            return one + other
        return _integer(format(_EXACT.add(_exact(one), _exact(other)), "f"))
    try:
        return float(one) + float(other)
    except (OverflowError, TypeError):  # an integer beyond every float
        return math.inf


def _exact(number: Any) -> Decimal:
    return Decimal(bytes(number).decode() if isinstance(number, msgspec.Raw) else number)


def _integer(text: str) -> Any:
    return int(text) if len(text) <= MAX_FLOAT_DIGITS else msgspec.Raw(text.encode())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, msgspec.Raw) or isinstance(other, msgspec.Raw):
        return type(one) is type(other) and bytes(one) == bytes(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _refuse_surrogates(value: Any) -> None:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise NotJSON("a string holds half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJSON(f"the name {json.dumps(twice)} stands twice in one object")
    return result


def _constant(text: str) -> Any:
    raise NotJSON(f"{text} is not a JSON value")


_NAMES: Final = msgspec.json.Encoder()
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_LONG_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
)
