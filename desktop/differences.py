"""Differences between two moments, printed as `diff` and `restore --dry-run` print them."""

from collections.abc import Iterable
from typing import Any

from signalbox.desktop.terminal_output import colour, escape_for_terminal, format_value, print_line


def print_differences(differences: Iterable[dict[str, Any]]) -> None:
    """For each `{key, before, after}` a line `- key value` and a line `+ key value`.

    A side that is missing is that of a key which did not exist at that moment.
    """
    for difference in differences:
        key = escape_for_terminal(difference["key"])
        for sign, side, name in (("-", "before", "red"), ("+", "after", "green")):
            if side in difference:
                print_line(colour(f"{sign} {key}\t{format_value(difference[side])}", name))
