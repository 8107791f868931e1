"""`signalbox backup`: copy the store to a file."""

from pathlib import Path

import click

from signalbox.desktop.options import json_option, store_dir_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.store_errors import report_store_errors
from signalbox.desktop.terminal_output import print_json
from signalbox.ui.formatting import counted


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@store_dir_option
@report_store_errors
def backup(file: Path, as_json: bool, data_dir: Path) -> None:
    """Copy the store as it is at one moment to FILE."""
    from signalbox.server import maintenance  # noqa: PLC0415 - loads all of the store, which the help needs none of

    with ProgressBar("Copying") as bar:
        size = maintenance.backup(data_dir, file, bar.update)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {counted(size, 'byte')}")
