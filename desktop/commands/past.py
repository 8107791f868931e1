"""`history` and `diff`: what became of a key, and how two moments differ."""

import os
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from signalbox.desktop.commands import (
    connect,
    json_option,
    print_json,
    read_dir_option,
    say,
    shown,
    visible,
)
from signalbox.desktop.commands.arguments import Literal
from signalbox.desktop.commands.moments import MOMENT, NOW
from signalbox.desktop.commands.tables import (
    items,
    pages,
    print_lines,
    print_rows,
)
from signalbox.server.usage import whole

DELETED: Final = "(deleted)"
SUMMARY: Final = ("from", "to", "total", "compacted")
TITLES: Final = ("revision", "at", "by", "value", "difference")


@click.command("history", cls=Literal)
@click.argument("key")
@click.option("--before", type=whole(1), metavar="REV", help="Only older changes.")
@click.option("--limit", type=whole(1), metavar="N", help="So many at most.")
@json_option
@read_dir_option
def history(key: str, before: int | None, limit: int | None, as_json: bool, data_dir: Path) -> None:
    """List what became of KEY, newest first."""
    count = limit if limit is None or as_json else limit + 1  # one more to compare the last with
    with connect(data_dir) as box:
        versions = items(
            box, "history/" + quote(key, safe=""), count=count, position="before", first=before
        )
        if as_json:
            print_lines(versions)
        else:
            print_rows(TITLES, islice(_rows(versions), limit))


@click.command("diff", cls=Literal)
@click.argument("since", metavar="FROM", type=MOMENT)
@click.argument("until", metavar="TO", type=MOMENT)
@click.argument("match", default="**")
@json_option
@read_dir_option
def diff(since: str, until: str, match: str, as_json: bool, data_dir: Path) -> None:
    """Print how the keys that match differ from one moment to another: revisions, times or now."""
    with connect(data_dir) as box:
        found = differences(box, since, until, match)
        first = next(found)
        lines = chain(first["items"], *(page["items"] for page in found))
        if as_json:
            print_lines(lines)
            print_json({name: value for name, value in first.items() if name in SUMMARY})
            return
        print_differences(lines)
        keys = "1 key differs" if first["total"] == 1 else f"{first['total']:,} keys differ"
        say(f"{keys} from revision {first['from']} to {first['to']}")


def differences(box: Any, since: str, until: str, match: str) -> Iterator[dict[str, Any]]:
    """Pages of the difference between two moments, which stay what they are for the first."""
    moments = [str(box.revision()) if moment == NOW else moment for moment in (since, until)]
    ends = {"from": moments[0], "to": moments[1]}
    return pages(box, "diff", limit=1_000, match=match, **ends)


def print_differences(lines: Iterable[dict[str, Any]]) -> None:
    """What was and what is, below each other."""
    for line in lines:
        for sign, side, colour in (("-", "before", "red"), ("+", "after", "green")):
            if side in line:
                say(coloured(f"{sign} {visible(line['key'])}\t{shown(line[side])}", colour))


def coloured(text: str, colour: str) -> str:
    """`text`, on a terminal in a colour unless NO_COLOR asks for none."""
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if has_colours else text


def _rows(versions: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for version, older in pairwise(chain(versions, [{}])):
        value = DELETED if version.get("deleted") else shown(version["value"])
        change = difference(older.get("value"), version.get("value"))
        yield str(version["revision"]), version["at"], version["actor"], value, change


def difference(before: Any, after: Any) -> str:
    """By how much a number has changed; nothing for anything else."""
    if not (_is_number(before) and _is_number(after)):
        return ""
    if isinstance(before, int) and isinstance(after, int):
        return f"{after - before:+}"
    # As the numbers are written: 0.3 is 0.1 more than 0.2.
    return f"{Decimal(repr(after)) - Decimal(repr(before)):+}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SUBCOMMANDS: Final = (history, diff)
