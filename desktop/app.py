"""The app put together: the window, its server, its place on the screen, and who calls it."""

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from desktop import display, geometry, headless, instance, places
from desktop.child import Child
from desktop.geometry import Geometry
from signalbox import Box, NotRunning, Rejected

if TYPE_CHECKING:
    from desktop.window import Window

log: Final = logging.getLogger(__name__)

THEME: Final = "_signalbox.theme"
NAME: Final = "app"
"""What the page calls this window: a store has only one, so it undoes what it did before."""
REST_SECONDS: Final = 0.5
"""The window's place is written once it has not moved for so long."""
AGAIN_SECONDS: Final = 0.5
FAILED: Final = 4


def run(given: str | None) -> int:
    """Open the window of a data directory, or raise the one that is open; the exit status.

    Without a display the server runs in the foreground.
    """
    try:
        return _run(places.data_dir(given))
    except (NotRunning, Rejected, instance.NoAnswer) as error:
        why = str(error)
    except OSError as error:
        why = f"The data directory cannot be used: {error}."
    print(f"signalbox: {why}", file=sys.stderr)
    return FAILED


def _run(data_dir: Path) -> int:
    child = Child(data_dir)
    try:
        display.require_display()
        lock = instance.claim(data_dir)
        if lock is not None:
            with lock:
                App(child).open()
    except display.CannotShow as error:
        return headless.serve(child, str(error))
    finally:
        child.close()
    return 0


class App:
    """What belongs to one open window; all but `open` runs on threads of its own."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._window: Window | None = None  # until Qt is loaded

    def open(self) -> None:
        """Show the window until the user closes it. On the main thread."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            started = pool.submit(self._serve)  # takes as long as loading Qt does
            said = display.without_sandbox()
            display.require_libraries()
            from desktop import window  # noqa: PLC0415 - it can be loaded only now

            engine, screens = window.prepare(), window.screens()
            started.result()
        if said:
            print(f"signalbox: {said}", file=sys.stderr)
        place, theme = self._child.ask(_wishes)
        memory = Memory(self._child, (place or geometry.first(screens[0])).fitted(screens))
        self._window = shown = window.Window(
            home=lambda: self._child.endpoint.url,
            place=memory.known,
            ground=window.ground(theme),
            moved=memory.moved,
            lost=lambda: _beside(self._show_again),
        )
        _beside(memory.keep, shown.place)
        shown.show(self._child.ask(_entrance))
        memory.write(shown.place())
        del engine

    def _serve(self) -> None:
        """Start the server, and at once keep it: one that we found may be about to end."""
        self._child.start()
        _beside(instance.heed, self._child, self._come)
        _beside(self._keep_server)

    def _come(self) -> None:
        if self._window is not None:
            self._window.come()

    def _keep_server(self) -> None:
        try:
            self._child.keep(self._back)
        except NotRunning as error:
            if self._window is not None:
                self._window.say(str(error))

    def _back(self, as_before: bool) -> None:
        # The page finds another server only if it is told, and must log in there.
        if not as_before and self._window is not None:
            _beside(self._show_again)

    def _show_again(self) -> None:
        """The page did not load, or has crashed: log in anew, as soon as a server answers."""
        while self._window is not None and not self._child.closed.wait(AGAIN_SECONDS):
            try:
                self._window.go(_entrance(self._child.box))
            except (NotRunning, Rejected):
                continue
            return


def _wishes(box: Box) -> tuple[Geometry | None, str]:
    """Where the window should stand, and its theme."""
    place = Geometry.read(box.get(geometry.KEY, default=None))
    return place, box.get(THEME, default="system")


def _entrance(box: Box) -> str:
    """A new login address that tells the page its window's name, as nothing else is kept there."""
    return f"{box.login()}#{NAME}"


def _beside(work: Callable[..., None], *args: object) -> None:
    """Run on a thread of its own for as long as the process."""
    threading.Thread(target=work, args=args, daemon=True).start()


class Memory:
    """Where the window stood last, kept as a key."""

    def __init__(self, child: Child, known: Geometry) -> None:
        self._child = child
        self.known = known
        self._touched = threading.Event()

    def moved(self) -> None:
        """It stands elsewhere, perhaps."""
        self._touched.set()

    def keep(self, place: Callable[[], Geometry]) -> None:
        """Write `place()` whenever it has rested; never returns."""
        while self._touched.wait():
            self._touched.clear()
            if not self._touched.wait(REST_SECONDS):
                self.write(place())

    def write(self, place: Geometry) -> None:
        """Unless it is known."""
        if place == self.known:
            return
        try:
            self._child.ask(lambda box: box.set(geometry.KEY, place.value()))
        except (NotRunning, Rejected) as error:
            log.warning("The window's place was not kept: %s", error)
        else:
            self.known = place
