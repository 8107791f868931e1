"""The menu bar of a window as data: its entries, their keyboard shortcuts and their actions."""

import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

IMPORT, IMPORT_SHORTCUT = "Import…", "Ctrl+O"
ZOOM_IN, ZOOM_OUT, ZOOM_RESET = 1, -1, 0
"""Steps of zooming."""
FULL_SCREEN_SHORTCUT: Final = "Ctrl+Meta+F" if sys.platform == "darwin" else "F11"


class Entry(NamedTuple):
    """One line of a menu; `action` is called on a thread of its own.

    A shortcut is written as Qt does: Ctrl is the Command key of a Mac, Meta its Control key. Where
    `is_handled_by_page` is set the page handles it, as it depends on what has the focus.
    """

    label: str
    action: Callable[[], object]
    shortcut: str = ""
    is_handled_by_page: bool = False


class Menu(NamedTuple):
    """A menu, or a menu within one; None is a line between entries."""

    label: str
    items: "Sequence[Entry | Menu | None]"


class WindowActions(Protocol):
    """What the menu does with its own window."""

    def run_page_command(self, command: str) -> None:
        """Have the page run one of its commands, by the name that it has there."""

    def zoom(self, step: int) -> None:
        """Zoom in (1), out (-1), or back to the actual size (0)."""

    def toggle_full_screen(self) -> None:
        """Let the window fill the screen, or no longer."""

    def close(self) -> None:
        """Close the window of this menu."""


class AppActions(Protocol):
    """What the menu does beyond its window."""

    def open_another_window(self) -> None:
        """Open one more window of the app."""

    def show_log(self) -> None:
        """Show the server's log in a program of the system."""

    def show_data_folder(self) -> None:
        """Show the folder of the store in a program of the system."""

    def quit(self) -> None:
        """Close all windows, which ends the app."""


def split_shortcut(shortcut: str) -> tuple[list[str], str]:
    """The modifiers and the key of `Ctrl++` and the like."""
    modifiers, _, key = shortcut[:-1].rpartition("+")
    return [modifier for modifier in modifiers.split("+") if modifier], key + shortcut[-1]


def menu_bar(window: WindowActions, app: AppActions) -> list[Menu]:
    """The menus of one window, from left to right."""
    return [_file_menu(window, app), _edit_menu(window), _view_menu(window), _help_menu(window)]


def _file_menu(window: WindowActions, app: AppActions) -> Menu:
    """The menu *File*: what concerns windows, the log and the data."""
    formats = ["NDJSON", "JSON", "CSV"]
    ends: list[Entry | Menu | None] = [Entry("Close window", window.close, "Ctrl+W")]
    if sys.platform != "darwin":  # where the menu of the app has it
        ends.append(Entry("Quit", app.quit, "Ctrl+Q"))
    exports = [_page_entry(window, f"Export as {name}…", f"{name}…") for name in formats]
    return Menu(
        "File",
        [
            Entry("New window", app.open_another_window, "Ctrl+N"),
            None,
            _page_entry(window, IMPORT, shortcut=IMPORT_SHORTCUT),
            Menu("Export", exports),
            None,
            Entry("Show log", app.show_log),
            Entry("Show data folder", app.show_data_folder),
            None,
            *ends,
        ],
    )


def _edit_menu(window: WindowActions) -> Menu:
    """The menu *Edit*, whose entries run commands of the page."""
    return Menu(
        "Edit",
        [
            _page_entry(window, "Undo", shortcut="Ctrl+Z"),
            _page_entry(window, "Redo", shortcut="Ctrl+Shift+Z"),
            None,
            _page_entry(window, "Find", shortcut="Ctrl+K"),
        ],
    )


def _view_menu(window: WindowActions) -> Menu:
    """The menu *View*: what the page shows, its zoom, and the full screen."""
    return Menu(
        "View",
        [
            Entry("Zoom in", lambda: window.zoom(ZOOM_IN), "Ctrl++"),
            Entry("Zoom out", lambda: window.zoom(ZOOM_OUT), "Ctrl+-"),
            Entry("Actual size", lambda: window.zoom(ZOOM_RESET), "Ctrl+0"),
            None,
            Entry("Full screen", window.toggle_full_screen, FULL_SCREEN_SHORTCUT),
        ],
    )


def _help_menu(window: WindowActions) -> Menu:
    """The menu *Help*, whose entries run commands of the page."""
    return Menu(
        "Help",
        [_page_entry(window, "Keyboard shortcuts"), _page_entry(window, "About Signalbox")],
    )


def _page_entry(
    window: WindowActions, command: str, label: str | None = None, shortcut: str = ""
) -> Entry:
    """An entry that runs a command of the page, whose name it has unless another is given."""
    return Entry(
        label or command,
        lambda: window.run_page_command(command),
        shortcut,
        is_handled_by_page=bool(shortcut),
    )
