"""Draws values over time as SVG: the sparkline in the list, and the chart of one key. Pure.

Shapes have classes; the style sheet has the colours. Heights are in px, downwards.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from markupsafe import Markup

from signalbox.ui import formatting

SPARKLINE_WIDTH: Final = 92
"""px, as the list's column; the last value of steps is drawn `LAST_VALUE_WIDTH` wide."""
SPARKLINE_HEIGHT: Final = 18
LAST_VALUE_WIDTH: Final = 10
EDGE: Final = 2

CHART_HEIGHT: Final = 90
"""px of a chart, without the labels of time below it."""
MARGIN: Final = 7
"""px above the highest and below the lowest value: half a line, as states have labels."""
MAX_LABELS: Final = 4.0
MAX_LABELS_BESIDE_STATES: Final = 2.5
"""For a chart with labels of states beside it, which is narrower."""
LABEL_MARGIN: Final = 0.07
"""Where a label of time would be cut off, as a share of the width."""
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
LABEL_STEPS: Final = (
    *(_SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 3, 5, 7, 14, 30, 91, 182, 365, 730, 1825)),
)
"""ms between two labels of time below a chart."""

Points = tuple[tuple[int, float | None], ...]


class Trend(Protocol):
    """`points`: when (ms) and at which height; None breaks the line. `is_steps`: states, held."""

    @property
    def is_steps(self) -> bool:
        """Whether the line of the trend is of states, each held until the next."""

    @property
    def points(self) -> Points:
        """The points of the trend: when, in ms, and at which height; None breaks the line."""


class Column(Protocol):
    """The changes within column `n` of time; heights are None where there was no such value.

    `revision`, `at` (ms) and `raw` (compact JSON text, None: deleted or long) are the last one's.
    """

    @property
    def n(self) -> int:
        """Which column of the chart this is: it begins `n` widths after 1970."""

    @property
    def changes(self) -> int:
        """How many changes of the key lie in the column."""

    @property
    def low(self) -> float | None:
        """The lowest height in the column of the chart."""

    @property
    def high(self) -> float | None:
        """The highest height in the column of the chart."""

    @property
    def first(self) -> float | None:
        """The height of the first change in the column of the chart."""

    @property
    def last(self) -> float | None:
        """The height of the last change in the column of the chart."""

    @property
    def revision(self) -> int:
        """The revision of the last change in the column of the chart."""

    @property
    def at(self) -> int:
        """When the last change in the column of the chart was made, in ms."""

    @property
    def raw(self) -> str | None:
        """The value of the last change in the column of the chart."""


class Chart(Protocol):
    """From `start` to `end` in ms, in columns of `width` ms; `before` is the height at the start.

    `states` are JSON texts from the lowest level upwards, None for numbers.
    """

    @property
    def start(self) -> int:
        """The time in ms at the left end of the chart."""

    @property
    def end(self) -> int:
        """The time in ms at the right end of the chart."""

    @property
    def width(self) -> int:
        """The ms of one column of the chart."""

    @property
    def before(self) -> float | None:
        """The height at the chart's start."""

    @property
    def columns(self) -> Sequence[Column]:
        """The chart's columns that have changes, in order."""

    @property
    def states(self) -> Sequence[str] | None:
        """The states at the levels of the chart."""


class Tick(NamedTuple):
    """A label of time; `place` in percent of the width."""

    place: str
    label: str


class Drawing(NamedTuple):
    """`line` is the data of an SVG path, `wide` units wide and `CHART_HEIGHT` high.

    `extent` is "lowest - highest", `states` are names from the highest level down. `points` is
    JSON: for each place at which something can be read its thousandth of the width, its revision
    (0: before the chart), the time, and what is read.
    """

    line: str
    wide: int
    extent: str
    states: list[str]
    ticks: list[Tick]
    points: str


def sparkline(trend: Trend) -> Markup:
    """The sparkline of a key in the list."""
    return _sparkline(trend.is_steps, trend.points)


@lru_cache(maxsize=4_000)
def _sparkline(is_steps: bool, points: Points) -> Markup:
    """The SVG of a sparkline; one of states ends with a line to the right."""
    first, last = points[0][0], points[-1][0]
    heights = [height for _, height in points if height is not None]
    low, high = min(heights), max(heights)
    wide = SPARKLINE_WIDTH - 2 * EDGE - (LAST_VALUE_WIDTH if is_steps else 0)
    places = [
        (
            EDGE + wide * (at - first) / max(1, last - first),
            _y(height, low, high, SPARKLINE_HEIGHT, EDGE + 1),
        )
        for at, height in points
    ]
    if is_steps:
        places.append((SPARKLINE_WIDTH - EDGE, places[-1][1]))
    path = "".join(_joined(places, is_steps))
    return Markup(
        '<svg class="trend" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'preserveAspectRatio="none" aria-hidden="true"><path d="{2}"/></svg>'
    ).format(SPARKLINE_WIDTH, SPARKLINE_HEIGHT, path)


