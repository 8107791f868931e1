"""`signalbox describe`: print what the rules say of a key, and which values it may have now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import ACTOR, KEY
from signalbox.desktop.json_text import encode_json, parse_json_or_text
from signalbox.desktop.options import at_option, json_option, read_dir_option
from signalbox.desktop.terminal_output import format_value, print_json, print_table


@click.command("describe", cls=LiteralCommand)
@click.argument("key", type=KEY)
@click.option("--value", metavar="VALUE", help="Whether KEY may have this value, read as set does.")
@click.option("--actor", type=ACTOR, metavar="NAME", help="Whether NAME may set it.")
@at_option
@json_option
@read_dir_option
def describe(
    key: str, value: str | None, actor: str | None, at: str | None, as_json: bool, data_dir: Path
) -> None:
    """Print what the rules say of KEY, and which values it may have now."""
    asked = None if value is None else encode_json(parse_json_or_text(value))
    with connect(data_dir) as box:
        found = box.query(
            f"describe/{quote(key, safe='')}", value=asked, actor=actor or box.actor, at=at
        )
    if as_json:
        print_json(found)
    else:
        print_table(("", ""), _rows(found))


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The present value, each keyword, each rule, and each value that was judged."""
    if "value" in found:
        yield "value", format_value(found["value"])
    for name, said in found["description"].items():
        yield name, format_value(said)
    for rule in found["rules"]:
        yield f"rule {rule['name']}", rule.get("problem") or format_value(rule["record"])
    for judged in found["values"]:
        shown = format_value(judged["value"])
        if judged["allowed"]:
            yield "allowed", shown
        else:
            yield "refused", f"{shown}: {format_value(judged['refusal']['message'])}"
