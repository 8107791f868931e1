"""What the window asks of macOS beyond pywebview: menus, its title, dark or light."""

import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.menus import Entry, Menu, parts

APPEARANCES: Final = {
    "light": "NSAppearanceNameAqua",
    "dark": "NSAppearanceNameDarkAqua",
}
EDITS: Final = (("Cut", "cut:", "x"), ("Copy", "copy:", "c"), ("Paste", "paste:", "v"))
"""They go to whatever has the focus; without these entries their keys do nothing in a web view."""
ALL: Final = ("Select all", "selectAll:", "a")
FUNCTION_KEY: Final = 0xF703
"""NSF1FunctionKey, less one."""


def is_dark() -> bool:
    """Whether the desktop is."""
    asked = ["/usr/bin/defaults", "read", "-g", "AppleInterfaceStyle"]
    return b"Dark" in subprocess.run(asked, capture_output=True, check=False).stdout


def do(_window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the main thread, from whatever thread."""
    import_module("PyObjCTools.AppHelper").callAfter(work)


def fit(
    window: Any,
    _background: str,
    menus: Sequence[Menu],
    _home: Callable[[], str],
    _lost: Callable[[], None],
    named: Callable[[str], None],
) -> None:
    """Give pywebview's new window its menu and its page's title."""
    browser = _browser(window)
    titles = _titles().alloc().init()
    titles.named = named
    browser.titles = titles  # which must live as long
    browser.webview.addObserver_forKeyPath_options_context_(titles, "title", 0, None)
    # pywebview makes the menu bar anew whenever another window gets the focus.
    made = browser._recreate_menus  # noqa: SLF001 - its own way to the native menu, it has no other
    browser._recreate_menus = lambda given: _dressed(made(given), menus)  # noqa: SLF001


def set_theme(_window: Any, theme: str) -> None:
    """Of title bars, menus and dialogs: system, light or dark."""
    kit = import_module("AppKit")
    name = APPEARANCES.get(theme)
    wanted = kit.NSAppearance.appearanceNamed_(name) if name else None
    kit.NSApplication.sharedApplication().setAppearance_(wanted)


def come(window: Any, _state: str) -> None:
    """Bring the window before all others."""
    native = window.native
    native.deminiaturize_(None)
    native.makeKeyAndOrderFront_(None)
    application = import_module("AppKit").NSApplication.sharedApplication()
    application.activateIgnoringOtherApps_(True)


def zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is as it is. From macOS 11."""
    _view(window).setPageZoom_(factor)


def run(window: Any, script: str) -> None:
    """Run it in the page, for which it counts as something that the user did."""
    _view(window).evaluateJavaScript_completionHandler_(script, None)


def place(window: Any, before: Geometry, state: str) -> Geometry:
    """Where the window stands, from the top of the main screen; while it is as large as it was."""
    if state != "restored":
        return before._replace(maximized=state == "maximized")
    frame = window.native.frame()
    screen = import_module("AppKit").NSScreen.screens()[0].frame()
    return Geometry(
        x=int(frame.origin.x),
        y=int(screen.size.height - frame.origin.y - frame.size.height),
        width=int(frame.size.width),
        height=int(frame.size.height),
    )


def _browser(window: Any) -> Any:
    """What pywebview has for the window."""
    return window.gui.BrowserView.instances[window.uid]


def _view(window: Any) -> Any:
    return _browser(window).webview


@cache
def _titles() -> Any:
    """A class that watches a web view's title (key-value observing); it can be made only once."""

    class SignalboxTitles(import_module("AppKit").NSObject):  # type: ignore[misc]
        named: Callable[[str], None]

        def observeValueForKeyPath_ofObject_change_context_(  # noqa: N802 - Cocoa's own name
            self, _path: str, view: Any, _change: Any, _context: Any
        ) -> None:
            self.named(str(view.title() or ""))

    return SignalboxTitles


def _dressed(bar: Any, menus: Sequence[Menu]) -> Any:
    """The menu bar with keys, and with what text fields need."""
    for menu in menus:
        _keys(bar.itemWithTitle_(menu.label).submenu(), menu)
    edit = bar.itemWithTitle_("Edit").submenu()
    edit.addItem_(import_module("AppKit").NSMenuItem.separatorItem())
    for title, action, key in (*EDITS, ALL):
        edit.addItemWithTitle_action_keyEquivalent_(title, action, key)
    return bar


def _keys(native: Any, menu: Menu) -> None:
    """A key goes to the page first, and to the menu only where the page leaves it alone."""
    for item in menu.items:
        if isinstance(item, Menu):
            _keys(native.itemWithTitle_(item.label).submenu(), item)
        elif isinstance(item, Entry) and item.keys:
            key, mask = _equivalent(item.keys)
            made = native.itemWithTitle_(item.label)
            made.setKeyEquivalent_(key)
            made.setKeyEquivalentModifierMask_(mask)


def _equivalent(keys: str) -> tuple[str, int]:
    """Cocoa's words for keys such as `Ctrl+Shift+Z`, where Ctrl is the Command key."""
    kit = import_module("AppKit")
    flags = {
        "Ctrl": kit.NSEventModifierFlagCommand,
        "Meta": kit.NSEventModifierFlagControl,
        "Shift": kit.NSEventModifierFlagShift,
    }
    modifiers, key = parts(keys)
    mask = 0
    for modifier in modifiers:
        mask |= flags[modifier]
    if len(key) > 1:
        key = chr(FUNCTION_KEY + int(key[1:]))
    return key.lower(), mask
