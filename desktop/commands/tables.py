"""What queries answer, page by page, and how it is printed: tables, lines, JSON."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from signalbox.desktop.commands import (
    complain,
    print_json,
    say,
    visible,
)

PAGE: Final = 1_000


def pages(
    box: Any,
    query: str,
    *,
    position: str = "after",
    first: Any = None,
    **parameters: Any,
) -> Iterator[dict[str, Any]]:
    """Every page of a query, from `first` on; what is asked `at` a time stays at that moment.

    Stderr says what retention has removed.
    """
    following, told = first, list[str]()
    while True:
        page = box.query(query, **parameters, **{position: following})
        compacted = page.get("compacted", [])
        if compacted and compacted != told:
            tell_compacted(told := compacted)
        for name, revision in (("at", "revision"), ("from", "from"), ("to", "to")):
            if parameters.get(name) is not None:
                parameters[name] = page[revision]
        yield page
        if (following := page["next"]) is None:
            return


def items(
    box: Any, query: str, *, field: str = "items", count: int | None = None, **parameters: Any
) -> Iterator[Any]:
    """What stands in the pages of a query; at most `count`."""
    size = PAGE if count is None else min(PAGE, count)
    every = (item for page in pages(box, query, limit=size, **parameters) for item in page[field])
    return islice(every, count)


def tell_compacted(prefixes: Sequence[str]) -> None:
    """Say on stderr what an answer lacks."""
    places = ["everywhere" if prefix in ("", "**") else f"below {prefix}" for prefix in prefixes]
    complain(
        f"Retention has removed older changes {', '.join(places)}; what needs them is left out."
    )


def print_lines(values: Iterable[Any]) -> None:
    """One JSON value a line."""
    for value in values:
        print_json(value)


def print_rows(
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
