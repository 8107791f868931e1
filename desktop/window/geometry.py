"""Where the window stands: read from its key, fitted to the screens that are there now."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

KEY: Final = "_signalbox.window.geometry"
MIN_WIDTH: Final = 640
MIN_HEIGHT: Final = 420
STEP: Final = 32
"""Pixels from a window to the one that is opened beside it: about a title bar."""


class Screen(NamedTuple):
    """One screen's place on the desktop, in logical pixels."""

    x: int
    y: int
    width: int
    height: int


class Geometry(NamedTuple):
    """The window's place when it is not maximized, in logical pixels of the desktop."""

    x: int
    y: int
    width: int
    height: int
    maximized: bool = False

    @classmethod
    def read(cls, value: Any) -> Self | None:
        """From the key's value; None where there is none."""
        return None if value is None else cls(**value)

    def value(self) -> dict[str, int | bool]:
        """What the key holds."""
        return self._asdict()

    def fitted(self, screens: Sequence[Screen]) -> Self:
        """Wholly on the screen that shows most of it, the first one where none does."""
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
        wide = min(self.x + self.width, screen.x + screen.width) - max(self.x, screen.x)
        high = min(self.y + self.height, screen.y + screen.height) - max(self.y, screen.y)
        return max(wide, 0) * max(high, 0)


def first(screen: Screen) -> Geometry:
    """For a window that was never moved: most of a small screen, the middle of a large one."""
    width, height = min(1280, screen.width * 9 // 10), min(800, screen.height * 9 // 10)
    return Geometry(
        x=screen.x + (screen.width - width) // 2,
        y=screen.y + (screen.height - height) // 2,
        width=width,
        height=height,
    ).fitted([screen])


def cascaded(place: Geometry, taken: Sequence[Geometry], screens: Sequence[Screen]) -> Geometry:
    """A little below and to the right of `place`, on from every window that stands there."""
    corners = {(each.x, each.y) for each in taken}
    for steps in range(1, len(corners) + 2):
        moved = place._replace(
            x=place.x + STEP * steps, y=place.y + STEP * steps, maximized=False
        ).fitted(screens)
        if (moved.x, moved.y) not in corners:
            break
    return moved