def _joined(places: Sequence[tuple[float, float | None]], is_steps: bool) -> Iterator[str]:
    """The SVG path through the points, with steps between states and gaps for deletions."""
    now: float | None = None
    for x, y in places:
        if is_steps and now is not None:
            yield f"H{x:.0f}"
        if y is not None and now is None:
            yield f"M{x:.0f} {y:g}"
        elif y is not None and not is_steps:
            yield f"L{x:.0f} {y:g}"
        elif y is not None and y != now:
            yield f"V{y:g}"
        now = y


def _y(height: float | None, low: float, high: float, tall: float, edge: float) -> float | None:
    """Where a height is in the drawing of a chart; what is always the same is in the middle."""
    if height is None:
        return None
    span = high - low
    # Halves first: the span of the largest floats is none.
    share = (height / 2 - low / 2) / (high / 2 - low / 2) if span > 0 else 0.5
    return round(tall - edge - share * (tall - 2 * edge), 1)


def drawing(chart: Chart) -> Drawing:
    """All that the drawing of a chart shows."""
    heights = [
        chart.before,
        *(each for column in chart.columns for each in (column.low, column.high)),
    ]
    drawn = [height for height in heights if height is not None]
    states = [formatting.level_name(raw) for raw in chart.states or ()]
    low, high = min(drawn, default=0.0), max(drawn, default=0.0)
    if chart.states is not None:
        low, high = 0.0, float(len(states) - 1)
    return Drawing(
        "".join(_line(chart, low, high)),
        (chart.end - chart.start) // chart.width,
        _extent(low, high) if drawn and chart.states is None else "",
        states[::-1],
        list(
            _ticks(
                chart.start,
                chart.end,
                MAX_LABELS if chart.states is None else MAX_LABELS_BESIDE_STATES,
            )
        ),
        json.dumps(list(_points(chart, states)), ensure_ascii=False, separators=(",", ":")),
    )


def _extent(low: float, high: float) -> str:
    """The lowest and the highest value of a column, as a text."""
    one, other = formatting.short_number(low), formatting.short_number(high)
    return one if one == other else f"{one} \N{EN DASH} {other}"


def _line(chart: Chart, low: float, high: float) -> Iterator[str]:
    """The path of a chart's line: held until the next change; in a column, over all heights."""

    def y(height: float | None) -> float | None:
        return _y(height, low, high, CHART_HEIGHT, MARGIN)

    now = y(chart.before)
    if now is not None:
        yield f"M0 {now:g}"
    for column in chart.columns:
        x = column.n - chart.start // chart.width
        if now is not None:
            yield f"H{x}"
        for height in map(y, (column.first, column.low, column.high, column.last)):
            if height is not None and height != now:
                yield f"M{x} {height:g}" if now is None else f"V{height:g}"
                now = height
        now = y(column.last)
    if now is not None:
        yield f"H{(chart.end - chart.start) // chart.width}"


def _points(chart: Chart, states: Sequence[str]) -> Iterator[tuple[int, int, str, str]]:
    """What the tooltip of a chart says at each of its columns, from left to right."""
    is_long = chart.end - chart.start > _DAY
    if chart.before is not None:
        begun = _clock(chart.start, is_long)
        yield 0, 0, f"before {begun}", _height_text(chart.before, states)
    for column in chart.columns:
        x = (column.n * chart.width - chart.start) * 1000 // (chart.end - chart.start)
        yield x, column.revision, _clock(column.at, is_long), _read(column, states)


def _read(column: Column, states: Sequence[str]) -> str:
    """The value, exactly; of several numbers the lowest and the highest."""
    if column.changes > 1 and not states and column.low is not None and column.high is not None:
        return _extent(column.low, column.high)
    if column.raw is not None and not states:
        return formatting.value_summary(column.raw).text
    return "deleted" if column.last is None else _height_text(column.last, states)


def _height_text(height: float, states: Sequence[str]) -> str:
    """A height in the chart as a text: that of a state is its name."""
    return states[int(height)] if states else formatting.short_number(height)


def _ticks(start: int, end: int, most: float) -> Iterator[Tick]:
    """The labels of time below a chart, at round local times."""
    step = next((each for each in LABEL_STEPS if (end - start) / each <= most), LABEL_STEPS[-1])
    zone = datetime.fromtimestamp(end / 1000, UTC).astimezone().utcoffset()
    offset = int(zone.total_seconds() * 1000) if zone else 0
    at = -(-(start + offset) // step) * step - offset
    while at <= end:
        place = (at - start) / (end - start)
        if LABEL_MARGIN <= place <= 1 - LABEL_MARGIN:
            yield Tick(f"{place:.1%}", _tick(at, step))
        at += step


def _tick(at: int, step: int) -> str:
    """A time below the chart, as exact as its step."""
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone()
    if step < _MINUTE:
        return f"{local:%H:%M:%S}"
    if step < _DAY:
        return f"{local:%H:%M}"
    return f"{local.day} {local:%b}" if step < 91 * _DAY else f"{local:%b %Y}"


def _clock(at: int, is_long: bool) -> str:
    """The time of a chart's column for its tooltip, with the date in a long chart."""
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone()
    return f"{local.day} {local:%b %H:%M:%S}" if is_long else f"{local:%H:%M:%S}"
