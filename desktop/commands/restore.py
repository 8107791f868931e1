"""`restore`: make keys again what they were, after a look at what that means."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop.commands import (
    REJECTED,
    complain,
    connect,
    json_option,
    print_ack,
    print_json,
    read_dir_option,
    say,
)
from signalbox.desktop.commands.arguments import Literal
from signalbox.desktop.commands.moments import MOMENT, NOW
from signalbox.desktop.commands.past import print_differences

SHOWN: Final = 20
"""So many keys are listed before it is asked."""
ALL: Final = 100_000
"""As many as a restore can change."""


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
            complain(f"There is no revision {moment[:30]} yet; the store is at revision {newest}.")
            return REJECTED
        revision = box.revision(None if moment == NOW else moment)
        if dry_run or asks:
            preview = _tried(box, revision, match, without, ALL if dry_run else SHOWN)
            _tell(preview, revision, as_json)
            if dry_run or not preview["changed"]:
                return 0
            if not click.confirm("Restore this?"):
                return REJECTED
        print_ack(box.restore(revision, match, without=without), as_json)
    return 0


def _tried(
    box: client.Box, revision: int, match: str, without: tuple[str, ...], listed: int
) -> dict[str, Any]:
    """What would happen; where it is refused for what is not kept, how to do without."""
    fields = {"to_revision": revision, "match": match, "without": list(without)}
    try:
        return box.command({"type": "restore", "dry_run": True, "effects": listed} | fields)
    except client.Rejected as error:
        if error.code == "compacted" and all(error.keys):
            from signalbox.server.settings import typed  # noqa: PLC0415 - the server's, as rarely needed

            options = (word for key in error.keys for word in ("--without", key))
            complain(f"To restore all else: {typed(*options)}")
        raise


def _tell(preview: dict[str, Any], revision: int, as_json: bool) -> None:
    lines = [_difference(effect) for effect in preview.pop("effects")]
    if as_json:
        print_json(preview | {"items": lines})
        return
    print_differences(lines)
    changes = preview["changes"]
    if changes > len(lines):
        say(f"… and {changes - len(lines):,} more")
    if not changes:
        say(f"Nothing would change: it is as in revision {revision}")
        return
    keys = "1 key" if changes == 1 else f"{changes:,} keys"
    say(f"{keys} would be as in revision {revision}")


def _difference(effect: dict[str, Any]) -> dict[str, Any]:
    """As `diff` tells it."""
    sides = {"before": "now", "after": "back"}
    found = {side: effect[name] for side, name in sides.items() if name in effect}
    return {"key": effect["key"], **found}


SUBCOMMANDS: Final = (restore,)
