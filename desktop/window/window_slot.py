"""The slot of a window: its number, and by that its name and the key of its saved geometry."""

from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple, Self

from signalbox.client import Box
from signalbox.desktop.window import geometry
from signalbox.desktop.window.geometry import Geometry

NAME: Final = "app"
"""What the page calls the first window: it undoes what it did before, also after a restart."""


class WindowSlot(NamedTuple):
    """A window's number, from 1; the next window in a slot has the same actor and geometry.

    `node` is the server's, where several share a store: each has slots of its own.
    """

    number: int
    node: str | None = None

    @classmethod
    def lowest_free(cls, used: Iterable["WindowSlot"], node: str | None = None) -> Self:
        """The slot with the lowest number that no window has."""
        numbers = {slot.number for slot in used}
        return cls(next(number for number in count(1) if number not in numbers), node)

    @property
    def name(self) -> str:
        """The window's name in the page's address: its actor is `window.<name>`, then the node."""
        return NAME if self.number == 1 else f"{NAME}-{self.number}"

    @property
    def key(self) -> str:
        """The key that has the slot's saved geometry."""
        key = f"{geometry.KEY}.{self.node}" if self.node else geometry.KEY
        return key if self.number == 1 else f"{key}.{self.number}"

    def saved_geometry(self, box: Box) -> Geometry | None:
        """The geometry of the last window in this slot; None where there was none."""
        return Geometry.from_value(box.get(self.key, default=None))
