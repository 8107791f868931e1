"""JSON as words on the command line and lines of a file: strict parsing, and encoding."""

import json
import math
from typing import Any, Final

import click

MAX_DEPTH: Final = 100
"""Levels of a value."""
ENVELOPE_DEPTH: Final = 3
"""Levels around a value in what is read: a transaction, its list of changes and one of them."""


class TooDeep(ValueError):
    """It is JSON, but nests deeper than a value can."""

    def __init__(self) -> None:
        super().__init__(f"it nests deeper than {MAX_DEPTH} levels")


def parse_json_or_text(text: str) -> Any:
    """The JSON value that `text` is, else the text itself. Raises `UsageError` if too deep."""
    try:
        return parse_json(text)
    except TooDeep as error:
        raise click.UsageError(f"{text[:80]!r} is not taken: {error}.") from error
    except ValueError:
        return text


def parse_json_argument(text: str) -> Any:
    """The JSON value that an argument must be. Raises `UsageError`."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise click.UsageError(_json_error(text)) from error


def parse_json(text: str) -> Any:
    """The JSON value that `text` is, as the server would read it. Raises `ValueError`."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise TooDeep from None
    has_many_brackets = text.count("[") + text.count("{") > MAX_DEPTH  # counting them is cheaper
    if has_many_brackets and _nests_deeper([value], MAX_DEPTH + ENVELOPE_DEPTH):
        raise TooDeep
    return value


def encode_json(value: Any) -> str:
    """The value as one line of JSON, with characters as they are."""
    return json.dumps(value, ensure_ascii=False)


def _json_error(text: str) -> str:
    """One sentence on why `parse_json` refuses a text."""
    from signalbox.server.model import values  # noqa: PLC0415 - only for what was refused
    from signalbox.server.model.errors import SignalboxError  # noqa: PLC0415 - as above

    subject = repr(text[:80])
    try:
        values.decode(text.encode(errors="surrogateescape"), subject)
    except SignalboxError as error:
        return error.message
    return f"{subject} has a number beyond what a 64-bit float can hold."


def _nests_deeper(level: list[Any], limit: int) -> bool:
    """Whether the values of `level` have more than `limit` levels; without recursion."""
    for _ in range(limit):
        level = [child for parent in level for child in _containers_in(parent)]
    return bool(level)


def _containers_in(value: Any) -> list[Any]:
    """The arrays and objects directly in an array or object."""
    if isinstance(value, list | dict):
        members = value.values() if isinstance(value, dict) else value
        return [member for member in members if isinstance(member, list | dict)]
    return []


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` where a name is there twice."""
    parsed = dict(members)
    if len(parsed) < len(members):
        raise ValueError("a name is twice in one object")
    return parsed


def _finite_float(text: str) -> float:
    """A JSON number. Raises `ValueError` where no float is so large."""
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def _refuse_number(text: str) -> Any:
    """Raises `ValueError` for a number that JSON does not have, such as NaN."""
    raise ValueError(f"{text[:80]} is no number that JSON and 64 bits hold")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_float=_finite_float, parse_constant=_refuse_number
)
