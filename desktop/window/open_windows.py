"""All windows that are open: one process has them, each in a slot of its own."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from signalbox.client import Box, NotRunning, Rejected
from signalbox.desktop import file_viewer
from signalbox.desktop.background_thread import start_background_thread
from signalbox.desktop.server_process import ServerProcess
from signalbox.desktop.single_instance import THEME_KEY
from signalbox.desktop.window import geometry, menus, webview_window
from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.saved_geometry import SavedGeometry
from signalbox.desktop.window.webview_window import Window
from signalbox.desktop.window.window_slot import WindowSlot

RETRY_SECONDS: Final = 0.5


class OpenWindow(NamedTuple):
    """A window that is open, with what saves its geometry."""

    window: Window
    saved_geometry: SavedGeometry


class OpenWindows:
    """`run` on the main thread; all else on threads of its own."""

    def __init__(self, server: ServerProcess) -> None:
        """No windows yet; they show the pages of `server`."""
        self._server = server
        self._open_windows: dict[WindowSlot, OpenWindow] = {}
        self._open_lock = threading.Lock()

    def run(self) -> None:
        """Show the first window, and return when the last one is closed. Raises `CannotShow`."""
        self._open(lambda saved: saved or geometry.initial_geometry(webview_window.screens()[0]))
        webview_window.run()
        for opened in self._all():
            opened.saved_geometry.close(opened.window.geometry())

    def bring_to_front(self) -> None:
        """Bring all open windows to the front, the one that was opened last before the others."""
        for opened in self._all():
            opened.window.bring_to_front()

    def set_theme(self, theme: str) -> None:
        """Set the theme of the windows' frames and menus: system, light or dark."""
        for opened in self._all():
            opened.window.set_theme(theme)

    def show_in_titles(self, text: str) -> None:
        """Show a text in the titles of all open windows, for good."""
        for opened in self._all():
            opened.window.show_in_title(text)

    def log_in_again(self) -> None:
        """Log every page in again: their server has another address."""
        for slot in list(self._open_windows):
            start_background_thread(self._log_in_again, slot)

    def open_another(self, beside: Window) -> None:
        """Open one more window, where it was last, else a little below `beside`."""
        if webview_window.has_open_windows():  # else the last one has just been closed
            self._open(lambda saved: saved or self._cascaded(beside.geometry()))

    def show_log(self) -> None:
        """Open the server's log with the system's program for it. Raises `NoViewer`."""
        log = self._server.log
        file_viewer.open_in_viewer(log if log.exists() else log.parent)

    def show_data_folder(self) -> None:
        """Open the store's folder with the system's program for it. Raises `NoViewer`."""
        file_viewer.open_in_viewer(self._server.data_dir)

    def _all(self) -> list[OpenWindow]:
        """All windows that are open now; others may be opened or closed meanwhile."""
        return list(self._open_windows.values())

    def _open(self, choose_geometry: Callable[[Geometry | None], Geometry]) -> None:
        """Open one more window in the lowest free slot; `choose_geometry` gets the saved one."""
        with self._open_lock:
            slot = WindowSlot.lowest_free(self._open_windows, self._server.endpoint.node)
            saved, theme = self._server.call(partial(_saved_geometry_and_theme, slot))
            fitted = choose_geometry(saved).fitted(webview_window.screens())
            saved_geometry = SavedGeometry(self._server, slot.key, fitted)
            opened = Window(
                geometry=fitted,
                theme=theme,
                on_geometry_changed=saved_geometry.mark_changed,
                on_page_lost=lambda: start_background_thread(self._log_in_again, slot),
                on_closed=lambda: self._forget(slot),
            )
            self._open_windows[slot] = OpenWindow(opened, saved_geometry)
        start_background_thread(saved_geometry.save_changes, opened.geometry)
        url = self._server.call(partial(_login_url, slot))
        opened.open(url, menus.menu_bar(opened, _AppActions(self, opened)))

    def _cascaded(self, beside: Geometry) -> Geometry:
        """The geometry of a further window: a little below `beside`, not on another window."""
        others = [opened.window.geometry() for opened in self._all()]
        return geometry.cascaded(beside, others, webview_window.screens())

    def _forget(self, slot: WindowSlot) -> None:
        """Save the geometry of a window that was closed, and free its slot."""
        closed = self._open_windows[slot]
        closed.saved_geometry.close(closed.window.geometry())
        del self._open_windows[slot]

    def _log_in_again(self, slot: WindowSlot) -> None:
        """Log an open window in again, whose page is lost, as soon as a server answers."""
        while slot in self._open_windows and not self._server.closed.wait(RETRY_SECONDS):
            try:
                self._open_windows[slot].window.load_url(_login_url(slot, self._server.box))
            except (NotRunning, Rejected):
                continue
            return


class _AppActions:
    """What the menu of one open window does beyond that window, as `menus.AppActions` lists it; an
    error is shown in that window.
    """

    def __init__(self, windows: OpenWindows, own: Window) -> None:
        """The app's entries for the menu of the window `own`, one of the open `windows`."""
        self._windows, self._window = windows, own

    def open_another_window(self) -> None:
        """Have the open windows open one more, beside this window."""
        self._try(lambda: self._windows.open_another(self._window))

    def show_log(self) -> None:
        """Have the open windows show the server's log; this one shows an error."""
        self._try(self._windows.show_log)

    def show_data_folder(self) -> None:
        """Have the open windows show the store's folder; this one shows an error."""
        self._try(self._windows.show_data_folder)

    def quit(self) -> None:
        """Close all open windows: the last one ends the app."""
        webview_window.close_all_windows()

    def _try(self, action: Callable[[], object]) -> None:
        """Run an entry of the menu; its error is shown in the window's status line."""
        try:
            action()
        except (NotRunning, Rejected, file_viewer.NoViewer) as error:
            self._window.show_in_status_line(str(error))


def _saved_geometry_and_theme(slot: WindowSlot, box: Box) -> tuple[Geometry | None, str]:
    """What a new window begins with: where its slot was last, and the theme."""
    return slot.saved_geometry(box), box.get(THEME_KEY, default="system")


def _login_url(slot: WindowSlot, box: Box) -> str:
    """A new login address that tells the page its window's name, which is saved nowhere else."""
    return f"{box.login()}&window={slot.name}"
