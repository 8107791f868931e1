"""`watch`: the values as they are, then every change, until something happens."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop import child_env
from signalbox.desktop.commands import (
    connect,
    dumped,
    json_option,
    parsed,
    print_json,
    read_dir_option,
    say,
    shown,
)
from signalbox.desktop.commands.arguments import Literal
from signalbox.server.usage import whole


@click.command("watch", cls=Literal)
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
    wanted = None if until is None else _canonical(parsed(until))
    with connect(data_dir) as box, box.watch(match, after=after) as changes:
        for number, change in enumerate(_until(changes, wanted), start=1):
            _tell(change, as_json, program)
            if number == count:
                return


def _until(changes: Iterable[client.Change], wanted: Any) -> Iterable[client.Change]:
    for change in changes:
        yield change
        if wanted is not None and not change.deleted and _canonical(change.value) == wanted:
            return


def _canonical(value: Any) -> Any:
    """Equal for equal JSON values alone: true is not 1, but 1 is 1.0."""
    if isinstance(value, bool) or value is None:
        return ("literal", value)
    if isinstance(value, dict):
        return {name: _canonical(inner) for name, inner in value.items()}
    return [_canonical(inner) for inner in value] if isinstance(value, list) else value


def _tell(change: client.Change, as_json: bool, program: str | None) -> None:
    fields = {name: value for name, value in change._asdict().items() if value is not None}
    fields = {"key": change.key, "value": change.value} | fields
    if change.deleted:
        del fields["value"]
    if program is not None:
        # The user's own shell line; of the change nothing is spliced into it.
        subprocess.run(  # noqa: S602
            program,
            shell=True,
            env=child_env.environment(),
            input=dumped(fields).encode(),
            check=False,
        )
    elif as_json:
        print_json(fields)
    else:
        say(f"{change.key}\t{'(deleted)' if change.deleted else shown(change.value)}")


SUBCOMMANDS: Final = (watch,)
