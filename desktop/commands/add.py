"""`signalbox add`: add to the number at a key."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.json_text import parse_json_argument
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack


@click.command("add", cls=LiteralCommand, any_value=True)
@click.argument("key", type=KEY)
@click.argument("number", metavar="[N]", default="1")
@json_option
@data_dir_option
def add(key: str, number: str, as_json: bool, data_dir: Path) -> None:
    """Add N to the number at KEY."""
    with connect(data_dir) as box:
        print_ack(box.add(key, parse_json_argument(number)), as_json)
