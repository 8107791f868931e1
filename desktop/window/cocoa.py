"""The native window on macOS (Cocoa): what pywebview lacks in menus, titles and themes."""

import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.menus import Entry, Menu, split_shortcut

APPEARANCES: Final = {
    "light": "NSAppearanceNameAqua",
    "dark": "NSAppearanceNameDarkAqua",
}
EDIT_ENTRIES: Final = (("Cut", "cut:", "x"), ("Copy", "copy:", "c"), ("Paste", "paste:", "v"))
"""They go to whatever has the focus; without these entries their keys do nothing in a web view."""
SELECT_ALL: Final = ("Select all", "selectAll:", "a")
FUNCTION_KEY: Final = 0xF703
"""NSF1FunctionKey, less one."""


def is_desktop_dark() -> bool:
    """Whether the desktop has a dark theme."""
    command = ["/usr/bin/defaults", "read", "-g", "AppleInterfaceStyle"]
    return b"Dark" in subprocess.run(command, capture_output=True, check=False).stdout


def run_on_ui_thread(_window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the main thread, from whatever thread."""
    import_module("PyObjCTools.AppHelper").callAfter(work)


def set_up_window(
    window: Any,
    _background: str,
    menus: Sequence[Menu],
    _page_url: Callable[[], str],
    _on_page_lost: Callable[[], None],
    on_page_title: Callable[[str], None],
) -> None:
    """Give pywebview's new window its menu and its page's title."""
    browser = _browser(window)
    observer = _title_observer_class().alloc().init()
    observer.on_page_title = on_page_title
    browser.title_observer = observer  # so that it lives as long
    browser.webview.addObserver_forKeyPath_options_context_(observer, "title", 0, None)
    # pywebview creates the menu bar again whenever another window gets the focus.
    recreate = browser._recreate_menus  # noqa: SLF001 - its own way to the native menu, it has no other
    browser._recreate_menus = lambda bar: _completed(recreate(bar), menus)  # noqa: SLF001


def set_theme(_window: Any, theme: str) -> None:
    """Set the theme of title bars, menus and dialogs: system, light or dark."""
    kit = import_module("AppKit")
    name = APPEARANCES.get(theme)
    appearance = kit.NSAppearance.appearanceNamed_(name) if name else None
    kit.NSApplication.sharedApplication().setAppearance_(appearance)


def bring_to_front(window: Any, _state: str) -> None:
    """Bring the window before all other windows."""
    native = window.native
    native.deminiaturize_(None)
    native.makeKeyAndOrderFront_(None)
    application = import_module("AppKit").NSApplication.sharedApplication()
    application.activateIgnoringOtherApps_(True)


def set_zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is the actual size. From macOS 11."""
    _web_view(window).setPageZoom_(factor)


def run_script(window: Any, script: str) -> None:
    """Run a script in the page, where it counts as something that the user did."""
    _web_view(window).evaluateJavaScript_completionHandler_(script, None)


def read_geometry(window: Any, previous: Geometry, state: str) -> Geometry:
    """The window's geometry, from the main screen's top; `previous` unless it is restored."""
    if state != "restored":
        return previous._replace(maximized=state == "maximized")
    frame = window.native.frame()
    screen = import_module("AppKit").NSScreen.screens()[0].frame()
    return Geometry(
        x=int(frame.origin.x),
        y=int(screen.size.height - frame.origin.y - frame.size.height),
        width=int(frame.size.width),
        height=int(frame.size.height),
    )


def _browser(window: Any) -> Any:
    """The object that pywebview keeps for the window."""
    return window.gui.BrowserView.instances[window.uid]


def _web_view(window: Any) -> Any:
    """The web view (WKWebView) that shows the page."""
    return _browser(window).webview


@cache
def _title_observer_class() -> Any:
    """A class that observes a web view's title (key-value observing); to be created only once."""

    class SignalboxTitleObserver(import_module("AppKit").NSObject):  # type: ignore[misc]
        on_page_title: Callable[[str], None]

        def observeValueForKeyPath_ofObject_change_context_(  # noqa: N802 - Cocoa's own name
            self, _path: str, view: Any, _change: Any, _context: Any
        ) -> None:
            """Cocoa reports that the page has another title."""
            self.on_page_title(str(view.title() or ""))

    return SignalboxTitleObserver


def _completed(bar: Any, menus: Sequence[Menu]) -> Any:
    """The menu bar with shortcuts, and with the edit entries that text fields need."""
    for menu in menus:
        _set_shortcuts(bar.itemWithTitle_(menu.label).submenu(), menu)
    edit = bar.itemWithTitle_("Edit").submenu()
    edit.addItem_(import_module("AppKit").NSMenuItem.separatorItem())
    for title, action, key in (*EDIT_ENTRIES, SELECT_ALL):
        edit.addItemWithTitle_action_keyEquivalent_(title, action, key)
    return bar


def _set_shortcuts(native: Any, menu: Menu) -> None:
    """Set a menu's shortcuts: a key goes to the page first, then to the menu if it is unused."""
    for item in menu.items:
        if isinstance(item, Menu):
            _set_shortcuts(native.itemWithTitle_(item.label).submenu(), item)
        elif isinstance(item, Entry) and item.shortcut:
            key, mask = _key_equivalent(item.shortcut)
            entry = native.itemWithTitle_(item.label)
            entry.setKeyEquivalent_(key)
            entry.setKeyEquivalentModifierMask_(mask)


def _key_equivalent(shortcut: str) -> tuple[str, int]:
    """Key and modifier mask of a shortcut such as `Ctrl+Shift+Z`; Ctrl is the Command key."""
    kit = import_module("AppKit")
    flags = {
        "Ctrl": kit.NSEventModifierFlagCommand,
        "Meta": kit.NSEventModifierFlagControl,
        "Shift": kit.NSEventModifierFlagShift,
    }
    modifiers, key = split_shortcut(shortcut)
    mask = 0
    for modifier in modifiers:
        mask |= flags[modifier]
    if len(key) > 1:
        key = chr(FUNCTION_KEY + int(key[1:]))
    return key.lower(), mask
