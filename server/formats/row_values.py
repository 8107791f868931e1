"""Converts the text of a row to a value: JSON or the text itself; and makes the command."""

from typing import Any, Final

from signalbox.server.model import values
from signalbox.server.model.commands import Command, checked_set
from signalbox.server.model.errors import SignalboxError

_SCALARS: Final = frozenset("-0123456789tfn")


def set_command(key: str, value: Any) -> Command | SignalboxError:
    """The command that sets a key, or why it is refused."""
    try:
        return checked_set(key, value)
    except SignalboxError as error:
        return error


def scalar_or_text(text: str) -> Any:
    """The number, boolean or null that is encoded as exactly this text, else the text."""
    return json_or_text(text) if text[:1] in _SCALARS else text


def json_or_text(text: str) -> Any:
    """The JSON value that is encoded as exactly this text, else the text."""
    try:
        value = parse_json(text)
    except SignalboxError:
        return text
    return value if values.encode(value) == text else text


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises as `values.decode`."""
    return values.decode(text.encode(errors="surrogateescape"), "The value")
