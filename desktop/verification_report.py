"""The report of `verify` and `rebuild` on a store: sound, or damaged and how."""

from typing import Any

import click

from signalbox.desktop.exit_status import REJECTED
from signalbox.desktop.terminal_output import escape_for_terminal, print_json
from signalbox.ui.formatting import counted


def print_report(report: dict[str, Any], as_json: bool) -> int:
    """Print the report of `server/maintenance.py`; the exit status."""
    status = 0 if report["ok"] else REJECTED
    if as_json:
        print_json(report)
        return status
    verdict = "sound" if report["ok"] else "DAMAGED"
    if report["keys"] is not None:  # None: the damage kept it from being read to its end
        verdict += f": revision {report['revision']:,}, {counted(report['keys'], 'key')}"
    click.echo(verdict)
    for line in (*report["problems"], report["advice"], *report["notes"]):
        if line:
            click.echo(escape_for_terminal(f"  {line}"))
    return status
