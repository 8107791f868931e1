"""What subcommands print: lines, errors, values, JSON, acknowledgements and tables.

On a terminal nothing that is printed can steer it: control and invisible characters are escaped.
"""

import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TextIO

import click

from signalbox.desktop.json_text import encode_json
from signalbox.ui import invisible_characters

DELETED: Final = "(deleted)"
"""What is printed for a value that is not there any more."""

_WHITESPACE: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def print_line(text: str) -> None:
    """One line on stdout, byte for byte: click would strip what looks like a colour."""
    click.echo(text, color=True)


def print_error(text: str) -> None:
    """Print an error as one line on stderr."""
    with suppress(OSError):  # stderr may be full, and there is no other place to say so
        click.echo(f"signalbox: {escape_for_terminal(text, sys.stderr)}", err=True)


class LogOnTerminal(logging.Handler):
    """Prints what is logged while a subcommand runs as its errors are printed."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record on stderr."""
        print_error(record.getMessage())


def warn_compacted(prefixes: Sequence[str]) -> None:
    """Say on stderr below which prefixes an answer lacks what retention has removed."""
    places = ["everywhere" if prefix in ("", "**") else f"below {prefix}" for prefix in prefixes]
    print_error(
        f"Retention has removed older changes {', '.join(places)}; what needs them is left out."
    )


def warn_if_before_all(revision: int) -> None:
    """Say on stderr why what was there at revision 0 is nothing."""
    if revision == 0:
        print_error("Nothing was there then: the first change came later.")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, with characters that a terminal shows."""
    click.echo(escape_for_terminal(encode_json(value)))


def print_json_lines(values: Iterable[Any]) -> None:
    """Print one JSON value a line."""
    for value in values:
        print_json(value)


def print_ack(ack: dict[str, Any], as_json: bool) -> None:
    """The acknowledgement of an accepted command."""
    if as_json:
        print_json(ack)
    elif ack["changed"]:
        click.echo(f"revision {ack['revision']}")
    else:
        click.echo(f"unchanged at revision {ack['revision']}")


def print_table(
    titles: Sequence[str],
    rows: Iterator[Sequence[str]],
    piped_columns: int | None = None,
    has_piped_titles: bool = False,
) -> None:
    """A table on a terminal; elsewhere tab-separated lines of the first `piped_columns` columns."""
    if not sys.stdout.isatty():
        if has_piped_titles:
            print_line("\t".join(titles))
        for row in rows:
            print_line("\t".join(row[:piped_columns]))
        return
    from rich.console import Console  # noqa: PLC0415 - a fifth of a second that scripts need not pay
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(*titles, box=None, pad_edge=False, show_header=any(titles))
    for row in rows:
        table.add_row(*(Text(escape_for_terminal(cell), overflow="ellipsis") for cell in row))
    Console().print(table)


def format_value(value: Any) -> str:
    """A value in a list: JSON, but a text as it is, with line ends, tabs and backslashes escaped,
    so that it cannot look like further lines or columns.
    """
    text = escape_whitespace(value) if isinstance(value, str) else encode_json(value)
    return escape_for_terminal(text)


def escape_whitespace(text: str) -> str:
    r"""`text` with `\n`, `\r`, `\t` and `\\` for line ends, tabs and backslashes."""
    return text.translate(_WHITESPACE)


def escape_for_terminal(
    text: str, stream: TextIO | None = None, allowed: Collection[str] = ()
) -> str:
    """`text`; on a terminal with invisible and control characters escaped, save for `allowed`."""
    if not (stream or sys.stdout).isatty():
        return text
    return "".join(char if char in allowed else _escape_hidden(char) for char in text)


def colour(text: str, name: str) -> str:
    """`text`, on a terminal in a colour unless NO_COLOR asks for none."""
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=name) if has_colours else text


def _escape_hidden(char: str) -> str:
    """A character, escaped where a terminal would not show it."""
    return (
        char.encode("unicode_escape").decode() if ord(char) in invisible_characters.CODES else char
    )
