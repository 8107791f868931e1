"""`signalbox tree`: list the segments below a prefix, with the number of keys at and below each."""

from itertools import chain
from pathlib import Path

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import PREFIX
from signalbox.desktop.options import at_option, json_option, read_dir_option
from signalbox.desktop.refusals import print_keys_below
from signalbox.desktop.terminal_output import print_json_lines, print_table


@click.command("tree", cls=LiteralCommand)
@click.argument("prefix", default="", type=PREFIX)
@at_option
@json_option
@read_dir_option
def tree(prefix: str, at: str | None, as_json: bool, data_dir: Path) -> None:
    """List the next segments below PREFIX with the number of keys at and below each."""
    name = prefix.removesuffix(".")
    prefix = f"{name}." if name else prefix
    with connect(data_dir) as box:
        children = query_items(box, "tree", field="children", prefix=prefix, at=at)
        first = next(children, None)
        children = chain([] if first is None else [first], children)
        if as_json:
            print_json_lines(children)
        else:
            rows = (
                (child["segment"] + ("." if "prefix" in child else ""), str(child["keys"]))
                for child in children
            )
            print_table(("segment", "keys"), rows)
        if first is None:
            print_keys_below(box, name, at)
