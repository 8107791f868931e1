"""What the window asks of Windows beyond pywebview: menus, its title, dark or light."""

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.menus import Entry, Menu, parts

PERSONAL: Final = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
KEYS: Final = {"+": "Oemplus", "-": "OemMinus", "0": "D0", "Ctrl": "Control"}
"""What Windows Forms calls the keys that it has other names for."""
COLOURS: Final = {
    # ground and ink, as in ui/static/base.css: --bg, --ink
    False: ("#f6f6f4", "#1d1d1b"),
    True: ("#161615", "#ecebe6"),
}


def is_dark() -> bool:
    """Whether the desktop is."""
    if sys.platform != "win32":
        return False
    import winreg  # noqa: PLC0415 - there is none elsewhere

    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, PERSONAL) as key:
            return bool(winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0)
    except FileNotFoundError:
        return False  # a Windows without themes


def do(window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the window's own thread, from whatever thread."""

    def act() -> None:
        work()

    window.native.BeginInvoke(import_module("System").Action(act))


def fit(
    window: Any,
    _background: str,
    menus: Sequence[Menu],
    _home: Callable[[], str],
    _lost: Callable[[], None],
    named: Callable[[str], None],
) -> None:
    """Give pywebview's new window its menu's keys and its page's title."""
    for item, menu in zip(_strip(window).Items, menus, strict=True):
        _keys(item, menu)
    view = window.native.browser.webview

    def follow(*_: object) -> None:
        view.CoreWebView2.DocumentTitleChanged += lambda *_: named(view.CoreWebView2.DocumentTitle)

    if view.CoreWebView2 is None:
        view.CoreWebView2InitializationCompleted += follow
    else:
        follow()


def set_theme(window: Any, theme: str) -> None:
    """Of title bar and menus: system, light or dark."""
    native = window.native
    native.is_dark_theme = lambda: is_dark() if theme == "system" else theme == "dark"
    native.update_title_bar_theme()  # pywebview's: it asks the line above, also later
    _colour(_strip(window), native.is_dark_theme())


def come(window: Any, state: str) -> None:
    """Bring the window before all others."""
    if state == "minimized":
        window.native.restore()
    window.native.show()


def zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is as it is."""
    window.native.browser.webview.ZoomFactor = factor


def run(window: Any, script: str) -> None:
    """Run it in the page, as something that the user did: a file may be asked for."""
    core = window.native.browser.webview.CoreWebView2
    if core is not None:  # else there is no page yet
        wish = json.dumps({"expression": script, "userGesture": True})
        core.CallDevToolsProtocolMethodAsync("Runtime.evaluate", wish)


def place(window: Any, before: Geometry, state: str) -> Geometry:
    """Where the window stands in logical pixels; what it was `before` unless it is restored."""
    if state != "restored":
        return before._replace(maximized=state == "maximized")
    return Geometry(window.x, window.y, window.width, window.height)


def _strip(window: Any) -> Any:
    """The menu bar that pywebview made."""
    return next(each for each in window.native.Controls if each.GetType().Name == "MenuStrip")


def _keys(made: Any, item: Entry | Menu | None) -> None:
    """Keys that the page heeds are written beside their entry, but are not taken from the page."""
    if isinstance(item, Menu):
        for each, inner in zip(made.DropDownItems, item.items, strict=True):
            _keys(each, inner)
    elif item is not None and item.keys:
        made.ShortcutKeyDisplayString = item.keys
        if not item.is_pages:
            made.ShortcutKeys = _shortcut(item.keys)


def _shortcut(keys: str) -> Any:
    """Keys such as `Ctrl++`."""
    names = import_module("System.Windows.Forms").Keys
    modifiers, key = parts(keys)
    found = [getattr(names, KEYS.get(each, each)) for each in (*modifiers, key)]
    all_of_them = found[0]
    for each in found[1:]:
        all_of_them |= each
    return all_of_them


def _colour(strip: Any, is_dark: bool) -> None:
    """Each item has colours of its own; what is chosen is drawn in those of the system."""
    forms = import_module("System.Windows.Forms")
    html = import_module("System.Drawing").ColorTranslator.FromHtml
    ground, ink = map(html, COLOURS[is_dark])
    strip.RenderMode = forms.ToolStripRenderMode.System

    def paint(items: Any) -> None:
        for item in items:
            item.BackColor, item.ForeColor = ground, ink
            if hasattr(item, "DropDown"):
                item.DropDown.BackColor = ground
                paint(item.DropDownItems)

    strip.BackColor, strip.ForeColor = ground, ink
    paint(strip.Items)
