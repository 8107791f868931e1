"""What the menu bar of a window offers: its entries, their keys, and what each of them does."""

import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

IMPORT, IMPORT_KEYS = "Import…", "Ctrl+O"
IN, OUT, ACTUAL = 1, -1, 0
"""Steps of zooming."""
FULL_SCREEN: Final = "Ctrl+Meta+F" if sys.platform == "darwin" else "F11"


class Entry(NamedTuple):
    """One line of a menu; `act` is called on a thread of its own.

    `keys` are written as Qt does: Ctrl is the Command key of a Mac, Meta its Control key. Where
    `is_pages` is set the page heeds them itself, as what they mean depends on what has the focus.
    """

    label: str
    act: Callable[[], object]
    keys: str = ""
    is_pages: bool = False


class Menu(NamedTuple):
    """A menu, or a menu within one; None is a line between entries."""

    label: str
    items: "Sequence[Entry | Menu | None]"


class Here(Protocol):
    """The window whose menu it is."""

    def tell(self, command: str) -> None:
        """Have the page run one of its commands, by the name that it has there."""

    def zoom(self, step: int) -> None:
        """Larger, smaller, or as large as it is."""

    def full_screen(self) -> None:
        """Fill the screen, or no longer."""

    def close(self) -> None:
        """Close it."""


class Everywhere(Protocol):
    """What concerns all windows."""

    def another(self) -> None:
        """Open one more."""

    def show_log(self) -> None:
        """Show what the server said."""

    def show_data(self) -> None:
        """Show the folder of the store."""

    def quit(self) -> None:
        """Close all windows."""


def parts(keys: str) -> tuple[list[str], str]:
    """The modifiers and the key of `Ctrl++` and the like."""
    modifiers, _, key = keys[:-1].rpartition("+")
    return [each for each in modifiers.split("+") if each], key + keys[-1]


def bar(here: Here, everywhere: Everywhere) -> list[Menu]:
    """The menus of one window."""
    return [_file(here, everywhere), _edit(here), _view(here), _help(here)]


def _file(here: Here, everywhere: Everywhere) -> Menu:
    formats = ["NDJSON", "JSON", "CSV"]
    leave: list[Entry | Menu | None] = [Entry("Close window", here.close, "Ctrl+W")]
    if sys.platform != "darwin":  # where the menu of the app has it
        leave.append(Entry("Quit", everywhere.quit, "Ctrl+Q"))
    return Menu(
        "File",
        [
            Entry("New window", everywhere.another, "Ctrl+N"),
            None,
            Entry(IMPORT, _telling(here, IMPORT), IMPORT_KEYS, is_pages=True),
            Menu("Export", [_telling_entry(here, f"Export as {each}…", each) for each in formats]),
            None,
            Entry("Show log", everywhere.show_log),
            Entry("Show data folder", everywhere.show_data),
            None,
            *leave,
        ],
    )


def _edit(here: Here) -> Menu:
    return Menu(
        "Edit",
        [
            Entry("Undo", _telling(here, "Undo"), "Ctrl+Z", is_pages=True),
            Entry("Redo", _telling(here, "Redo"), "Ctrl+Shift+Z", is_pages=True),
            None,
            Entry("Find", _telling(here, "Find"), "Ctrl+K", is_pages=True),
        ],
    )


def _view(here: Here) -> Menu:
    return Menu(
        "View",
        [
            Entry("Zoom in", lambda: here.zoom(IN), "Ctrl++"),
            Entry("Zoom out", lambda: here.zoom(OUT), "Ctrl+-"),
            Entry("Actual size", lambda: here.zoom(ACTUAL), "Ctrl+0"),
            None,
            Entry("Full screen", here.full_screen, FULL_SCREEN),
        ],
    )


def _help(here: Here) -> Menu:
    return Menu(
        "Help",
        [
            Entry("Keyboard shortcuts", _telling(here, "Keyboard shortcuts")),
            Entry("About Signalbox", _telling(here, "About Signalbox")),
        ],
    )


def _telling_entry(here: Here, command: str, label: str) -> Entry:
    return Entry(f"{label}…", _telling(here, command))


def _telling(here: Here, command: str) -> Callable[[], object]:
    return lambda: here.tell(command)
