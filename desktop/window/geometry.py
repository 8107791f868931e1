"""Position and size of windows: read from a key, fitted to the screens that are there now."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

KEY: Final = "_signalbox.window.geometry"
MIN_WIDTH: Final = 640
MIN_HEIGHT: Final = 420
CASCADE_STEP: Final = 32
"""Pixels from a window to the one that is opened beside it: about a title bar."""


class Screen(NamedTuple):
    """One screen's position and size on the desktop, in logical pixels."""

    x: int
    y: int
    width: int
    height: int


class Geometry(NamedTuple):
    """A window's position and size when it is not maximized, in logical pixels of the desktop."""

    x: int
    y: int
    width: int
    height: int
    maximized: bool = False

    @classmethod
    def from_value(cls, value: Any) -> Self | None:
        """The geometry that a key's value has; None where there is none."""
        return None if value is None else cls(**value)

    def as_value(self) -> dict[str, int | bool]:
        """The value of the key that the geometry is saved as."""
        return self._asdict()

    def fitted(self, screens: Sequence[Screen]) -> Self:
        """The geometry moved onto the screen that shows most of it, the first if none does."""
        screen = max(screens, key=self._overlap)  # the first of equals
        width = max(min(self.width, screen.width), min(MIN_WIDTH, screen.width))
        height = max(min(self.height, screen.height), min(MIN_HEIGHT, screen.height))
        return self._replace(
            x=min(max(self.x, screen.x), screen.x + screen.width - width),
            y=min(max(self.y, screen.y), screen.y + screen.height - height),
            width=width,
            height=height,
        )

    def _overlap(self, screen: Screen) -> int:
        """How many pixels of the window the screen shows."""
        width = min(self.x + self.width, screen.x + screen.width) - max(self.x, screen.x)
        height = min(self.y + self.height, screen.y + screen.height) - max(self.y, screen.y)
        return max(width, 0) * max(height, 0)


def initial_geometry(screen: Screen) -> Geometry:
    """The geometry of a window that was never moved: centred, most of a small screen."""
    width, height = min(1280, screen.width * 9 // 10), min(800, screen.height * 9 // 10)
    return Geometry(
        x=screen.x + (screen.width - width) // 2,
        y=screen.y + (screen.height - height) // 2,
        width=width,
        height=height,
    ).fitted([screen])


def cascaded(geometry: Geometry, others: Sequence[Geometry], screens: Sequence[Screen]) -> Geometry:
    """A little below and to the right of `geometry`, where no other window has its corner."""
    corners = {(other.x, other.y) for other in others}
    for steps in range(1, len(corners) + 2):
        offset = CASCADE_STEP * steps
        moved = geometry._replace(
            x=geometry.x + offset, y=geometry.y + offset, maximized=False
        ).fitted(screens)
        if (moved.x, moved.y) not in corners:
            break
    return moved
