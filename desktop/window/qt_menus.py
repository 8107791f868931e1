"""The menu bar on Linux (Qt): its keyboard shortcuts, and the colours of the page below it."""

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
THEME_PROPERTY: Final = "theme"
COLOUR_NAMES: Final = ("background", "raised", "border", "text", "muted", "selected")
COLOURS: Final = {
    # as in ui/static/base.css: --bg, --raise, --line, --ink, --faint, --sel
    "light": ("#f6f6f4", "#ffffff", "#e4e3df", "#1d1d1b", "#6b6963", "#e3ecfb"),
    "dark": ("#161615", "#232321", "#31302d", "#ecebe6", "#a09d94", "#203049"),
}
BAR_STYLE: Final = """
QMenuBar {{ background: {background}; color: {text}; font-size: 13px; padding: 2px 6px;
  border-bottom: 1px solid {border}; }}
QMenuBar::item {{ background: transparent; padding: 4px 9px; border-radius: 5px; }}
QMenuBar::item:selected, QMenuBar::item:pressed {{ background: {selected}; color: {text}; }}
"""
MENU_STYLE: Final = """
QMenu {{ background: {raised}; color: {text}; border: 1px solid {border}; padding: 4px;
  font-size: 13px; min-width: 180px; }}
QMenu::item {{ padding: 5px 22px 5px 14px; border-radius: 5px; background: transparent; }}
QMenu::item:selected {{ background: {selected}; color: {text}; }}
QMenu::item:disabled {{ color: {muted}; }}
QMenu::separator {{ height: 1px; background: {border}; margin: 4px 10px; }}
"""
ZOOM_IN_ALIAS: Final = "Ctrl+="
"""The same key as Ctrl++ on most keyboards, without Shift."""


def is_desktop_dark() -> bool:
    """Whether the desktop has a dark theme."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def set_theme(native: Any, theme: str) -> None:
    """Set the theme of dialogs and this window's menus: system, light or dark."""
    app: Any = QApplication.instance()
    app.setProperty(THEME_PROPERTY, theme)
    QGuiApplication.styleHints().setColorScheme(SCHEMES[theme])
    apply_colours(native.menuBar())


def apply_colours(bar: QMenuBar) -> None:
    """Set the theme's colours; not on every desktop does a colour scheme choose the palette."""
    QApplication.setPalette(_palette())
    bar.setStyleSheet(style_sheet())


def set_up_menu_bar(native: Any, menus: Sequence[Menu]) -> None:
    """Give pywebview's menu bar its shortcuts, and the desktop's colours whenever these change."""
    bar = native.menuBar()
    for action, menu in zip(bar.actions(), menus, strict=True):
        _set_shortcuts(action, menu)
    listener = ColourSchemeListener(bar)
    QGuiApplication.styleHints().colorSchemeChanged.connect(listener.on_colour_scheme_changed)


def style_sheet() -> str:
    """The style sheet of a menu or a menu bar."""
    return (BAR_STYLE + MENU_STYLE).format(**_colours())


class ColourSchemeListener(QObject):
    """A child of its menu bar: Qt deletes it with that, and its connection to the signal."""

    def __init__(self, bar: QMenuBar) -> None:
        """A child of the menu bar whose colours follow the desktop's theme."""
        super().__init__(bar)
        self._bar = bar

    @Slot()
    def on_colour_scheme_changed(self) -> None:
        """The desktop has another theme: colour the menus by it."""
        apply_colours(self._bar)


def _colours() -> dict[str, str]:
    """The colours of the menus in the theme that was chosen, or else in the desktop's."""
    app: Any = QApplication.instance()
    theme = app.property(THEME_PROPERTY)
    if theme not in COLOURS:
        theme = "dark" if is_desktop_dark() else "light"
    return dict(zip(COLOUR_NAMES, COLOURS[theme], strict=True))


def _palette() -> QPalette:
    """The colours of the menus as Qt's palette."""
    colours = _colours()
    palette = QPalette(QColor(colours["raised"]), QColor(colours["background"]))
    role = QPalette.ColorRole
    for roles, name in (
        ((role.Base, role.ToolTipBase), "raised"),
        ((role.AlternateBase,), "background"),
        ((role.Text, role.WindowText, role.ButtonText, role.ToolTipText), "text"),
        ((role.PlaceholderText,), "muted"),
        ((role.Highlight,), "selected"),
        ((role.HighlightedText,), "text"),
    ):
        for one in roles:
            palette.setColor(one, QColor(colours[name]))
    for one in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, one, QColor(colours["muted"]))
    return palette


def _set_shortcuts(action: QAction, item: Entry | Menu | None) -> None:
    """Write shortcuts beside the entries of a menu; the page gets the keys of those it handles."""
    if isinstance(item, Menu):
        menu: Any = action.menu()
        assert isinstance(menu, QMenu)
        for inner_action, inner in zip(menu.actions(), item.items, strict=True):
            _set_shortcuts(inner_action, inner)
    elif item is not None and item.is_handled_by_page:
        text = QKeySequence(item.shortcut).toString(QKeySequence.SequenceFormat.NativeText)
        action.setText(f"{item.label}\t{text}")
    elif item is not None and item.shortcut:
        aliases = [ZOOM_IN_ALIAS] if item.shortcut == "Ctrl++" else []
        action.setShortcuts([QKeySequence(keys) for keys in (item.shortcut, *aliases)])
