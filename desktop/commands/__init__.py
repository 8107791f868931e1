"""What the subcommands share: exit statuses, options, the client, and how values are shown."""

import json
import math
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar
from urllib.parse import quote

import click

from signalbox import client
from signalbox.desktop import engine_options, paths
from signalbox.ui import hidden

REJECTED: Final = 1
NO_SUCH_KEY: Final = 3
CANNOT_OPEN: Final = client.CANNOT_OPEN
PARTS: Final = ("", "-wal", "-made")
"""Endings of the files that a store leaves behind."""
MAX_DEPTH: Final = 100
"""Levels of a value."""
ENVELOPE: Final = 3
"""Levels around a value in what is read: a transaction, its list of changes and one of them."""

_LISTED: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})

Function = TypeVar("Function", bound=Callable[..., Any])


class TooDeep(ValueError):
    """It is JSON, but no value."""

    def __init__(self) -> None:
        super().__init__(f"it nests deeper than {MAX_DEPTH} levels")


def data_dir_option(function: Function) -> Function:
    """`--data-dir`, here or before the subcommand."""
    return _dir_option(_data_dir)(function)


def read_dir_option(function: Function) -> Function:
    """As `data_dir_option`, for what needs a past: a folder that is named must have a store."""
    return _dir_option(_read_dir)(function)


def file_dir_option(function: Function) -> Function:
    """As `data_dir_option`, for what works on the file: there must be a store, always."""
    return _dir_option(_file_dir)(function)


def where_option(function: Function) -> Function:
    """As `data_dir_option`, whether the folder is there or not."""
    return _dir_option(_where)(function)


def json_option(function: Function) -> Function:
    """`--json`, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def check_store(folder: Path) -> None:
    """Raises `NotRunning` where there is none; one in memory has no file, but a server.

    Where only a part of one is left, whoever opens it says so.
    """
    try:
        is_there = any((folder / f"signalbox.db{part}").exists() for part in PARTS)
    except OSError as error:
        raise client.NotRunning(paths.unusable(error)) from error
    if not is_there and client.find(folder) is None:
        raise client.NotRunning(f"There is no store in {folder}.")


def made(given: str | None) -> Path:
    """The folder, which is made where there is none. Raises `NotRunning`."""
    try:
        return paths.data_dir(given)
    except OSError as error:
        raise client.NotRunning(paths.unusable(error)) from error


def connect(
    data_dir: Path, *, actor: str | None = None, name: str = "cli", start: bool = True
) -> client.Box:
    """The client of the running server, or of one that ends with us.

    Without `actor` it is that of this `name`: several nodes of a store have one each.
    """
    box = client.connect(actor, data_dir=data_dir, start=start)
    try:
        engine_options.check(box)
    except BaseException:
        box.close()
        raise
    box.actor = actor or (f"{name}@{box.node}" if box.node else name)
    return box


def attempt(box: client.Box, identity: str) -> dict[str, Any] | None:
    """What is kept of a command by its id."""
    try:
        record: dict[str, Any] = box.query(f"attempts/{quote(identity, safe='')}")
    except client.Rejected as error:
        if error.code == "not_found":
            return None
        raise
    return record


def parsed(text: str) -> Any:
    """The JSON value that `text` is, else the text itself."""
    try:
        return strictly_parsed(text)
    except TooDeep as error:
        raise click.UsageError(f"{text[:80]!r} is not taken: {error}.") from error
    except ValueError:
        return text


def strictly_parsed(text: str) -> Any:
    """The JSON value that `text` is. Raises `ValueError`."""
    try:
        value = DECODER.decode(text)
    except RecursionError:
        raise TooDeep from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _nests_deeper(
        [value], MAX_DEPTH + ENVELOPE
    ):
        raise TooDeep
    return value


def why_no_json(text: str, what: str) -> str:
    """One sentence on a text that `strictly_parsed` does not take; `what` is its subject."""
    from signalbox.server.model import values  # noqa: PLC0415 - only for what was refused
    from signalbox.server.model.errors import SignalboxError  # noqa: PLC0415 - as above

    try:
        values.decode(text.encode(errors="surrogateescape"), what)
    except SignalboxError as error:
        return error.message
    return f"{what} has a number beyond what a 64-bit float can hold."


def dumped(value: Any) -> str:
    """`value` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def shown(value: Any) -> str:
    """A value in a list: JSON, but a text as it is, with line ends, tabs and backslashes escaped,
    so that it cannot look like further lines or columns.
    """
    return visible(one_line(value) if isinstance(value, str) else dumped(value))


def one_line(text: str) -> str:
    r"""`text` with `\n`, `\r`, `\t` and `\\` for line ends, tabs and backslashes."""
    return text.translate(_LISTED)


def visible(text: str, stream: TextIO | None = None, but: Collection[str] = ()) -> str:
    """`text`; on a terminal with all escaped that is not seen or could steer it, save for `but`."""
    if not (stream or sys.stdout).isatty():
        return text
    return "".join(letter if letter in but else _escaped(letter) for letter in text)


def say(text: str) -> None:
    """One line on stdout, byte for byte: click would strip what looks like a colour."""
    click.echo(text, color=True)


def complain(text: str) -> None:
    """One line on stderr."""
    with suppress(OSError):  # nobody else could be told that it is full
        click.echo(f"signalbox: {visible(text, sys.stderr)}", err=True)


def print_json(value: Any) -> None:
    """One line of JSON; on a terminal nothing in it can steer the terminal."""
    click.echo(visible(dumped(value)))


def print_ack(ack: dict[str, Any], as_json: bool) -> None:
    """An accepted command's outcome."""
    if as_json:
        print_json(ack)
    elif ack["changed"]:
        click.echo(f"revision {ack['revision']}")
    else:
        click.echo(f"unchanged at revision {ack['revision']}")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode() if ord(letter) in hidden.CODES else letter


def not_empty(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """Refuses `--data-dir ''`, which a script with an unset variable says."""
    if given == "":
        raise click.UsageError("--data-dir is empty; it is the folder of the store.")
    return given


def _dir_option(callback: Callable[..., Path]) -> Callable[[Function], Function]:
    return click.option(
        "--data-dir",
        metavar="D",
        type=click.UNPROCESSED,
        callback=callback,
        help="Folder of the store.",
    )


def _where(context: click.Context, option: click.Parameter, given: str | None) -> Path:
    return paths.chosen(not_empty(context, option, given) or context.obj)


def _file_dir(context: click.Context, option: click.Parameter, given: str | None) -> Path:
    folder = _where(context, option, given)
    check_store(folder)
    return folder


def _read_dir(context: click.Context, option: click.Parameter, given: str | None) -> Path:
    is_named = given or context.obj or os.environ.get("SIGNALBOX_DATA_DIR")
    if is_named and not engine_options.is_wished():  # a shared log may be read by a new node
        return _file_dir(context, option, given)
    return _data_dir(context, option, given)


def _data_dir(context: click.Context, option: click.Parameter, given: str | None) -> Path:
    return made(not_empty(context, option, given) or context.obj)


def _nests_deeper(level: list[Any], limit: int) -> bool:
    """Whether what is in `level` nests deeper; without recursion."""
    for _ in range(limit):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: Any) -> list[Any]:
    """The arrays and objects in one."""
    if isinstance(value, list | dict):
        members = value.values() if isinstance(value, dict) else value
        return [inner for inner in members if isinstance(inner, list | dict)]
    return []


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:80]} is no number that JSON and 64 bits hold")


DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse
)
"""Of what the server would take."""
