"""The menu bar on Linux: its keys, and colours that are those of the page below it."""

from collections.abc import Sequence
from typing import Any, Final

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtGui import QAction, QColor, QGuiApplication, QKeySequence, QPalette
from PySide6.QtWidgets import QApplication, QMenu, QMenuBar

from signalbox.desktop.window.menus import Entry, Menu

SCHEMES: Final = {
    "system": Qt.ColorScheme.Unknown,
    "light": Qt.ColorScheme.Light,
    "dark": Qt.ColorScheme.Dark,
}
THEME: Final = "theme"
NAMES: Final = ("ground", "raised", "line", "ink", "faint", "chosen")
COLOURS: Final = {
    # as in ui/static/base.css: --bg, --raise, --line, --ink, --faint, --sel
    "light": ("#f6f6f4", "#ffffff", "#e4e3df", "#1d1d1b", "#6b6963", "#e3ecfb"),
    "dark": ("#161615", "#232321", "#31302d", "#ecebe6", "#a09d94", "#203049"),
}
BAR: Final = """
QMenuBar {{ background: {ground}; color: {ink}; font-size: 13px; padding: 2px 6px;
  border-bottom: 1px solid {line}; }}
QMenuBar::item {{ background: transparent; padding: 4px 9px; border-radius: 5px; }}
QMenuBar::item:selected, QMenuBar::item:pressed {{ background: {chosen}; color: {ink}; }}
"""
MENU: Final = """
QMenu {{ background: {raised}; color: {ink}; border: 1px solid {line}; padding: 4px;
  font-size: 13px; min-width: 180px; }}
QMenu::item {{ padding: 5px 22px 5px 14px; border-radius: 5px; background: transparent; }}
QMenu::item:selected {{ background: {chosen}; color: {ink}; }}
QMenu::item:disabled {{ color: {faint}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: 4px 10px; }}
"""
LARGER: Final = "Ctrl+="
"""The same key as Ctrl++ on most keyboards, without Shift."""


def is_dark() -> bool:
    """Whether the desktop is."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def set_theme(native: Any, theme: str) -> None:
    """Give dialogs and this window's menus theirs: system, light or dark."""
    app: Any = QApplication.instance()
    app.setProperty(THEME, theme)
    QGuiApplication.styleHints().setColorScheme(SCHEMES[theme])
    recolour(native.menuBar())


def recolour(bar: QMenuBar) -> None:
    """In the theme's colours; not every desktop lets an app choose its palette by a scheme."""
    QApplication.setPalette(_palette())
    bar.setStyleSheet(style())


def dress(native: Any, menus: Sequence[Menu]) -> None:
    """Give pywebview's menu bar its keys, and let its colours follow the desktop's."""
    bar = native.menuBar()
    for action, menu in zip(bar.actions(), menus, strict=True):
        _keys(action, menu)
    follower = Follower(bar)
    QGuiApplication.styleHints().colorSchemeChanged.connect(follower.follow)


def style() -> str:
    """The style sheet of a menu or a menu bar."""
    return (BAR + MENU).format(**_colours())


class Follower(QObject):
    """Goes with its menu bar, and takes the signal's connection along."""

    def __init__(self, bar: QMenuBar) -> None:
        super().__init__(bar)
        self._bar = bar

    @Slot()
    def follow(self) -> None:
        """The desktop has other colours."""
        recolour(self._bar)


def _colours() -> dict[str, str]:
    app: Any = QApplication.instance()
    theme = app.property(THEME)
    if theme not in COLOURS:
        theme = "dark" if is_dark() else "light"
    return dict(zip(NAMES, COLOURS[theme], strict=True))


def _palette() -> QPalette:
    colours = _colours()
    palette = QPalette(QColor(colours["raised"]), QColor(colours["ground"]))
    role = QPalette.ColorRole
    for roles, name in (
        ((role.Base, role.ToolTipBase), "raised"),
        ((role.AlternateBase,), "ground"),
        ((role.Text, role.WindowText, role.ButtonText, role.ToolTipText), "ink"),
        ((role.PlaceholderText,), "faint"),
        ((role.Highlight,), "chosen"),
        ((role.HighlightedText,), "ink"),
    ):
        for each in roles:
            palette.setColor(each, QColor(colours[name]))
    for each in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(colours["faint"]))
    return palette


def _keys(action: QAction, item: Entry | Menu | None) -> None:
    """Keys that the page heeds are written beside their entry, but are not taken from the page."""
    if isinstance(item, Menu):
        menu: Any = action.menu()
        assert isinstance(menu, QMenu)
        for each, inner in zip(menu.actions(), item.items, strict=True):
            _keys(each, inner)
    elif item is not None and item.is_pages:
        shown = QKeySequence(item.keys).toString(QKeySequence.SequenceFormat.NativeText)
        action.setText(f"{item.label}\t{shown}")
    elif item is not None and item.keys:
        more = [LARGER] if item.keys == "Ctrl++" else []
        action.setShortcuts([QKeySequence(keys) for keys in (item.keys, *more)])
