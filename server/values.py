"""JSON values: strict decoding, compact encoding, equality, size and depth (RFC 8259)."""

import json
import math
from typing import Any, Final

import msgspec

from server.errors import Invalid, Malformed, TooLarge

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 100
_SIMPLE: Final = (str, int, type(None))
ENVELOPE: Final = 3
"""Levels around a value at most: a batch, its list of commands and one of them."""
MAX_DIGITS: Final = 300_000
"""Python refuses integers of more than 4,300 digits unless told otherwise; a value may hold one of
256 KiB. Set once per process with `sys.set_int_max_str_digits`."""

TYPES: Final = {
    "null": "n",
    "boolean": "tf",
    "number": "-0123456789",
    "string": '"',
    "array": "[",
    "object": "{",
}
"""Each JSON type with the characters its text can begin with."""


def decode(body: bytes) -> Any:
    """The JSON value in `body` (UTF-8).

    Raises `Malformed` for anything that is not exactly one JSON value, including duplicate names,
    NaN, Infinity, lone surrogates and bad UTF-8; `TooLarge` where it nests deeper than a value may
    within a batch (so that nothing behind needs to care) or has an integer of too many digits.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if text.count("[") + text.count("{") > MAX_DEPTH and _nests_deeper(
            value, MAX_DEPTH + ENVELOPE
        ):
            raise _too_deep()
        if "\\u" in text:
            _refuse_surrogates(value)
        return value
    except UnicodeDecodeError as error:
        raise Malformed(
            f"The body is not UTF-8: byte {error.start} is {body[error.start]:#04x}."
        ) from error
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise TooLarge(
                f"An integer has more than {MAX_DIGITS} digits, a value at most {MAX_BYTES} bytes.",
                limit=MAX_BYTES,
            ) from error
        raise Malformed(f"The body is not JSON: {error}.") from error


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
    return _same(json.loads(one), json.loads(other))


def type_of(raw: str) -> str:
    """The JSON type's name of a JSON text, a key of `TYPES`."""
    return next(name for name, starts in TYPES.items() if raw[0] in starts)


def size(raw: str) -> int:
    """The bytes of a JSON text in UTF-8."""
    return len(raw) if raw.isascii() else len(raw.encode())


def check_size(raw: str, key: str) -> None:
    """Raises `TooLarge` where the encoded value exceeds `MAX_BYTES`."""
    if (given := size(raw)) > MAX_BYTES:
        raise TooLarge(
            f"The value of {key} has {given} bytes; allowed are {MAX_BYTES}.",
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
            raise _too_deep()
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


def _too_deep() -> TooLarge:
    return TooLarge(f"The JSON nests deeper than {MAX_DEPTH} levels.", limit=MAX_DEPTH)


def _same(one: Any, other: Any) -> bool:
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
        raise ValueError("a string holds half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {json.dumps(twice)} stands twice in one object")
    return result


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
