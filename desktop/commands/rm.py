"""`signalbox rm`: delete a key, or everything below a prefix."""

from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.exit_status import NO_SUCH_KEY
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.refusals import missing_key_text, print_keys_below
from signalbox.desktop.terminal_output import print_error, print_json


@click.command("rm", cls=LiteralCommand)
@click.argument("key", type=KEY, metavar="KEY|PREFIX.")
@json_option
@data_dir_option
def rm(key: str, as_json: bool, data_dir: Path) -> int:
    """Delete KEY, or everything below PREFIX. (with its dot)."""
    with connect(data_dir) as box:
        ack = box.delete_prefix(key) if key.endswith(".") else box.delete(key)
        if not ack["changed"]:
            print_error(missing_key_text(key))
            print_keys_below(box, key, None, "rm", f"{key}.")
            return NO_SUCH_KEY
    if as_json:
        print_json(ack)
    else:
        click.echo(f"deleted {ack['changes']:,}, revision {ack['revision']}")
    return 0
