"""The window itself: pywebview on the server's page. The only file that knows pywebview."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread, current_thread, main_thread
from typing import Any, Final
from urllib.parse import urlsplit

import webview
from webview.errors import WebViewException
from webview.menu import Menu, MenuAction, MenuSeparator

from signalbox.desktop.window import menus
from signalbox.desktop.window.display import CannotShow
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
EVENT: Final = "signalbox-menu"
"""What the page listens to, see ui/static/menu.js."""
GROUND: Final = {"light": "#f6f6f4", "dark": "#161615"}
"""The page's own, so that nothing flashes before it is there."""
MNEMONIC: Final = "" if sys.platform == "darwin" else "&"
"""Before the letter that opens a menu together with Alt."""
ZOOMS: Final = (0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def prepare() -> object:
    """Choose the web engine; on the main thread, and the result must live as long as the window."""
    webview.settings["ALLOW_FILE_URLS"] = False
    webview.settings["SHOW_DEFAULT_MENUS"] = False  # of a Mac; ours have what is in them
    if sys.platform != "linux":
        webview.settings["ALLOW_DOWNLOADS"] = True
        return None
    # The wheels bring Qt; GTK, which pywebview would try first, they do not.
    os.environ.update(PYWEBVIEW_GUI="qt", QT_API="pyside6")
    return system.application()


def screens() -> list[Screen]:
    """Those that are there now, the main one first. Raises `CannotShow`."""
    with _telling_why():
        return [Screen(each.x, each.y, each.width, each.height) for each in webview.screens]


def ground(theme: str) -> str:
    """The colour behind the page for `_signalbox.theme`: system, light or dark."""
    return GROUND[("dark" if system.is_dark() else "light") if theme == "system" else theme]


def reachable(url: str) -> str:
    """A page's address as the web view finds it: a Mac's knows no names under localhost.

    That the name is new matters less there, since the view has nothing that it kept from before.
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
    with _telling_why():
        webview.start(gui="qt" if sys.platform == "linux" else None)


def is_any_open() -> bool:
    """Whether another one can be opened."""
    return bool(webview.windows)


def close_all() -> None:
    """Close every window, and so end `run`."""
    for window in list(webview.windows):
        window.destroy()  # waits until it is there


class Window:
    """`open` it before `run` on the main thread, or later on another; the rest on any thread.

    It never leaves the address that it was told last. `moved` is called whenever it may stand
    elsewhere than before, `lost` when it has no page to show, `closed` when it has gone.
    """

    def __init__(
        self,
        place: Geometry,
        theme: str,
        moved: Callable[[], None],
        lost: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self._home = ""
        self._place = place
        self._theme = theme
        self._ground = ground(theme)
        self._moved = moved
        self._lost = lost
        self._closed = closed
        self._menus: Sequence[menus.Menu] = ()
        self._state = "restored"
        self._is_there = Event()
        self._said = ""
        self._zoom = 1.0
        self._window: Any = None

    def open(self, url: str, bar: Sequence[menus.Menu]) -> None:
        """Open at `url` with these menus."""
        self._menus = bar
        self._home = reachable(url)
        main = screens()[0]
        self._window = webview.create_window(
            TITLE,
            self._home,
            width=self._place.width,
            height=self._place.height,
            x=self._place.x - main.x,
            y=self._place.y - main.y,
            maximized=self._place.maximized,
            min_size=(MIN_WIDTH, MIN_HEIGHT),
            background_color=self._ground,
            text_select=True,  # the page says what can be selected
            zoomable=True,
            menu=[_menu(each) for each in bar],
        )
        self._listen(self._window.events)
        if current_thread() is main_thread():
            return  # `run` makes it
        # pywebview may have made it before we listened.
        self._window.events.before_show.wait()
        system.do(self._window, self._fit)

    def go(self, url: str) -> None:
        """Show another address of the server."""
        self._home = reachable(url)
        self._there().load_url(self._home)

    def say(self, text: str) -> None:
        """Show a text in the title, for good."""
        self._said = text
        self._there().set_title(f"{TITLE}: {text}")

    def note(self, text: str) -> None:
        """Show a text in the page's status line."""
        self._send({"note": text})

    def tell(self, command: str) -> None:
        """Have the page run one of its commands, by the name that it has there."""
        if sys.platform == "linux" and command == menus.IMPORT:
            self._do(system.press, menus.IMPORT_KEYS)
        else:
            self._send({"command": command})

    def zoom(self, step: int) -> None:
        """Larger, smaller, or as large as it is."""
        at = ZOOMS.index(self._zoom if step else 1.0) + step
        self._zoom = ZOOMS[min(max(at, 0), len(ZOOMS) - 1)]
        self._do(system.zoom, self._zoom)

    def full_screen(self) -> None:
        """Fill the screen, or no longer."""
        if sys.platform == "linux":
            self._do(system.full_screen)
        else:
            self._there().toggle_fullscreen()

    def set_theme(self, theme: str) -> None:
        """Of its frame, menus and dialogs: system, light or dark."""
        self._do(system.set_theme, theme)

    def come(self) -> None:
        """Come to the front."""
        self._do(system.come, self._state)

    def close(self) -> None:
        """Close it."""
        self._there().destroy()

    def place(self) -> Geometry:
        """Where it stands, or stood before it was maximized, minimized or closed."""
        return self._place

    def _there(self) -> Any:
        """The window of pywebview, as soon as there is one."""
        self._is_there.wait()
        return self._window

    def _do(self, work: Callable[..., object], *args: object) -> None:
        window = self._there()

        def act() -> None:
            if self._state != "closed":  # else it would come back
                work(window, *args)

        system.do(window, act)

    def _send(self, detail: dict[str, str]) -> None:
        event = f"new CustomEvent('{EVENT}', {{detail: {json.dumps(detail)}}})"
        self._do(system.run, f"document.dispatchEvent({event})")

    def _listen(self, events: Any) -> None:
        events.before_show += self._fit
        if sys.platform != "linux":
            events.loaded += self._return
        events.closing += self._close
        events.closed += self._go
        events.moved += self._look_again
        events.resized += self._look_again
        for state in ("minimized", "maximized", "restored"):
            event = getattr(events, state)
            event += partial(self._turn, state)

    def _fit(self) -> None:
        """Once; on the thread that shows windows."""
        if self._is_there.is_set():
            return
        window = self._window
        system.fit(window, self._ground, self._menus, lambda: self._home, self._lost, self._name)
        system.set_theme(window, self._theme)
        self._is_there.set()

    def _name(self, title: str) -> None:
        """The page has another title."""
        if not self._said:
            self._window.set_title(title or TITLE)

    def _return(self) -> None:
        """Where pywebview cannot refuse to leave, come back."""
        url = self._window.get_current_url()
        if url is None or urlsplit(url).netloc != urlsplit(self._home).netloc:
            self.go(self._home)

    def _close(self) -> None:
        self._look()
        self._state = "closed"

    def _go(self) -> None:
        if sys.platform == "linux":
            system.do(self._window, partial(system.forget, self._window))
        self._closed()

    def _turn(self, state: str) -> None:
        if self._state != "closed":
            self._state = state
        self._look_again()

    def _look_again(self, *_where: int) -> None:
        self._look()
        self._moved()

    def _look(self) -> None:
        if self._state != "closed":
            self._place = system.place(self._window, self._place, self._state)


def _menu(item: menus.Entry | menus.Menu | None) -> Any:
    """As pywebview has it."""
    if item is None:
        return MenuSeparator()
    if isinstance(item, menus.Entry):
        return MenuAction(item.label, partial(_beside, item.act))
    return Menu(MNEMONIC + item.label, [_menu(each) for each in item.items])


def _beside(act: Callable[[], object]) -> None:
    """On a thread that does not keep the process, as pywebview's own would, when it is ending."""
    Thread(target=act, daemon=True).start()


def _close_on_signals() -> None:
    """Heed SIGTERM and Ctrl-C, which pywebview loses while it makes the window."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    signal.set_wakeup_fd(pythons.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # so that Python tells us about it

    def close() -> None:
        ours.recv(1)
        close_all()

    Thread(target=close, daemon=True).start()


@contextmanager
def _telling_why() -> Iterator[None]:
    try:
        yield
    except WebViewException as error:
        raise CannotShow(
            "The web view does not start: no web engine works here, or a library of it is missing."
        ) from error
