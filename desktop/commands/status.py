"""`signalbox status`: print the status of the server, one field a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from signalbox.desktop.cli_client import connect
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.terminal_output import format_value, print_json, print_table


@click.command("status")
@json_option
@read_dir_option
def status(as_json: bool, data_dir: Path) -> None:
    """Print what the server is and does."""
    with connect(data_dir) as box:
        fields = box.query("status")
    if as_json:
        print_json(fields)
        return
    print_table(("", ""), ((name, format_value(value)) for name, value in _flatten(fields)))


def _flatten(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by its dotted name; of retention a line for each prefix, of rules for each."""
    for name, value in fields.items():
        if name == "retention":
            yield from ((f"{name} {rule['prefix'] or '**'}", _retention(rule)) for rule in value)
        elif name == "faulty_rules":
            yield from ((f"faulty rule {rule['name']}", rule["problem"]) for rule in value)
        elif isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _retention(rule: dict[str, Any]) -> str:
    """The retention of a prefix: how old changes may get, and what is left."""
    age = rule["max_age"] or "for ever"
    return f"{age}, whole from revision {rule['revision']}" if rule["revision"] else age
