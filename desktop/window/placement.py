"""Which seat a window has, that is its number, its name and its key, and where it stood last."""

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
REST_SECONDS: Final = 0.5
"""A window's place is written once it has not moved for so long."""


class Seat(NamedTuple):
    """A window's number, from 1; who takes it next is the same actor and stands at its place.

    `node` is the server's, where several share a store: each has seats of its own.
    """

    number: int
    node: str | None = None

    @classmethod
    def free(cls, taken: Iterable["Seat"], node: str | None = None) -> Self:
        """The lowest that nobody has."""
        numbers = {seat.number for seat in taken}
        return cls(next(number for number in count(1) if number not in numbers), node)

    @property
    def name(self) -> str:
        """The window's name in the page's address: its actor is `window.<name>`, then the node."""
        return NAME if self.number == 1 else f"{NAME}-{self.number}"

    @property
    def key(self) -> str:
        """Where its place is kept."""
        key = f"{geometry.KEY}.{self.node}" if self.node else geometry.KEY
        return key if self.number == 1 else f"{key}.{self.number}"

    def place(self, box: Box) -> Geometry | None:
        """Where it stood last."""
        return Geometry.read(box.get(self.key, default=None))


class Placement:
    """Where one window stood last, kept as a key."""

    def __init__(self, server: ServerProcess, key: str, known: Geometry) -> None:
        self._server = server
        self._key = key
        self.known = known
        self._touched = threading.Event()
        self._writing = threading.Lock()
        self._is_closed = False

    def moved(self) -> None:
        """It stands elsewhere, perhaps."""
        self._touched.set()

    def keep(self, place: Callable[[], Geometry]) -> None:
        """Write `place()` whenever it has rested, until `close`."""
        while self._touched.wait() and not self._is_closed:
            self._touched.clear()
            if not self._touched.wait(REST_SECONDS):
                self.write(place())

    def close(self, place: Geometry) -> None:
        """Write for the last time."""
        self._is_closed = True
        self._touched.set()
        self.write(place)

    def write(self, place: Geometry) -> None:
        """Unless it is known."""
        with self._writing:
            if place == self.known:
                return
            try:
                self._server.ask(lambda box: box.set(self._key, place.value()))
            except (NotRunning, Rejected) as error:
                log.warning("The window's place was not kept: %s", error)
            else:
                self.known = place
