"""`signalbox restore`: set keys back to their values at a moment, after a preview."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import PATTERN, PREFIX
from signalbox.desktop.differences import print_differences
from signalbox.desktop.exit_status import REJECTED
from signalbox.desktop.options import MOMENT, NOW, json_option, read_dir_option
from signalbox.desktop.refusals import future_revision_text
from signalbox.desktop.terminal_output import print_ack, print_error, print_json, print_line
from signalbox.ui.formatting import counted

MOST_PREVIEWED: Final = 20
"""So many keys are listed before the question."""
MOST_RESTORED: Final = 100_000
"""As many keys as one restore can change."""


@click.command("restore", cls=LiteralCommand)
@click.argument("moment", metavar="MOMENT", type=MOMENT)
@click.argument("match", default="**", type=PATTERN)
@click.option(
    "--without", type=PREFIX, metavar="PREFIX.", multiple=True, help="Leave what is below as it is."
)
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
    """Make the keys that match what they were at MOMENT, as one new change that can be undone.

    MOMENT is a revision, a time in ISO 8601 or now.
    """
    must_ask = sys.stdin.isatty() and sys.stdout.isatty() and not (yes or as_json)
    with connect(data_dir) as box:
        if future := future_revision_text(box, moment):
            print_error(future)
            return REJECTED
        revision = box.revision(None if moment == NOW else moment)
        try:
            if dry_run or must_ask:
                limit = MOST_RESTORED if dry_run else MOST_PREVIEWED
                preview = _query_preview(box, revision, match, without, limit)
                _print_preview(preview, revision, as_json)
                if dry_run or not preview["changed"]:
                    return 0
                if not click.confirm("Restore this?"):
                    return REJECTED
            print_ack(box.restore(revision, match, without=without), as_json)
        except client.Rejected as error:
            if error.code != "compacted" or not all(error.keys):
                raise
            _print_compacted(error)
            return REJECTED
    return 0


def _query_preview(
    box: client.Box, revision: int, match: str, without: tuple[str, ...], limit: int
) -> dict[str, Any]:
    """A dry run with at most `limit` effects."""
    fields = {"to_revision": revision, "match": match, "without": list(without)}
    return box.command({"type": "restore", "dry_run": True, "effects": limit} | fields)


def _print_compacted(error: client.Rejected) -> None:
    """Print that retention has removed what is needed, and the options that leave that out."""
    from signalbox.server.settings import shell_command  # noqa: PLC0415 - rarely needed

    print_error(error.message)
    options = (word for key in error.keys for word in ("--without", key))
    print_error(f"To restore all else: {shell_command(*options)}")


def _print_preview(preview: dict[str, Any], revision: int, as_json: bool) -> None:
    """Print what a restore would change."""
    differences = [_difference(effect) for effect in preview.pop("effects")]
    if as_json:
        print_json(preview | {"items": differences})
        return
    print_differences(differences, removed="(would be deleted)")
    changes = preview["changes"]
    if changes > len(differences):
        print_line(f"… and {changes - len(differences):,} more")
    if not changes:
        print_line(f"Nothing would change: it is as in revision {revision}")
        return
    print_line(f"{counted(changes, 'key')} would be as in revision {revision}")


def _difference(effect: dict[str, Any]) -> dict[str, Any]:
    """An effect `{key, now, back}` of a dry run as a difference `{key, before, after}`."""
    sides = {"before": "now", "after": "back"}
    values = {side: effect[name] for side, name in sides.items() if name in effect}
    return {"key": effect["key"], **values}
