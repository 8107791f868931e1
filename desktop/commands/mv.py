"""`signalbox mv`: rename a key or a prefix."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack


@click.command("mv", cls=LiteralCommand)
@click.argument("key", type=KEY)
@click.argument("new")
@click.option("--replace", is_flag=True, help="Overwrite keys that exist.")
@json_option
@data_dir_option
def mv(key: str, new: str, replace: bool, as_json: bool, data_dir: Path) -> None:
    """Rename KEY to NEW; with a dot at the end of both everything below a prefix."""
    with connect(data_dir) as box:
        print_ack(box.rename(key, new, replace=replace), as_json)
