"""The native window on Windows (WinForms): what pywebview lacks in menus, titles and themes."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any, Final

from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.menus import Entry, Menu, split_shortcut

THEMES_KEY: Final = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
KEY_NAMES: Final = {"+": "Oemplus", "-": "OemMinus", "0": "D0", "Ctrl": "Control"}
"""Keys that Windows Forms has other names for."""
COLOURS: Final = {
    # background and text, as in ui/static/base.css: --bg, --ink
    False: ("#f6f6f4", "#1d1d1b"),
    True: ("#161615", "#ecebe6"),
}


def is_desktop_dark() -> bool:
    """Whether the desktop has a dark theme."""
    if sys.platform != "win32":
        return False
    import winreg  # noqa: PLC0415 - there is none elsewhere

    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, THEMES_KEY) as key:
            return bool(winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0)
    except FileNotFoundError:
        return False  # a Windows without themes


def run_on_ui_thread(window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the window's own thread, from whatever thread."""

    def call() -> None:  # without a result, as an Action is
        work()

    window.native.BeginInvoke(import_module("System").Action(call))


def set_up_window(
    window: Any,
    _background: str,
    menus: Sequence[Menu],
    _page_url: Callable[[], str],
    _on_page_lost: Callable[[], None],
    on_page_title: Callable[[str], None],
) -> None:
    """Give pywebview's new window the shortcuts of its menus and its page's title."""
    for item, menu in zip(_menu_strip(window).Items, menus, strict=True):
        _set_shortcuts(item, menu)
    view = window.native.browser.webview

    def observe_title(*_: object) -> None:
        core = view.CoreWebView2
        core.DocumentTitleChanged += lambda *_: on_page_title(core.DocumentTitle)

    if view.CoreWebView2 is None:
        view.CoreWebView2InitializationCompleted += observe_title
    else:
        observe_title()


def set_theme(window: Any, theme: str) -> None:
    """Set the theme of title bar and menus: system, light or dark."""
    native = window.native
    native.is_dark_theme = lambda: is_desktop_dark() if theme == "system" else theme == "dark"
    native.update_title_bar_theme()  # pywebview's: it calls the function above, also later
    _apply_colours(_menu_strip(window), native.is_dark_theme())


def bring_to_front(window: Any, state: str) -> None:
    """Bring the window before all other windows."""
    if state == "minimized":
        window.native.restore()
    window.native.show()


def set_zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is the actual size."""
    window.native.browser.webview.ZoomFactor = factor


def run_script(window: Any, script: str) -> None:
    """Run a script in the page as something that the user did: it may open a file dialog."""
    core = window.native.browser.webview.CoreWebView2
    if core is not None:  # else there is no page yet
        parameters = json.dumps({"expression": script, "userGesture": True})
        core.CallDevToolsProtocolMethodAsync("Runtime.evaluate", parameters)


def read_geometry(window: Any, previous: Geometry, state: str) -> Geometry:
    """The window's geometry in logical pixels; the `previous` one unless it is restored."""
    if state != "restored":
        return previous._replace(maximized=state == "maximized")
    return Geometry(window.x, window.y, window.width, window.height)


def _menu_strip(window: Any) -> Any:
    """The window's menu bar (MenuStrip), which pywebview has created."""
    return next(
        control for control in window.native.Controls if control.GetType().Name == "MenuStrip"
    )


def _set_shortcuts(native: Any, item: Entry | Menu | None) -> None:
    """Write shortcuts beside the entries of a menu; the page gets the keys of those it handles."""
    if isinstance(item, Menu):
        for native_item, inner in zip(native.DropDownItems, item.items, strict=True):
            _set_shortcuts(native_item, inner)
    elif item is not None and item.shortcut:
        native.ShortcutKeyDisplayString = item.shortcut
        if not item.is_handled_by_page:
            native.ShortcutKeys = _native_shortcut(item.shortcut)


def _native_shortcut(shortcut: str) -> Any:
    """The flags of a shortcut such as `Ctrl++`."""
    names = import_module("System.Windows.Forms").Keys
    modifiers, key = split_shortcut(shortcut)
    flags = [getattr(names, KEY_NAMES.get(name, name)) for name in (*modifiers, key)]
    return reduce(or_, flags)


def _apply_colours(strip: Any, is_dark: bool) -> None:
    """Set the colours of a menu and its items; the selected one is drawn in those of the system."""
    forms = import_module("System.Windows.Forms")
    html = import_module("System.Drawing").ColorTranslator.FromHtml
    background, text = map(html, COLOURS[is_dark])
    strip.RenderMode = forms.ToolStripRenderMode.System

    def paint(items: Any) -> None:
        for item in items:
            item.BackColor, item.ForeColor = background, text
            if hasattr(item, "DropDown"):
                item.DropDown.BackColor = background
                paint(item.DropDownItems)

    strip.BackColor, strip.ForeColor = background, text
    paint(strip.Items)
