"""JSON as words on the command line and lines of a file: read by the server's decoder, and encoded.

That decoder is loaded where something is read: most subcommands only print.
"""

import json
from typing import Any

import click


def parse_json_or_text(text: str) -> Any:
    """The JSON value that `text` is, else the text itself. Raises `UsageError` if too deep."""
    from signalbox.server.model.errors import SignalboxError, TooLarge  # noqa: PLC0415 - see above

    try:
        return _parse_value(text)
    except TooLarge as error:
        raise click.UsageError(f"{text[:80]!r} is not taken. {error.message}") from error
    except SignalboxError:
        return text


def parse_json_argument(text: str) -> Any:
    """The JSON value that an argument must be. Raises `UsageError`."""
    from signalbox.server.model.errors import SignalboxError  # noqa: PLC0415 - see above

    try:
        return _parse_value(text)
    except SignalboxError as error:
        raise click.UsageError(error.message) from error


def parse_json(text: bytes, what: str) -> Any:
    """The JSON value that `text` is. Raises `SignalboxError`, whose message names `what`.

    Unlike the server's decoder it makes an `int` of an integer of any length.
    """
    from signalbox.server.model import values  # noqa: PLC0415 - see above

    value = values.decode(text, what)
    return _with_integers(value, what) if len(text) > values.MAX_INT_DIGITS else value


def is_value(value: Any, key: str) -> bool:
    """Whether what `parse_json` has returned may be a key's value."""
    from signalbox.server.model import values  # noqa: PLC0415 - see above
    from signalbox.server.model.errors import SignalboxError  # noqa: PLC0415 - see above

    try:
        values.check(value, key)
    except SignalboxError:
        return False
    return True


def encode_json(value: Any) -> str:
    """`value` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def _parse_value(text: str) -> Any:
    """The JSON value of a word. Raises `SignalboxError`."""
    from signalbox.server.model import values  # noqa: PLC0415 - see above
    from signalbox.server.model.errors import Invalid  # noqa: PLC0415 - see above

    subject = repr(text[:80])
    value = parse_json(text.encode(errors="surrogateescape"), subject)
    try:
        values.check(value, subject)
    except Invalid as error:
        message = f"{subject} has a number beyond what a 64-bit float can hold."
        raise Invalid(message) from error
    return value


def _with_integers(value: Any, what: str) -> Any:
    """A decoded value, long integers as `int`. Raises `TooLarge` where no value can have one."""
    from msgspec import Raw  # noqa: PLC0415 - see above

    from signalbox.server.model import values  # noqa: PLC0415 - see above

    if isinstance(value, dict):
        return {name: _with_integers(member, what) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(member, what) for member in value]
    if not isinstance(value, Raw):
        return value
    digits = bytes(value).decode()
    values.check_size(digits, what)
    return int(digits)
