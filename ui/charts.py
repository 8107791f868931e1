"""Values over time as SVG: a trend beside a value, and the chart of one key. Pure.

Shapes are told apart by classes; the style sheet has the colours. Heights run downwards in px.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol

from markupsafe import Markup

WIDE: Final = 92
"""px of a trend, as the list's column; the last value of steps is held for `TAIL` of them."""
HIGH: Final = 18
TAIL: Final = 10
EDGE: Final = 2

Points = tuple[tuple[int, float | None], ...]


class Trend(Protocol):
    """`points`: when (ms) and at which height; None breaks the line. `is_steps`: states, held."""

    @property
    def is_steps(self) -> bool: ...
    @property
    def points(self) -> Points: ...


def sparkline(trend: Trend) -> Markup:
    """A trend as it stands in the list."""
    return _sparkline(trend.is_steps, trend.points)


@lru_cache(maxsize=4_000)
def _sparkline(is_steps: bool, points: Points) -> Markup:
    first, last = points[0][0], points[-1][0]
    heights = [height for _, height in points if height is not None]
    low, high = min(heights), max(heights)
    wide = WIDE - 2 * EDGE - (TAIL if is_steps else 0)
    places = [
        (EDGE + wide * (at - first) / max(1, last - first), _y(height, low, high, HIGH, EDGE + 1))
        for at, height in points
    ]
    if is_steps:
        places.append((WIDE - EDGE, places[-1][1]))
    path = "".join(_joined(places, is_steps))
    return Markup(
        '<svg class="trend" width="{}" height="{}" aria-hidden="true"><path d="{}"/></svg>'
    ).format(WIDE, HIGH, path)


def _joined(places: Sequence[tuple[float, float | None]], is_steps: bool) -> Iterator[str]:
    is_down = False
    for x, y in places:
        if is_steps and is_down:
            yield f"H{x:.0f}"
        if y is None:
            is_down = False
        elif not is_down:
            yield f"M{x:.0f} {y:.4g}"
            is_down = True
        elif is_steps:
            yield f"V{y:.4g}"
        else:
            yield f"L{x:.0f} {y:.4g}"


def _y(height: float | None, low: float, high: float, tall: float, edge: float) -> float | None:
    """Where a height stands; what is always the same stands in the middle."""
    if height is None:
        return None
    span = high - low
    # Halves first: the span of the largest floats is none.
    share = (height / 2 - low / 2) / (high / 2 - low / 2) if span > 0 else 0.5
    return round(tall - edge - share * (tall - 2 * edge), 1)
