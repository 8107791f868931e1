"""`signalbox log`: list the newest attempts to write, with their outcomes."""

from pathlib import Path
from typing import Any

import click

from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import ACTOR, OneOf, whole
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.terminal_output import escape_whitespace, print_json_lines, print_table


@click.command("log")
@click.option("--actor", type=ACTOR, metavar="NAME", help="Only attempts of this actor.")
@click.option("--status", "outcome", type=OneOf(["accepted", "rejected"]))
@click.option(
    "--limit", type=whole(1), default=100, help="Maximum number of entries, by default 100."
)
@json_option
@read_dir_option
def log(actor: str | None, outcome: str | None, limit: int, as_json: bool, data_dir: Path) -> None:
    """List the newest attempts to write, with their outcomes."""
    with connect(data_dir) as box:
        attempts = query_items(
            box, "attempts", count=limit, position="before", actor=actor, status=outcome
        )
        if as_json:
            print_json_lines(attempts)
        else:
            print_table(("at", "actor", "type", "key", "outcome"), map(_attempt_row, attempts))


def _attempt_row(attempt: dict[str, Any]) -> tuple[str, ...]:
    """The line of an attempt: when, who, what, and the outcome."""
    outcome = attempt.get("code") or f"revision {attempt['revision']}"
    type_ = escape_whitespace(attempt["type"])  # of a refused one it may be any text
    return attempt["at"], attempt["actor"], type_, attempt.get("key") or "", outcome
