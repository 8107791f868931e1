"""One window: pywebview showing the server's page. The only file that knows pywebview."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event, current_thread, main_thread
from typing import Any, Final
from urllib.parse import urlsplit

import webview
from webview.errors import WebViewException
from webview.menu import Menu, MenuAction, MenuSeparator

from signalbox.desktop.background_thread import start_background_thread
from signalbox.desktop.display import CannotShow
from signalbox.desktop.window import menus
from signalbox.desktop.window.geometry import (
    MIN_HEIGHT,
    MIN_WIDTH,
    Geometry,
    Screen,
)

if sys.platform == "linux":
    from signalbox.desktop.window import qt as system
elif sys.platform == "darwin":
    from signalbox.desktop.window import cocoa as system
else:
    from signalbox.desktop.window import winforms as system

TITLE: Final = "Signalbox"
PAGE_EVENT: Final = "signalbox-menu"
"""The event that the page listens to, see ui/static/menu.js."""
BACKGROUNDS: Final = {"light": "#f6f6f4", "dark": "#161615"}
"""Those of the page, so that nothing flashes before it is loaded."""
MNEMONIC: Final = "" if sys.platform == "darwin" else "&"
"""Before the letter that opens a menu together with Alt."""
ZOOM_FACTORS: Final = (0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def prepare_web_engine() -> object:
    """Choose the web engine; on the main thread, and the result must live as long as the window."""
    webview.settings["ALLOW_FILE_URLS"] = False
    webview.settings["SHOW_DEFAULT_MENUS"] = False  # of a Mac; ours have their entries
    if sys.platform != "linux":
        webview.settings["ALLOW_DOWNLOADS"] = True
        return None
    # The wheels bring Qt; GTK, which pywebview would try first, they do not.
    os.environ.update(PYWEBVIEW_GUI="qt", QT_API="pyside6")
    return system.application()


def screens() -> list[Screen]:
    """The screens that are connected now, the main one first. Raises `CannotShow`."""
    with _errors_as_cannot_show():
        return [
            Screen(screen.x, screen.y, screen.width, screen.height) for screen in webview.screens
        ]


def background(theme: str) -> str:
    """The colour behind the page for `_signalbox.theme`: system, light or dark."""
    return BACKGROUNDS[
        ("dark" if system.is_desktop_dark() else "light") if theme == "system" else theme
    ]


def resolvable_url(url: str) -> str:
    """A page's address as the web view resolves it: that of a Mac knows no names under localhost.

    A new name for each server matters less there, since that view keeps nothing from earlier ones.
    """
    if sys.platform != "darwin":
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()


def run() -> None:
    """Show the window that was opened and those that will be, until the last one is closed.

    On the main thread. Raises `CannotShow`.
    """
    _close_on_signals()
    with _errors_as_cannot_show():
        webview.start(gui="qt" if sys.platform == "linux" else None)


def has_open_windows() -> bool:
    """Whether pywebview has a window: it opens no other one after the last is closed."""
    return bool(webview.windows)


def close_all_windows() -> None:
    """Close every window, and so end `run`."""
    for window in list(webview.windows):
        window.destroy()  # waits until it is there


class Window:
    """`open` it before `run` on the main thread, or later on another; the rest on any thread.

    It shows no address but the one that it loaded last. `on_geometry_changed` is called whenever
    its geometry may have changed, `on_page_lost` when it has no page to show.
    """

    def __init__(
        self,
        geometry: Geometry,
        theme: str,
        on_geometry_changed: Callable[[], None],
        on_page_lost: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """A window that is not open yet. `theme` is system, light or dark."""
        self._url = ""
        self._geometry = geometry
        self._theme = theme
        self._background = background(theme)
        self._on_geometry_changed = on_geometry_changed
        self._on_page_lost = on_page_lost
        self._closed_callback = on_closed
        self._menus: Sequence[menus.Menu] = ()
        self._state = "restored"
        self._is_created = Event()
        self._permanent_title = ""
        self._zoom = 1.0
        self._window: Any = None

    def open(self, url: str, bar: Sequence[menus.Menu]) -> None:
        """Open the window at `url`, with the menus `bar`."""
        self._menus = bar
        self._url = resolvable_url(url)
        main = screens()[0]
        self._window = webview.create_window(
            TITLE,
            self._url,
            width=self._geometry.width,
            height=self._geometry.height,
            x=self._geometry.x - main.x,
            y=self._geometry.y - main.y,
            maximized=self._geometry.maximized,
            min_size=(MIN_WIDTH, MIN_HEIGHT),
            background_color=self._background,
            text_select=True,  # the page says what can be selected
            zoomable=True,
            menu=[_native_menu(menu) for menu in bar],
        )
        self._subscribe(self._window.events)
        if current_thread() is main_thread():
            return  # `run` creates it
        # pywebview may have created it before we subscribed.
        self._window.events.before_show.wait()
        system.run_on_ui_thread(self._window, self._set_up)

    def load_url(self, url: str) -> None:
        """Show another address of the server."""
        self._url = resolvable_url(url)
        self._created_window().load_url(self._url)

    def show_in_title(self, text: str) -> None:
        """Show a text in the native window's title, for good."""
        self._permanent_title = text
        self._created_window().set_title(f"{TITLE}: {text}")

    def show_in_status_line(self, text: str) -> None:
        """Show a text in the page's status line."""
        self._send_to_page({"note": text})

    def run_page_command(self, command: str) -> None:
        """Have the page run one of its commands, by the name that it has there."""
        if sys.platform == "linux" and command == menus.IMPORT:
            self._run_on_ui_thread(system.press_keys, menus.IMPORT_SHORTCUT)
        else:
            self._send_to_page({"command": command})

    def zoom(self, step: int) -> None:
        """Zoom in (1), out (-1), or back to the actual size (0)."""
        index = ZOOM_FACTORS.index(self._zoom if step else 1.0) + step
        self._zoom = ZOOM_FACTORS[min(max(index, 0), len(ZOOM_FACTORS) - 1)]
        self._run_on_ui_thread(system.set_zoom, self._zoom)

    def toggle_full_screen(self) -> None:
        """Let the window fill the screen, or no longer."""
        if sys.platform == "linux":
            self._run_on_ui_thread(system.toggle_full_screen)
        else:
            self._created_window().toggle_fullscreen()

    def set_theme(self, theme: str) -> None:
        """Set the theme of the native window's frame, menus and dialogs: system, light or dark."""
        self._run_on_ui_thread(system.set_theme, theme)

    def bring_to_front(self) -> None:
        """Bring the window before all other windows."""
        self._run_on_ui_thread(system.bring_to_front, self._state)

    def close(self) -> None:
        """Close the native window."""
        self._created_window().destroy()

    def geometry(self) -> Geometry:
        """The window's position and size, or those before it was maximized, minimized or closed."""
        return self._geometry

    def _created_window(self) -> Any:
        """The window of pywebview, as soon as it is created."""
        self._is_created.wait()
        return self._window

    def _run_on_ui_thread(self, work: Callable[..., object], *args: object) -> None:
        """Call `work` with the native window on the thread that shows windows."""
        window = self._created_window()

        def run_unless_closed() -> None:
            if self._state != "closed":  # else the window would appear again
                work(window, *args)

        system.run_on_ui_thread(window, run_unless_closed)

    def _send_to_page(self, detail: dict[str, str]) -> None:
        """Dispatch an event in the page, with these details."""
        event = f"new CustomEvent('{PAGE_EVENT}', {{detail: {json.dumps(detail)}}})"
        self._run_on_ui_thread(system.run_script, f"document.dispatchEvent({event})")

    def _subscribe(self, events: Any) -> None:
        """Subscribe to pywebview's events of the window."""
        events.before_show += self._set_up
        if sys.platform != "linux":
            events.loaded += self._return_to_page
        events.closing += self._on_closing
        events.closed += self._on_closed
        events.moved += self._on_moved
        events.resized += self._on_moved
        for state in ("minimized", "maximized", "restored"):
            event = getattr(events, state)
            event += partial(self._on_state_changed, state)

    def _set_up(self) -> None:
        """Set the native window up, once; on the thread that shows windows."""
        if self._is_created.is_set():
            return
        window = self._window
        system.set_up_window(
            window,
            self._background,
            self._menus,
            lambda: self._url,
            self._on_page_lost,
            self._on_page_title,
        )
        system.set_theme(window, self._theme)
        self._is_created.set()

    def _on_page_title(self, title: str) -> None:
        """Show the title that the page has given itself."""
        if not self._permanent_title:
            self._window.set_title(title or TITLE)

    def _return_to_page(self) -> None:
        """Where pywebview cannot refuse to leave the page, load it again."""
        url = self._window.get_current_url()
        if url is None or urlsplit(url).netloc != urlsplit(self._url).netloc:
            self.load_url(self._url)

    def _on_closing(self) -> None:
        """Pywebview's event `closing`: the last moment that the window has a geometry."""
        self._update_geometry()
        self._state = "closed"

    def _on_closed(self) -> None:
        """Pywebview's event `closed`: free what it keeps of the window."""
        if sys.platform == "linux":
            system.run_on_ui_thread(self._window, partial(system.release, self._window))
        self._closed_callback()

    def _on_state_changed(self, state: str) -> None:
        """Pywebview has maximized, minimized or restored the window."""
        if self._state != "closed":
            self._state = state
        self._on_moved()

    def _on_moved(self, *_position: int) -> None:
        """Pywebview has moved or resized the window."""
        self._update_geometry()
        self._on_geometry_changed()

    def _update_geometry(self) -> None:
        """Keep the native window's geometry, which can be read while it is open."""
        if self._state != "closed":
            self._geometry = system.read_geometry(self._window, self._geometry, self._state)


def _native_menu(item: menus.Entry | menus.Menu | None) -> Any:
    """The menu, entry or separator of pywebview."""
    if item is None:
        return MenuSeparator()
    if isinstance(item, menus.Entry):
        return MenuAction(item.label, partial(start_background_thread, item.action))
    return Menu(MNEMONIC + item.label, [_native_menu(inner) for inner in item.items])


def _close_on_signals() -> None:
    """Close all windows on SIGTERM and Ctrl-C, which pywebview loses while it creates one."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # else Python would write nothing

    def close_when_signalled() -> None:
        reader.recv(1)
        close_all_windows()

    start_background_thread(close_when_signalled)


@contextmanager
def _errors_as_cannot_show() -> Iterator[None]:
    """Raises `CannotShow` for errors of pywebview."""
    try:
        yield
    except WebViewException as error:
        raise CannotShow(
            "The web view does not start: no web engine works here, or a library of it is missing."
        ) from error
