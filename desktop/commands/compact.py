"""`signalbox compact`: remove now what retention lets go from the history."""

from pathlib import Path

import click

from signalbox.desktop.cli_client import connect
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.terminal_output import print_error, print_json, print_table
from signalbox.ui.formatting import counted


@click.command("compact")
@click.option("--dry-run", is_flag=True, help="Print what would go, and remove nothing.")
@click.option("--confirm", is_flag=True, help="This computer's clock is right, though it leapt.")
@json_option
@read_dir_option
def compact(dry_run: bool, confirm: bool, as_json: bool, data_dir: Path) -> None:
    """Remove now what retention lets go from the history."""
    with connect(data_dir) as box:
        report = box.compact(dry_run=dry_run, confirm=confirm)
    if as_json:
        print_json(report)
        return
    if problem := report["clock"]["problem"]:
        print_error(problem)
    verb = "would go" if dry_run else "has gone" if report["changes"] == 1 else "have gone"
    transactions = counted(report["transactions"], "transaction")
    click.echo(
        f"{counted(report['changes'], 'change')} in {transactions} "
        f"{verb}; for each prefix, from which revision on all changes are kept:"
    )
    rows = (
        (
            rule["prefix"] or "**",
            rule["max_age"] or "for ever",
            f"{rule['changes']:,}",
            str(rule["revision"]),
            rule["at"] or "",
        )
        for rule in report["prefixes"]
    )
    titles = ("prefix", "kept for", "changes", "whole from revision", "of")
    print_table(titles, rows, has_piped_titles=True)
