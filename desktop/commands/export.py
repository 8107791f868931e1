"""`signalbox export`: print keys with their values, or the whole history, as a file."""

import sys
from pathlib import Path
from urllib.parse import unquote

import click

from signalbox import client
from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import (
    answer_blocks,
    connect,
)
from signalbox.desktop.click_types import PATTERN, OneOf
from signalbox.desktop.options import at_option, read_dir_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.terminal_output import warn_compacted, warn_if_before_all


@click.command("export", cls=LiteralCommand)
@click.argument("match", required=False, type=PATTERN)
@click.option("--format", "kind", type=OneOf(["ndjson", "json", "csv", "env"]))
@click.option("--settings", is_flag=True, help="The app's settings as well, such as rules.")
@click.option("--history", is_flag=True, help="One transaction a line: for import and replay.")
@at_option
@read_dir_option
def export(
    match: str | None,
    kind: str | None,
    settings: bool,
    history: bool,
    at: str | None,
    data_dir: Path,
) -> None:
    """Print the keys that match."""
    if history and kind not in (None, "ndjson"):
        raise click.UsageError(f"--history is written as ndjson, not as {kind}.")
    if history and settings:
        raise click.UsageError("--history has the settings already: leave out --settings.")
    parameters = {
        "match": match,
        "format": kind,
        "settings": 1 if settings else None,
        "history": 1 if history else None,
        "at": at,
    }
    with connect(data_dir) as box, ProgressBar("Exporting") as bar:
        answer = box.request("GET", client.query_path("export", parameters))
        bar.hide_before_output()
        lines = _count_lines(box, match, history, at) if bar.is_shown else 0
        if compacted := answer.header("Signalbox-Compacted"):
            warn_compacted([unquote(prefix) for prefix in compacted.split(", ")])
        if at is not None:
            warn_if_before_all(int(answer.header("Signalbox-Revision") or 0))
        printed = 0
        for block in answer_blocks(answer):
            sys.stdout.buffer.write(block)
            printed += block.count(b"\n")
            bar.update(printed, max(printed, lines))
        sys.stdout.flush()


def _count_lines(box: client.Box, match: str | None, history: bool, at: str | None) -> int:
    """About how many lines an export has: one for each key or transaction."""
    page = box.query("state", match=match or "**", at=at, limit=1)
    return int(page["revision"] if history else page["total"])
