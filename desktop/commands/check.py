"""`signalbox check`: list the keys whose values break a rule."""

from pathlib import Path
from typing import Any

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import PATTERN, RULE, whole
from signalbox.desktop.exit_status import REJECTED
from signalbox.desktop.options import at_option, json_option, read_dir_option
from signalbox.desktop.terminal_output import format_value, print_json_lines, print_table


@click.command("check", cls=LiteralCommand)
@click.argument("match", default="**", type=PATTERN)
@click.option("--rule", type=RULE, metavar="NAME", help="Only what breaks this rule.")
@click.option("--limit", type=whole(1), help="Maximum number of keys.")
@at_option
@json_option
@read_dir_option
def check(
    match: str,
    rule: str | None,
    limit: int | None,
    at: str | None,
    as_json: bool,
    data_dir: Path,
) -> int:
    """List the keys that match and whose values break a rule; exits with 1 where there are any."""
    with connect(data_dir) as box:
        parameters: dict[str, Any] = {"match": match, "rule": rule, "at": at}
        items = list(query_items(box, "violations", count=limit, **parameters))
    if as_json:
        print_json_lines(items)
    else:
        rows = ((one["key"], one["rule"], format_value(one["message"])) for one in items)
        print_table(("key", "rule", "why"), rows)
    return REJECTED if items else 0
