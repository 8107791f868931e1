"""Differences between two moments, printed as `diff` and `restore --dry-run` print them."""

from collections.abc import Iterable
from typing import Any

from signalbox.desktop.terminal_output import colour, escape_for_terminal, format_value, print_line


def print_differences(differences: Iterable[dict[str, Any]], removed: str = "") -> None:
    """For each `{key, before, after}` a line `- key value` and a line `+ key value`.

    A side that is missing is that of a key which did not exist at that moment; where that is
    `after`, `removed` is a third column.
    """
    for difference in differences:
        key = escape_for_terminal(difference["key"])
        for sign, side, name in (("-", "before", "red"), ("+", "after", "green")):
            if side in difference:
                end = f"\t{removed}" if removed and "after" not in difference else ""
                value = format_value(difference[side])
                print_line(colour(f"{sign} {key}\t{value}{end}", name))
