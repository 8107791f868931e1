"""`signalbox path`: print where the store is."""

from pathlib import Path

import click

from signalbox.desktop.options import json_option, unchecked_dir_option
from signalbox.desktop.terminal_output import print_json
from signalbox.server.store.file_names import STORE_FILE


@click.command("path")
@json_option
@unchecked_dir_option
def path(as_json: bool, data_dir: Path) -> None:
    """Print where the store is."""
    file = data_dir / STORE_FILE
    print_json({"data_dir": str(data_dir), "store": str(file)}) if as_json else click.echo(file)
