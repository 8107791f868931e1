"""`restore`: make keys again what they were, after a look at what that means."""

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop.subcommands import (
    REJECTED,
    complain,
    connect,
    json_option,
    print_ack,
    print_json,
    read_dir_option,
    say,
)
from signalbox.desktop.subcommands.arguments import Literal
from signalbox.desktop.subcommands.moments import MOMENT, NOW
from signalbox.desktop.subcommands.past import differences, print_differences

SHOWN: Final = 20
"""So many keys are listed before it is asked."""


@click.command("restore", cls=Literal)
@click.argument("moment", metavar="REV|TIME", type=MOMENT)
@click.argument("match", default="**")
@click.option("--without", metavar="PREFIX.", multiple=True, help="Leave what is below as it is.")
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@json_option
@read_dir_option
def restore(
    moment: str,
    match: str,
    without: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
    data_dir: Path,
) -> int:
    """Make the keys that match what they were at a moment, as one new change that can be undone."""
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not (yes or as_json)
    with connect(data_dir) as box:
        if moment.isdigit() and int(moment) > (newest := box.revision()):
            complain(f"There is no revision {moment} yet; the store is at revision {newest}.")
            return REJECTED
        revision = box.revision(None if moment == NOW else moment)
        if dry_run or asks:
            preview = _tried(box, revision, match, without)
            lines = _preview(box, revision, match, without)
            _tell(preview, revision, lines, as_json, None if dry_run else SHOWN)
            if dry_run or not preview["changed"]:
                return 0
            if not click.confirm("Restore this?"):
                return REJECTED
        print_ack(box.restore(revision, match, without=without), as_json)
    return 0


def _tried(box: client.Box, revision: int, match: str, without: tuple[str, ...]) -> dict[str, Any]:
    """What would happen; where it is refused for what is not kept, how to do without."""
    try:
        return box.restore(revision, match, without=without, dry_run=True)
    except client.Rejected as error:
        if error.code == "compacted" and all(error.keys):
            from signalbox.server.settings import typed  # noqa: PLC0415 - the server's, as rarely needed

            options = (word for key in error.keys for word in ("--without", key))
            complain(f"To restore all else: {typed(*options)}")
        raise


def _preview(
    box: client.Box, revision: int, match: str, without: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    # What retention has removed makes restore refuse; there is no need to tell it twice.
    pages = differences(box, NOW, str(revision), match, tells=False)
    lines = chain.from_iterable(page["items"] for page in pages)
    return (line for line in lines if not line["key"].startswith(without))


def _tell(
    preview: dict[str, Any],
    revision: int,
    lines: Iterator[dict[str, Any]],
    as_json: bool,
    limit: int | None,
) -> None:
    if as_json:
        print_json(preview | {"items": list(lines)})
        return
    print_differences(islice(lines, limit))
    changes = preview["changes"]
    if limit is not None and changes > limit:
        say(f"… and {changes - limit:,} more")
    if not changes:
        say(f"Nothing would change: it is as in revision {revision}")
        return
    keys = "1 key" if changes == 1 else f"{changes:,} keys"
    say(f"{keys} would be as in revision {revision}")


SUBCOMMANDS: Final = (restore,)
