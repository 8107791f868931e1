"""`ls`, `tree`, `log`, `status`: what is there, as a table on a terminal and as lines elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.commands import (
    connect,
    json_option,
    one_line,
    print_json,
    read_dir_option,
    shown,
)
from signalbox.desktop.commands.arguments import Literal
from signalbox.desktop.commands.moments import at_option
from signalbox.desktop.commands.tables import items, print_lines, print_rows
from signalbox.server.usage import OneOf, whole

TYPES: Final = ("null", "boolean", "number", "string", "array", "object")
COUNT: Final = whole(1)


@click.command("ls", cls=Literal)
@click.argument("match", default="**")
@click.option("--search", metavar="TEXT", help="Only where TEXT is in key or value.")
@click.option("--type", "type_", type=OneOf(TYPES), help="Only values of this type.")
@click.option("--sort", type=OneOf(["key", "changed"]), help="By key, or newest first.")
@click.option("--limit", type=COUNT, help="So many at most.")
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
    wanted: dict[str, Any] = {
        "match": match,
        "search": search,
        "type": type_,
        "sort": sort,
        "at": at,
    }
    with connect(data_dir) as box:
        found = items(box, "state", count=limit, **wanted)
        if as_json:
            print_lines(found)
        else:
            rows = ((i["key"], shown(i["value"]), i["at"], i["actor"]) for i in found)
            print_rows(("key", "value", "changed", "by"), rows, shown_columns=2)


@click.command("tree", cls=Literal)
@click.argument("prefix", default="")
@at_option
@json_option
@read_dir_option
def tree(prefix: str, at: str | None, as_json: bool, data_dir: Path) -> None:
    """List the next segments below PREFIX with the number of keys at and below each."""
    whole = prefix if not prefix or prefix.endswith(".") else prefix + "."
    with connect(data_dir) as box:
        children = items(box, "tree", field="children", prefix=whole, at=at)
        if as_json:
            print_lines(children)
        else:
            rows = (
                (child["segment"] + ("." if "prefix" in child else ""), str(child["keys"]))
                for child in children
            )
            print_rows(("segment", "keys"), rows)


@click.command("log")
@click.option("--actor", metavar="NAME", help="Only attempts of this actor.")
@click.option("--status", "outcome", type=OneOf(["accepted", "rejected"]))
@click.option("--limit", type=COUNT, default=100, help="So many at most; 100 unless given.")
@json_option
@read_dir_option
def log(actor: str | None, outcome: str | None, limit: int, as_json: bool, data_dir: Path) -> None:
    """List the newest attempts to write, with their outcomes."""
    with connect(data_dir) as box:
        records = items(
            box, "attempts", count=limit, position="before", actor=actor, status=outcome
        )
        if as_json:
            print_lines(records)
        else:
            print_rows(("at", "actor", "type", "key", "outcome"), map(_attempt, records))


@click.command("status")
@json_option
@read_dir_option
def status(as_json: bool, data_dir: Path) -> None:
    """Print what the server is and does."""
    with connect(data_dir) as box:
        found = box.query("status")
    if as_json:
        print_json(found)
        return
    print_rows(("", ""), ((name, shown(value)) for name, value in _flat(found)))


def _attempt(record: dict[str, Any]) -> tuple[str, ...]:
    outcome = record.get("code") or f"revision {record['revision']}"
    kind = one_line(record["type"])  # of a refused one it may be any text
    return record["at"], record["actor"], kind, record.get("key") or "", outcome


def _kept(rule: dict[str, Any]) -> str:
    age = rule["max_age"] or "for ever"
    return f"{age}, whole from revision {rule['revision']}" if rule["revision"] else age


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name == "retention":
            yield from ((f"{name} {one['prefix'] or '**'}", _kept(one)) for one in value)
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


SUBCOMMANDS: Final = (ls, tree, log, status)
