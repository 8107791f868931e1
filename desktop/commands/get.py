"""`signalbox get`: print the value of one key."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.exit_status import NO_SUCH_KEY
from signalbox.desktop.json_text import parse_json_or_text
from signalbox.desktop.options import at_option, json_option, read_dir_option
from signalbox.desktop.refusals import missing_key_text, print_keys_below
from signalbox.desktop.terminal_output import (
    escape_for_terminal,
    format_value,
    print_error,
    print_json,
    print_line,
)
from signalbox.ui import invisible_characters


@click.command("get", cls=LiteralCommand)
@click.argument("key", type=KEY)
@click.option("--default", metavar="VALUE", help="Print this where there is no such key.")
@at_option
@json_option
@read_dir_option
def get(key: str, default: str | None, at: str | None, as_json: bool, data_dir: Path) -> int:
    """Print the value of KEY."""
    with connect(data_dir) as box:
        item = box.item(key, at=at)
        if item is None and default is not None:
            item = {"key": key, "value": parse_json_or_text(default)}
        if item is None:
            print_error(missing_key_text(key, at))
            print_keys_below(box, key, at)
            return NO_SUCH_KEY
    if as_json:
        print_json(item)
        return 0
    value = item["value"]
    is_text = isinstance(value, str)
    print_line(
        escape_for_terminal(value, allowed=invisible_characters.TYPED)
        if is_text
        else format_value(value)
    )
    return 0
