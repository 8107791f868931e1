"""`signalbox ls`: list the keys that match, with their values."""

from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import PATTERN, OneOf, whole
from signalbox.desktop.options import at_option, json_option, read_dir_option
from signalbox.desktop.refusals import print_keys_below
from signalbox.desktop.terminal_output import format_value, print_json_lines, print_table

TYPES: Final = ("null", "boolean", "number", "string", "array", "object")


@click.command("ls", cls=LiteralCommand)
@click.argument("match", default="**", type=PATTERN)
@click.option("--search", metavar="TEXT", help="Only where TEXT is in key or value.")
@click.option("--type", "type_", type=OneOf(TYPES), help="Only values of this type.")
@click.option("--sort", type=OneOf(["key", "changed"]), help="By key, or newest first.")
@click.option("--limit", type=whole(1), help="Maximum number of entries.")
@at_option
@json_option
@read_dir_option
def ls(
    match: str,
    search: str | None,
    type_: str | None,
    sort: str | None,
    limit: int | None,
    at: str | None,
    as_json: bool,
    data_dir: Path,
) -> None:
    """List the keys that match, with their values."""
    parameters: dict[str, Any] = {
        "match": match,
        "search": search,
        "type": type_,
        "sort": sort,
        "at": at,
    }
    with connect(data_dir) as box:
        items = query_items(box, "state", count=limit, **parameters)
        first = next(items, None)
        items = chain([] if first is None else [first], items)
        if as_json:
            print_json_lines(items)
        else:
            rows = ((i["key"], format_value(i["value"]), i["at"], i["actor"]) for i in items)
            print_table(("key", "value", "changed", "by"), rows, piped_columns=2)
        if first is None and search is None and type_ is None:
            print_keys_below(box, match, at)
