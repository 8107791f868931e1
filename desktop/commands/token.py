"""`signalbox token`: print or renew the tokens of a store, or a one-time address for a browser."""

from pathlib import Path

import click

from signalbox.desktop.cli_client import connect
from signalbox.desktop.options import json_option, store_dir_option
from signalbox.desktop.store_errors import report_store_errors
from signalbox.desktop.terminal_output import print_json
from signalbox.server.login_address import address_lines


@click.command("token")
@click.option("--rotate", is_flag=True, help="Make new tokens; the old ones stop working.")
@click.option("--login", is_flag=True, help="Print a one-time address for a browser.")
@json_option
@store_dir_option
@report_store_errors
def token(rotate: bool, login: bool, as_json: bool, data_dir: Path) -> None:
    """Print the tokens of the store."""
    if login:
        with connect(data_dir, start=False) as box:
            url = box.login()
        print_json({"url": url}) if as_json else click.echo(address_lines(url))
        return
    from signalbox.server import maintenance  # noqa: PLC0415 - loads all of the store, which the help needs none of

    if rotate:
        maintenance.rotate_tokens(data_dir)
    tokens = maintenance.tokens(data_dir)
    if as_json:
        print_json(tokens)
    else:
        click.echo(f"read   {tokens['read_token']}\nwrite  {tokens['write_token']}")
