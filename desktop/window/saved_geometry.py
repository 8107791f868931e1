"""The slot of a window (its number, name and key), and saving its position and size there."""

import logging
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final, NamedTuple, Self

from signalbox.client import Box, NotRunning, Rejected
from signalbox.desktop.server_process import ServerProcess
from signalbox.desktop.window import geometry
from signalbox.desktop.window.geometry import Geometry

log: Final = logging.getLogger(__name__)

NAME: Final = "app"
"""What the page calls the first window: it undoes what it did before, also after a restart."""
DEBOUNCE_SECONDS: Final = 0.5
"""A window's geometry is saved once it has not changed for so long."""


class WindowSlot(NamedTuple):
    """A window's number, from 1; the next window in a slot has the same actor and geometry.

    `node` is the server's, where several share a store: each has slots of its own.
    """

    number: int
    node: str | None = None

    @classmethod
    def lowest_free(cls, used: Iterable["WindowSlot"], node: str | None = None) -> Self:
        """The lowest that no window has."""
        numbers = {slot.number for slot in used}
        return cls(next(number for number in count(1) if number not in numbers), node)

    @property
    def name(self) -> str:
        """The window's name in the page's address: its actor is `window.<name>`, then the node."""
        return NAME if self.number == 1 else f"{NAME}-{self.number}"

    @property
    def key(self) -> str:
        """The key that has its geometry."""
        key = f"{geometry.KEY}.{self.node}" if self.node else geometry.KEY
        return key if self.number == 1 else f"{key}.{self.number}"

    def saved_geometry(self, box: Box) -> Geometry | None:
        """Its geometry when it was last open; None where it never was."""
        return Geometry.from_value(box.get(self.key, default=None))


class SavedGeometry:
    """The geometry of one window, saved as a key whenever it has changed."""

    def __init__(self, server: ServerProcess, key: str, saved: Geometry) -> None:
        self._server = server
        self._key = key
        self.saved = saved
        self._changed = threading.Event()
        self._save_lock = threading.Lock()
        self._is_closed = False

    def mark_changed(self) -> None:
        """The window may have been moved or resized."""
        self._changed.set()

    def save_changes(self, current: Callable[[], Geometry]) -> None:
        """Save `current()` whenever it has not changed for a moment, until `close`."""
        while self._changed.wait() and not self._is_closed:
            self._changed.clear()
            if not self._changed.wait(DEBOUNCE_SECONDS):
                self.save(current())

    def close(self, last: Geometry) -> None:
        """Save for the last time."""
        self._is_closed = True
        self._changed.set()
        self.save(last)

    def save(self, current: Geometry) -> None:
        """Write it to the key, unless that has it already."""
        with self._save_lock:
            if current == self.saved:
                return
            try:
                self._server.call(lambda box: box.set(self._key, current.as_value()))
            except (NotRunning, Rejected) as error:
                log.warning("The window's place was not kept: %s", error)
            else:
                self.saved = current
