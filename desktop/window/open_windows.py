"""The windows that are open: one process has all of them, each with a seat of its own."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from signalbox.client import Box, NotRunning, Rejected
from signalbox.desktop import file_viewer
from signalbox.desktop.server_process import ServerProcess
from signalbox.desktop.single_instance import THEME
from signalbox.desktop.window import geometry, menus, window
from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.placement import Placement, Seat
from signalbox.desktop.window.window import Window

AGAIN_SECONDS: Final = 0.5


class Shown(NamedTuple):
    """One that is open, and where it is kept how it stands."""

    window: Window
    memory: Placement


class OpenWindows:
    """`run` on the main thread; all else on threads of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._shown: dict[Seat, Shown] = {}
        self._opening = threading.Lock()

    def run(self) -> None:
        """Show the first window, and return when the last one is closed. Raises `CannotShow`."""
        self._open(lambda place: place or geometry.first(window.screens()[0]))
        window.run()
        for shown in list(self._shown.values()):
            shown.memory.close(shown.window.place())

    def come(self) -> None:
        """Bring all of them to the front, the one that was opened last before the others."""
        for shown in self._all():
            shown.window.come()

    def set_theme(self, theme: str) -> None:
        """Of frames and menus."""
        for shown in self._all():
            shown.window.set_theme(theme)

    def say(self, text: str) -> None:
        """In the titles."""
        for shown in self._all():
            shown.window.say(text)

    def show_again(self) -> None:
        """Their server is another one, where they must log in."""
        for seat in list(self._shown):
            _beside(self._show_again, seat)

    def _all(self) -> list[Shown]:
        return list(self._shown.values())

    def _open(self, placed: Callable[[Geometry | None], Geometry]) -> None:
        """Open one more on the lowest free seat; `placed` says where, given where it was last."""
        with self._opening:
            seat = Seat.free(self._shown, self._server.endpoint.node)
            known, theme = self._server.ask(partial(_wishes, seat))
            memory = Placement(self._server, seat.key, placed(known).fitted(window.screens()))
            opened = Window(
                place=memory.known,
                theme=theme,
                moved=memory.moved,
                lost=lambda: _beside(self._show_again, seat),
                closed=lambda: self._forget(seat),
            )
            self._shown[seat] = Shown(opened, memory)
        _beside(memory.keep, opened.place)
        opened.open(
            self._server.ask(partial(_entrance, seat)), menus.bar(opened, _App(self, opened))
        )

    def another(self, beside: Window) -> None:
        """Open one more, where it stood last, else a little below `beside`."""
        if window.is_any_open():  # else the last one has just been closed
            self._open(lambda place: place or self._cascaded(beside.place()))

    def _cascaded(self, place: Geometry) -> Geometry:
        taken = [shown.window.place() for shown in self._all()]
        return geometry.cascaded(place, taken, window.screens())

    def _forget(self, seat: Seat) -> None:
        shown = self._shown[seat]
        shown.memory.close(shown.window.place())
        del self._shown[seat]

    def _show_again(self, seat: Seat) -> None:
        """The page did not load, or has crashed: log in anew, as soon as a server answers."""
        while seat in self._shown and not self._server.closed.wait(AGAIN_SECONDS):
            try:
                self._shown[seat].window.go(_entrance(seat, self._server.box))
            except (NotRunning, Rejected):
                continue
            return

    def show_log(self) -> None:
        """What the server said, in the program that the system has for it. Raises `NoViewer`."""
        file_viewer.show(self._server.log if self._server.log.exists() else self._server.log.parent)

    def show_data(self) -> None:
        """The store's folder. Raises `NoViewer`."""
        file_viewer.show(self._server.data_dir)


class _App:
    """What the menu of one window does beyond that window; it says there what cannot be done."""

    def __init__(self, windows: OpenWindows, here: Window) -> None:
        self._windows, self._here = windows, here

    def another(self) -> None:
        self._try(lambda: self._windows.another(self._here))

    def show_log(self) -> None:
        self._try(self._windows.show_log)

    def show_data(self) -> None:
        self._try(self._windows.show_data)

    def quit(self) -> None:
        window.close_all()

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (NotRunning, Rejected, file_viewer.NoViewer) as error:
            self._here.note(str(error))


def _wishes(seat: Seat, box: Box) -> tuple[Geometry | None, str]:
    """Where the window should stand, and the theme."""
    return seat.place(box), box.get(THEME, default="system")


def _entrance(seat: Seat, box: Box) -> str:
    """A new login address that tells the page its window's name, as nothing else is kept there."""
    return f"{box.login()}&window={seat.name}"


def _beside(work: Callable[..., None], *args: object) -> None:
    """Run on a thread of its own for as long as the process."""
    threading.Thread(target=work, args=args, daemon=True).start()
