"""`signalbox verify`: check the file of the store, and that replaying its log gives its state."""

from pathlib import Path

import click

from signalbox.desktop.options import json_option, store_dir_option
from signalbox.desktop.store_errors import report_store_errors
from signalbox.desktop.verification_report import print_report


@click.command("verify")
@json_option
@store_dir_option
@report_store_errors
def verify(as_json: bool, data_dir: Path) -> int:
    """Check that the file is sound and that replaying the log gives the state."""
    from signalbox.server import maintenance  # noqa: PLC0415 - loads all of the store, which the help needs none of

    return print_report(maintenance.verify(data_dir), as_json)
