"""The window itself: pywebview on the server's page. The only file that knows pywebview."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any, Final
from urllib.parse import urlsplit

import webview
from webview.errors import WebViewException

from desktop.display import CannotShow
from desktop.geometry import MIN_HEIGHT, MIN_WIDTH, Geometry, Screen

if sys.platform == "linux":
    from desktop import qt

TITLE: Final = "Signalbox"
GROUND: Final = {"light": "#f6f6f4", "dark": "#161615"}
"""The page's own, so that nothing flashes before it is there."""


def prepare() -> object:
    """Choose the web engine; on the main thread, and the result must live as long as the window."""
    webview.settings["ALLOW_FILE_URLS"] = False
    if sys.platform != "linux":
        webview.settings["ALLOW_DOWNLOADS"] = True
        return None
    # The wheels bring Qt; GTK, which pywebview would try first, they do not.
    os.environ.update(PYWEBVIEW_GUI="qt", QT_API="pyside6")
    return qt.application()


def screens() -> list[Screen]:
    """Those that are there now, the main one first. Raises `CannotShow`."""
    with _telling_why():
        return [Screen(each.x, each.y, each.width, each.height) for each in webview.screens]


def ground(theme: str) -> str:
    """The colour behind the page for `_signalbox.theme`: system, light or dark."""
    return GROUND[_system_theme() if theme == "system" else theme]


class Window:
    """`show` it on the main thread; all else may be called from any thread.

    `home` is the server's address, which the window never leaves. `moved` is called whenever it may
    stand elsewhere than before, `lost` when it has no page to show; they must return at once.
    """

    def __init__(
        self,
        home: Callable[[], str],
        place: Geometry,
        ground: str,
        moved: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._home = home
        self._place = place
        self._ground = ground
        self._moved = moved
        self._lost = lost
        self._state = "restored"
        self._is_there = Event()

    def show(self, url: str) -> None:
        """Open at `url` and return when the user has closed it. Raises `CannotShow`."""
        self._window = self._create(url)
        self._close_on_signals()
        with _telling_why():
            webview.start(gui="qt" if sys.platform == "linux" else None)

    def go(self, url: str) -> None:
        """Show another address of the server."""
        self._there().load_url(url)

    def say(self, text: str) -> None:
        """Show a text in the title."""
        self._there().set_title(f"{TITLE}: {text}")

    def come(self) -> None:
        """Come to the front."""
        window = self._there()
        if sys.platform == "linux":
            qt.come(window.native)
            return
        if self._state == "minimized":
            window.restore()
        window.show()

    def place(self) -> Geometry:
        """Where it stands, or stood before it was maximized, minimized or closed."""
        return self._place

    def _there(self) -> Any:
        """The window of pywebview, as soon as there is one."""
        self._is_there.wait()
        return self._window

    def _create(self, url: str) -> Any:
        main = screens()[0]
        window = webview.create_window(
            TITLE,
            url,
            width=self._place.width,
            height=self._place.height,
            x=self._place.x - main.x,
            y=self._place.y - main.y,
            maximized=self._place.maximized,
            min_size=(MIN_WIDTH, MIN_HEIGHT),
            background_color=self._ground,
            text_select=True,  # the page says what can be selected
            zoomable=True,
        )
        assert window is not None
        self._listen(window.events)
        return window

    def _listen(self, events: Any) -> None:
        events.before_show += self._fit
        events.loaded += self._return
        events.closing += self._close
        events.moved += self._look_again
        events.resized += self._look_again
        for state in ("minimized", "maximized", "restored"):
            event = getattr(events, state)
            event += partial(self._turn, state)

    def _fit(self) -> None:
        if sys.platform == "linux":
            qt.fit(self._window.native, self._ground, self._home, self._lost)
        self._is_there.set()

    def _close_on_signals(self) -> None:
        """Heed SIGTERM and Ctrl-C, which pywebview loses while it makes the window."""
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        signal.set_wakeup_fd(pythons.detach())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # so that Python tells us about it

        def close() -> None:
            ours.recv(1)
            self._window.destroy()  # waits until there is one

        Thread(target=close, daemon=True).start()

    def _return(self) -> None:
        """Where pywebview cannot refuse to leave, come back."""
        url = self._window.get_current_url()
        if url is None or urlsplit(url).netloc != urlsplit(self._home()).netloc:
            self.go(self._home())

    def _close(self) -> None:
        self._look()
        self._state = "closed"

    def _turn(self, state: str) -> None:
        self._state = state
        self._look_again()

    def _look_again(self, *_where: int) -> None:
        self._look()
        self._moved()

    def _look(self) -> None:
        if self._state == "closed":
            return
        if sys.platform == "linux":
            self._place = qt.place(self._window.native, self._place)
        elif self._state == "restored":
            window = self._window
            self._place = Geometry(window.x, window.y, window.width, window.height)
        else:
            self._place = self._place._replace(maximized=self._state == "maximized")


@contextmanager
def _telling_why() -> Iterator[None]:
    try:
        yield
    except WebViewException as error:
        raise CannotShow(f"The web view does not start: {error}.") from error


def _system_theme() -> str:
    if sys.platform == "linux":
        is_dark = qt.is_dark()
    elif sys.platform == "darwin":
        asked = ["/usr/bin/defaults", "read", "-g", "AppleInterfaceStyle"]
        is_dark = b"Dark" in subprocess.run(asked, capture_output=True, check=False).stdout
    elif sys.platform == "win32":
        import winreg  # noqa: PLC0415 - there is none elsewhere

        path = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as key:
            is_dark = winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0
    return "dark" if is_dark else "light"
