"""`ls`, `tree`, `log`, `status`: what is there, as a table on a terminal and as lines elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from desktop.subcommands import (
    connect,
    data_dir_option,
    json_option,
    print_json,
    say,
    shown,
    visible,
)

PAGE: Final = 1_000


@click.command("ls")
@click.argument("match", default="**")
@json_option
@data_dir_option
def ls(match: str, as_json: bool, data_dir: Path) -> None:
    """List the keys that match, with their values."""
    with connect(data_dir) as box:
        items = _pages(box, "state", match=match)
        if as_json:
            _print_lines(items)
        else:
            rows = ((i["key"], shown(i["value"]), i["at"], i["actor"]) for i in items)
            _print_rows(("key", "value", "changed", "by"), rows, shown_columns=2)


@click.command("tree")
@click.argument("prefix", default="")
@json_option
@data_dir_option
def tree(prefix: str, as_json: bool, data_dir: Path) -> None:
    """List the next segments below PREFIX with the number of keys at and below each."""
    whole = prefix if not prefix or prefix.endswith(".") else prefix + "."
    with connect(data_dir) as box:
        children = _pages(box, "tree", field="children", prefix=whole)
        if as_json:
            _print_lines(children)
        else:
            rows = (
                (child["segment"] + ("." if "prefix" in child else ""), str(child["keys"]))
                for child in children
            )
            _print_rows(("segment", "keys"), rows)


@click.command("log")
@json_option
@data_dir_option
def log(as_json: bool, data_dir: Path) -> None:
    """List the newest attempts to write, with their outcomes."""
    with connect(data_dir) as box:
        records = box.query("attempts")["items"]
    if as_json:
        _print_lines(records)
        return
    rows = (
        (
            record["at"],
            record["actor"],
            record["type"],
            record.get("key") or "",
            record.get("code") or f"revision {record['revision']}",
        )
        for record in records
    )
    _print_rows(("at", "actor", "type", "key", "outcome"), rows)


@click.command("status")
@json_option
@data_dir_option
def status(as_json: bool, data_dir: Path) -> None:
    """Print what the server is and does."""
    with connect(data_dir) as box:
        found = box.query("status")
    if as_json:
        print_json(found)
        return
    _print_rows(("", ""), ((name, shown(value)) for name, value in _flat(found)))


def _pages(box: Any, query: str, field: str = "items", **parameters: Any) -> Iterator[Any]:
    after: str | None = None
    while True:
        page = box.query(query, after=after, limit=PAGE, **parameters)
        yield from page[field]
        if (after := page["next"]) is None:
            return


def _print_lines(values: Any) -> None:
    for value in values:
        print_json(value)


def _print_rows(
    titles: Sequence[str], rows: Iterator[Sequence[str]], shown_columns: int | None = None
) -> None:
    """A table on a terminal; elsewhere tab-separated lines of the first columns."""
    if not sys.stdout.isatty():
        for row in rows:
            say("\t".join(row[:shown_columns]))
        return
    from rich.console import Console  # noqa: PLC0415 - a fifth of a second that scripts need not pay
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(*titles, box=None, pad_edge=False, show_header=any(titles))
    for row in rows:
        table.add_row(*(Text(visible(cell), overflow="ellipsis") for cell in row))
    Console().print(table)


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


SUBCOMMANDS: Final = (ls, tree, log, status)
