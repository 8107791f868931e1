"""The app put together: the window, its server, its place on the screen, and who calls it."""

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import signalbox
from desktop import display, geometry, headless, instance, places
from desktop.child import Child
from desktop.geometry import Geometry

if TYPE_CHECKING:
    from desktop.window import Window

log: Final = logging.getLogger(__name__)

THEME: Final = "_signalbox.theme"
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
    except (signalbox.NotRunning, signalbox.Rejected, instance.NoAnswer, OSError) as error:
        print(f"signalbox: {error}", file=sys.stderr)
        return FAILED


def _run(data_dir: Path) -> int:
    child = Child(data_dir)
    try:
        display.require_display()
        lock = instance.claim(data_dir)
        if lock is not None:
            with lock:
                _open(child)
    except display.CannotShow as error:
        return headless.serve(child, str(error))
    finally:
        child.close()
    return 0


def _open(child: Child) -> None:
    """Show the window until the user closes it."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        started = pool.submit(child.start)  # takes as long as loading Qt does
        display.require_libraries()
        from desktop import window  # noqa: PLC0415 - it can be loaded only now

        engine, screens = window.prepare(), window.screens()
        started.result()
    box = child.box
    stored = Geometry.read(box.get(geometry.KEY, default=None))
    place = (stored or geometry.first(screens[0])).fitted(screens)
    memory = Memory(child, place)
    shown = window.Window(
        home=lambda: child.endpoint.url,
        place=place,
        ground=window.ground(box.get(THEME, default="system")),
        moved=memory.moved,
        lost=lambda: _beside(_show_again, child, shown),
    )
    _beside(_keep_server, child, shown)
    _beside(instance.heed, child, shown.come)
    _beside(memory.keep, shown.place)
    shown.show(box.login())
    memory.write(shown.place())
    del engine


def _beside(work: Callable[..., None], *args: object) -> None:
    """Run on a thread of its own for as long as the process."""
    threading.Thread(target=work, args=args, daemon=True).start()


def _keep_server(child: Child, shown: "Window") -> None:
    def back(as_before: bool) -> None:
        if not as_before:  # the page finds another server only if it is told, and must log in there
            _show_again(child, shown)

    try:
        child.keep(back)
    except signalbox.NotRunning as error:
        shown.say(str(error))


def _show_again(child: Child, shown: "Window") -> None:
    """The page did not load, or has crashed: log in anew, as soon as a server answers."""
    while not child.closed.wait(AGAIN_SECONDS):
        try:
            shown.go(child.box.login())
        except (signalbox.NotRunning, signalbox.Rejected):
            continue
        return


class Memory:
    """Where the window stood last, kept as a key."""

    def __init__(self, child: Child, known: Geometry) -> None:
        self._child = child
        self._known = known
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
        if place == self._known:
            return
        try:
            self._child.box.set(geometry.KEY, place.value())
        except (signalbox.NotRunning, signalbox.Rejected) as error:
            log.warning("The window's place was not kept: %s", error)
        else:
            self._known = place
