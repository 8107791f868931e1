"""Parses lines of `key = value`, as `sysctl -a` prints and `sysctl.conf` contains them."""

from collections.abc import Iterator
from typing import Any, Final

from signalbox.server.formats.row_values import scalar_or_text, set_command
from signalbox.server.formats.text_lines import Row, lines
from signalbox.server.model import values
from signalbox.server.model.commands import Command
from signalbox.server.model.errors import Malformed, SignalboxError, quoted

COMMENTS: Final = ("#", ";")
"""How a comment begins: see sysctl.conf(5)."""


def read(blocks: Iterator[bytes]) -> Iterator[list[Row]]:
    """One row for each line `key = value`, without comments; a value is a number or a text."""
    for line in lines(blocks):
        text = line.text.strip()
        if line.fault is not None:
            yield [Row(line.number, line.bytes, line.fault)]
        elif text and not text.startswith(COMMENTS):
            yield [Row(line.number, line.bytes, _command(line.text))]


def _command(text: str) -> Command | SignalboxError:
    """The `set` command of a line `key = value`."""
    key, equals, value = text.partition(" = ")
    if not equals:
        key, equals, value = text.partition("=")
    if not equals:
        return Malformed(f"The line is {quoted(text.strip())}; allowed is key = value.")
    return set_command(key.strip(), _number_or_text(value.strip()))


def _number_or_text(text: str) -> Any:
    """The value of a line: a number, else text; `sysctl` knows neither booleans nor null."""
    value = scalar_or_text(text)
    return value if values.is_number(value) else text
