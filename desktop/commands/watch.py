"""`signalbox watch`: print the current values, then every change."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from signalbox import client
from signalbox.desktop import child_env
from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import whole
from signalbox.desktop.json_text import encode_json, parse_json_or_text
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.terminal_output import DELETED, format_value, print_json, print_line


@click.command("watch", cls=LiteralCommand)
@click.argument("match", default="**")
@click.option("--after", metavar="REV", help="Only what came after this revision.")
@click.option("--until", metavar="JSON", help="End when a value equals this.")
@click.option("--count", type=whole(1), help="End after so many lines.")
@click.option(
    "--exec",
    "program",
    metavar="CMD",
    type=click.UNPROCESSED,
    help="Run CMD with each change on its stdin.",
)
@json_option
@read_dir_option
def watch(
    match: str,
    after: str | None,
    until: str | None,
    count: int | None,
    program: str | None,
    as_json: bool,
    data_dir: Path,
) -> None:
    """Print the values that match, then every change."""
    last_value = None if until is None else _comparable(parse_json_or_text(until))
    with connect(data_dir) as box, box.watch(match, after=after) as changes:
        for number, change in enumerate(_until_value(changes, last_value), start=1):
            if program is not None:
                _run_program(program, change)
            elif as_json:
                print_json(_fields(change))
            else:
                value = DELETED if change.deleted else format_value(change.value)
                print_line(f"{change.key}\t{value}")
            if number == count:
                return


def _until_value(changes: Iterable[client.Change], last_value: Any) -> Iterable[client.Change]:
    """Changes up to the first one to a value equal to `last_value`; all where that is None."""
    for change in changes:
        yield change
        if last_value is None or change.deleted:
            continue
        if _comparable(change.value) == last_value:
            return


def _comparable(value: Any) -> Any:
    """Equal for equal JSON values alone: true is not 1, but 1 is 1.0."""
    if isinstance(value, bool) or value is None:
        return ("literal", value)
    if isinstance(value, dict):
        return {name: _comparable(member) for name, member in value.items()}
    return [_comparable(member) for member in value] if isinstance(value, list) else value


def _run_program(program: str, change: client.Change) -> None:
    """Run the program of `--exec` with a change on its stdin."""
    # The user's own shell line; of the change nothing is spliced into it.
    subprocess.run(  # noqa: S602
        program,
        shell=True,
        env=child_env.environment(),
        input=f"{encode_json(_fields(change))}\n".encode(),
        check=False,
    )


def _fields(change: client.Change) -> dict[str, Any]:
    """The fields that a change has, with its value, which may be null, unless it is a deletion."""
    fields = {name: value for name, value in change._asdict().items() if value is not None}
    fields = {"key": change.key, "value": change.value} | fields
    if change.deleted:
        del fields["value"]
    return fields
