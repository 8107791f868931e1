"""`signalbox diff`: print how keys differ from one moment to another."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect, query_pages
from signalbox.desktop.click_types import PATTERN
from signalbox.desktop.differences import print_differences
from signalbox.desktop.options import MOMENT, NOW, json_option, read_dir_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.terminal_output import print_json, print_json_lines, print_line
from signalbox.ui.formatting import counted

SUMMARY: Final = ("from", "to", "total", "compacted")


@click.command("diff", cls=LiteralCommand)
@click.argument("since", metavar="FROM", type=MOMENT)
@click.argument("until", metavar="TO", type=MOMENT)
@click.argument("match", default="**", type=PATTERN)
@json_option
@read_dir_option
def diff(since: str, until: str, match: str, as_json: bool, data_dir: Path) -> None:
    """Print how the keys that match differ from one moment to another: revisions, times or now."""
    with connect(data_dir) as box, ProgressBar("Comparing") as bar:
        # A query has no word for now: a revision keeps all pages at the same moment.
        moments = [str(box.revision()) if moment == NOW else moment for moment in (since, until)]
        parameters = {"match": match, "from": moments[0], "to": moments[1]}
        pages = query_pages(box, "diff", limit=1_000, **parameters)
        first = next(pages)
        bar.hide_before_output()
        differences = _items(chain([first], pages), first["total"], bar)
        if as_json:
            print_json_lines(differences)
            print_json({name: value for name, value in first.items() if name in SUMMARY})
            return
        print_differences(differences)
        bar.hide()
        differ = counted(first["total"], "key differs", "keys differ")
        print_line(f"{differ} from revision {first['from']} to {first['to']}")


def _items(
    pages: Iterable[dict[str, Any]], total: int, bar: ProgressBar
) -> Iterator[dict[str, Any]]:
    """The items of all pages, with progress."""
    done = 0
    for page in pages:
        yield from page["items"]
        done += len(page["items"])
        bar.update(done, total)
