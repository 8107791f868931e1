"""`signalbox rebuild`: make the state anew by replaying the event log."""

from pathlib import Path

import click

from signalbox.desktop.options import json_option, store_dir_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.store_errors import report_store_errors
from signalbox.desktop.verification_report import print_report


@click.command("rebuild")
@json_option
@store_dir_option
@report_store_errors
def rebuild(as_json: bool, data_dir: Path) -> int:
    """Make the state anew from the event log; not beside a running server."""
    from signalbox.server import maintenance  # noqa: PLC0415 - loads all of the store, which the help needs none of

    with ProgressBar("Replaying") as bar:
        report = maintenance.rebuild(data_dir, bar.update)
    return print_report(report, as_json)
