"""Draws the time slider: changes per interval as bars, and a moment as text. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Final

from markupsafe import Markup

HEIGHT: Final = 20
"""Of the tallest tick, in units of the drawing; each tick is one wide."""


def activity_bars(ticks: Sequence[int]) -> Markup:
    """One path of an SVG with a bar for each interval, as high as the square root of its share."""
    most = max(ticks, default=0) or 1
    heights = (round(HEIGHT * sqrt(count / most), 1) for count in ticks)
    drawn = (
        f"M{x}.5 {HEIGHT}v-{max(height, 1)}"
        for x, (height, count) in enumerate(zip(heights, ticks, strict=True))
        if count
    )
    return Markup('<path d="{}"/>').format("".join(drawn))


def local_moment(at: int, now: int) -> str:
    """A time in ms as local date and time: `Today 09:41:07`."""
    local, today = (datetime.fromtimestamp(ms / 1000, UTC).astimezone() for ms in (at, now))
    day = f"{local.day} {local:%b}" + ("" if local.year == today.year else f" {local.year}")
    if local.date() == today.date():
        day = "Today"
    elif local.date() == (today - timedelta(days=1)).date():
        day = "Yesterday"
    return f"{day} {local:%H:%M:%S}"
