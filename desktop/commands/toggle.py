"""`signalbox toggle`: flip the boolean at a key."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack


@click.command("toggle", cls=LiteralCommand)
@click.argument("key", type=KEY)
@json_option
@data_dir_option
def toggle(key: str, as_json: bool, data_dir: Path) -> None:
    """Flip the boolean at KEY."""
    with connect(data_dir) as box:
        print_ack(box.toggle(key), as_json)
