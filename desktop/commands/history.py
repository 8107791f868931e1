"""`signalbox history`: list the earlier values of a key, newest first."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import KEY, whole
from signalbox.desktop.exit_status import NO_SUCH_KEY
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.refusals import missing_key_text
from signalbox.desktop.terminal_output import (
    DELETED,
    format_value,
    print_error,
    print_json_lines,
    print_table,
)

TITLES: Final = ("revision", "at", "by", "value", "difference")


@click.command("history", cls=LiteralCommand)
@click.argument("key", type=KEY)
@click.option("--before", type=whole(1), metavar="REV", help="Only older changes.")
@click.option("--limit", type=whole(1), metavar="N", help="Maximum number of entries.")
@json_option
@read_dir_option
def history(key: str, before: int | None, limit: int | None, as_json: bool, data_dir: Path) -> int:
    """List the changes of KEY, newest first."""
    count = limit if limit is None or as_json else limit + 1  # one more to compare the last with
    path = "history/" + quote(key, safe="")
    with connect(data_dir) as box:
        versions = query_items(box, path, count=count, position="before", first=before)
        first = next(versions, None)
        if first is None and before is None:
            print_error(missing_key_text(key, has_history=False))
            return NO_SUCH_KEY
        versions = chain([] if first is None else [first], versions)
        if as_json:
            print_json_lines(versions)
        else:
            print_table(TITLES, islice(_rows(versions), limit))
    return 0


def _rows(versions: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each version of the key, with what it has changed in the one before."""
    for version, older in pairwise(chain(versions, [{}])):
        value = DELETED if version.get("deleted") else format_value(version["value"])
        difference = _format_difference(older.get("value"), version.get("value"))
        yield str(version["revision"]), version["at"], version["actor"], value, difference


def _format_difference(before: Any, after: Any) -> str:
    """By how much a number has changed; nothing for anything else."""
    if not (_is_number(before) and _is_number(after)):
        return ""
    if isinstance(before, int) and isinstance(after, int):
        return f"{after - before:+}"
    # As the numbers are written: 0.3 is 0.1 more than 0.2.
    return f"{Decimal(repr(after)) - Decimal(repr(before)):+}"


def _is_number(value: Any) -> bool:
    """Whether a version's value is a number, so that its difference is one."""
    return isinstance(value, int | float) and not isinstance(value, bool)
