"""Decodes a line of a history; of a long one in pieces, between which other greenlets run."""

import re
from typing import Any, Final

import msgspec

from signalbox.server.model import values
from signalbox.server.model.errors import Malformed
from signalbox.server.runtime.scheduling import yield_to_hub

WHOLE_BYTES: Final = 64 * 1024
"""A line of so many bytes is decoded at once."""
SLICE: Final = 1_000
"""Changes that are decoded before other greenlets run."""
_PLACE: Final = re.compile(r"\(byte (\d+)\)")


class _Line(msgspec.Struct):
    """A line whose changes are left as they are."""

    changes: msgspec.Raw


def is_long(line: bytes) -> bool:
    """Whether `decode` decodes the line in pieces."""
    return len(line) > WHOLE_BYTES


def decode(line: bytes) -> Any:
    """The JSON value of a line, as `values.decode`. Raises `Malformed` and `TooLarge`.

    A long line must be an object with a list of changes.
    """
    if not is_long(line):
        return values.decode(line, "the line")
    try:
        array = _changes_of(line)
    except RecursionError:
        return values.decode(line, "the line")  # says that it nests too deep
    fields = _without_changes(line, array)
    changes: list[Any] = []
    for number, change in enumerate(msgspec.json.decode(array, type=list[msgspec.Raw]), start=1):
        changes.append(values.decode(bytes(change), f"change {number} of the line"))
        if number % SLICE == 0:
            yield_to_hub()
    return fields | {"changes": changes}


def _changes_of(line: bytes) -> bytes:
    """The text of the changes of a long line. Raises `Malformed`."""
    try:
        array = bytes(msgspec.json.decode(line, type=_Line).changes)
    except msgspec.ValidationError as error:
        raise Malformed("the line is no object with a list of changes.") from error
    except msgspec.DecodeError as error:
        raise Malformed(f"the line is not JSON: {_place(error)}.") from error
    if not array.startswith(b"["):
        raise Malformed("the field changes is no list.")
    return array


def _place(error: msgspec.DecodeError) -> str:
    """Where the JSON syntax is violated, as part of a sentence; bytes count from 0."""
    place = _PLACE.search(str(error))
    return f"its byte {place[1]} is not allowed there" if place else "it ends too early"


def _without_changes(line: bytes, array: bytes) -> Any:
    """The fields of the line, with an empty list instead of its changes, which are `array`.

    Another field may have the same text.
    """
    fields: Any = {"changes": array}
    at = -1
    while fields["changes"]:
        at = line.index(array[:WHOLE_BYTES], at + 1)
        if line.startswith(array, at):
            fields = values.decode(line[:at] + b"[]" + line[at + len(array) :], "the line")
    return fields
