"""`signalbox merge`: apply a JSON merge patch to the value of a key."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.json_text import parse_json_argument
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack


@click.command("merge", cls=LiteralCommand, any_value=True)
@click.argument("key", type=KEY)
@click.argument("patch", metavar="JSON")
@json_option
@data_dir_option
def merge(key: str, patch: str, as_json: bool, data_dir: Path) -> None:
    """Apply a JSON merge patch (RFC 7396) to KEY."""
    with connect(data_dir) as box:
        print_ack(box.merge(key, parse_json_argument(patch)), as_json)
