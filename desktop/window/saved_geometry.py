"""Saves the position and size of a window as a key, whenever they have changed."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from signalbox.client import NotRunning, Rejected
from signalbox.desktop.server_process import ServerProcess
from signalbox.desktop.window.geometry import Geometry

log: Final = logging.getLogger(__name__)

DEBOUNCE_SECONDS: Final = 0.5
"""A window's geometry is saved once it has not changed for so long."""


class SavedGeometry:
    """The geometry of one window, saved as a key whenever it has changed."""

    def __init__(self, server: ServerProcess, key: str, saved: Geometry) -> None:
        """The geometry of the window whose `key` is to have it, and has `saved` now."""
        self._server = server
        self._key = key
        self.saved = saved
        self._changed = threading.Event()
        self._save_lock = threading.Lock()
        self._is_closed = False

    def mark_changed(self) -> None:
        """The geometry may have changed: the window was moved or resized."""
        self._changed.set()

    def save_changes(self, current: Callable[[], Geometry]) -> None:
        """Save the geometry whenever it has not changed for a moment, until `close`."""
        while self._changed.wait() and not self._is_closed:
            self._changed.clear()
            if not self._changed.wait(DEBOUNCE_SECONDS):
                self.save(current())

    def close(self, last: Geometry) -> None:
        """Save the window's geometry for the last time; the window is closed."""
        self._is_closed = True
        self._changed.set()
        self.save(last)

    def save(self, current: Geometry) -> None:
        """Write the geometry to the key, unless that has it already."""
        with self._save_lock:
            if current == self.saved:
                return
            try:
                self._server.call(lambda box: box.set(self._key, current.as_value()))
            except (NotRunning, Rejected) as error:
                log.warning("The window's place was not kept: %s", error)
            else:
                self.saved = current
