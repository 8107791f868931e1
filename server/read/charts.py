"""Charts: any number of a key's changes over an interval, reduced to few columns to draw.

Downsampling: one column of time is one pixel, and of the changes in it the first, the last, the
lowest and the highest are kept, so that the line drawn is the one that all of them would draw. That
is M4 (Jugel, Jerzak, Hackenbroich, Markl: "M4: A Visualization-Oriented Time Series Data
Aggregation", PVLDB 7(10), 2014). SQL does it, in a native thread; a chart that is known is only
extended by what came since.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.read import log_sql, sparklines
from signalbox.server.read.sparklines import (
    MAX_STATE_BYTES,
    MAX_STATES,
    SparklineCache,
    is_number,
)

MAX_COLUMNS: Final = 300
"""Of a chart at most, and half as many at least where it spans all there is."""
SPANS: Final = {"15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}
"""In ms; any other name means the whole history."""
MIN_WIDTH: Final = 8
"""Least width of a column, in ms."""
RECENT: Final = 20
"""Last changes in which a deleted key's kind of value is looked for."""
EXAMINED_CHANGES: Final = 200
"""Last changes by which it is decided whether a text has states."""
MAX_NUMBER_LENGTH: Final = 320
"""Characters of a number that is drawn."""
CACHED_CHARTS: Final = 16
"""Charts that are cached to be extended."""


class Column(NamedTuple):
    """The changes within one column, at `n` times its width since 1970.

    Heights: of the `first`, the `last`, the `low`est and the `high`est, None where there was no
    such value. `revision`, `at` and `raw` (None: deleted, or too long) are those of the last.
    """

    n: int
    changes: int
    low: float | None
    high: float | None
    first: float | None
    last: float | None
    revision: int
    at: int
    raw: str | None


class Chart(NamedTuple):
    """Times in ms since 1970 UTC; `width` is that of a column.

    `before` is the height at the start. `states` are JSON texts from the lowest level upwards, None
    for a chart of numbers. `end` is the first time that is not drawn any more; `revision` the
    last one in the chart. `is_crowded`: more states than can be drawn, so no columns.
    """

    start: int
    end: int
    width: int
    before: float | None
    columns: list[Column]
    states: list[str] | None
    revision: int
    is_crowded: bool = False


class ChartQuery(NamedTuple):
    """A query for a key's chart over the `span` that ends at `until` (ms), up to a revision."""

    key: str
    span: str
    until: int
    revision: int


class ChartCache:
    """Cached charts and sparklines of all windows, apart for the current and earlier states."""

    def __init__(self) -> None:
        """No charts are cached yet."""
        self.current, self.as_of = SparklineCache(), SparklineCache()
        self._cached: OrderedDict[tuple[str, str, bool], Chart] = OrderedDict()

    def get(self, query: ChartQuery, is_past: bool) -> Chart | None:
        """The cached chart of this key and span."""
        return self._cached.get((query.key, query.span, is_past))

    def put(self, query: ChartQuery, is_past: bool, chart: Chart) -> None:
        """Cache a chart, and forget the one that was used least lately."""
        name = (query.key, query.span, is_past)
        self._cached[name] = chart
        self._cached.move_to_end(name)
        if len(self._cached) > CACHED_CHARTS:
            self._cached.popitem(last=False)


def is_chartable(connection: apsw.Connection, key: str, revision: int) -> bool:
    """Whether a key has a chart: a number, a boolean, or a text that is one of few."""
    begins = _newest(connection, key, revision)
    if begins != '"':
        return begins is not None and begins not in "n[{"
    bound = {"key": key, "high": revision, "limit": EXAMINED_CHANGES, "short": MAX_STATE_BYTES}
    states = [text for (text,) in connection.execute(_STATES_OF_LAST, bound)]
    return None not in states and 2 <= len(states) <= MAX_STATES


def read_chart(connection: apsw.Connection, query: ChartQuery, cached: Chart | None) -> Chart:
    """The chart of a query, extended from a cached one where that is possible."""
    base = _start_chart(connection, query, cached)
    states = _states(connection, query, base)
    if states is not None and len(states) > MAX_STATES:
        return base._replace(columns=[], states=states, revision=query.revision, is_crowded=True)
    before = base.before
    if not base.columns:
        before = _height(connection, query.key, base.revision, states)
    columns = _merged([*base.columns, *_columns(connection, query, base, states)])
    gone = [column for column in columns if column.n * base.width < base.start]
    return base._replace(
        before=gone[-1].last if gone else before,
        columns=columns[len(gone) :],
        states=states,
        revision=query.revision,
    )


def _start_chart(connection: apsw.Connection, query: ChartQuery, cached: Chart | None) -> Chart:
    """A chart with the queried interval, and in it what the cached one has up to its revision."""
    begins = _newest(connection, query.key, query.revision) or "n"
    states = None if is_number(begins) else ["false", "true"] if begins in "tf" else []
    width = _width(connection, query)
    end = (query.until // width + 1) * width
    start = end - MAX_COLUMNS * width
    if query.span not in SPANS:
        start = _first_time(connection, query) // width * width
    if cached and _can_extend(cached, query, width, states):
        factor = width // cached.width
        columns = [column._replace(n=column.n // factor) for column in cached.columns]
        return cached._replace(start=start, end=end, width=width, columns=_merged(columns))
    low = log_sql.revision_at(connection, start - 1)
    return Chart(start, end, width, None, [], states, low)


def _can_extend(cached: Chart, query: ChartQuery, width: int, states: list[str] | None) -> bool:
    """Whether a cached chart can be extended to the queried one, with columns as narrow."""
    is_alike = (cached.states is None) == (states is None) and not cached.is_crowded
    return is_alike and cached.revision <= query.revision and cached.width <= width


def _newest(connection: apsw.Connection, key: str, revision: int) -> str | None:
    """The first character of the value that a chart ends with; None where there is none."""
    begins: str | None = connection.execute(_NEWEST, (key, revision, RECENT)).get
    return begins


def _first_time(connection: apsw.Connection, query: ChartQuery) -> int:
    """The time of the key's first change, at which a chart of its whole history begins."""
    time = connection.execute(_FIRST, (query.key, query.revision)).get
    return int(time or query.until)


def _width(connection: apsw.Connection, query: ChartQuery) -> int:
    """A column's width in ms. For the whole history a power of two: then two columns make one of
    the next larger width.
    """
    if query.span in SPANS:
        return SPANS[query.span] // MAX_COLUMNS
    needed = (query.until - _first_time(connection, query)) // MAX_COLUMNS + 1
    return max(MIN_WIDTH, 1 << (needed - 1).bit_length())


def _merged(columns: Sequence[Column]) -> list[Column]:
    """One column of the chart for each `n`; `columns` are sorted."""
    merged: list[Column] = []
    for column in columns:
        if merged and merged[-1].n == column.n:
            merged.append(_combined(merged.pop(), column))
        else:
            merged.append(column)
    return merged


def _combined(column: Column, other: Column) -> Column:
    """The one column of two that have the same `n`, `other` being the later."""
    lows = [low for low in (column.low, other.low) if low is not None]
    highs = [high for high in (column.high, other.high) if high is not None]
    return other._replace(
        changes=column.changes + other.changes,
        low=min(lows, default=None),
        high=max(highs, default=None),
        first=column.first,
    )


def _states(connection: apsw.Connection, query: ChartQuery, base: Chart) -> list[str] | None:
    """Every state within the chart, the one at its start included; at most one too many to draw."""
    if base.states is None:
        return None
    bound: dict[str, str | int] = {
        "key": query.key,
        "low": base.revision,
        "short": MAX_STATE_BYTES,
    }
    begins = [raw for (raw,) in connection.execute(_VALUE, bound)]
    bound |= {"high": query.revision, "limit": MAX_STATES + 2}
    changed = [raw for (raw,) in connection.execute(_STATES, bound)]
    return list(sparklines.levels([*base.states, *begins, *changed]))


def _columns(
    connection: apsw.Connection, query: ChartQuery, base: Chart, states: list[str] | None
) -> list[Column]:
    """The columns of the changes after those of the base."""
    height, texts = _height_sql(states), _state_parameters(states)
    bound: dict[str, str | int] = {"key": query.key, "low": base.revision, "width": base.width}
    bound |= {"high": query.revision, **texts}
    grouped = list(connection.execute(_GROUPED.format(height=height), bound))
    edges = sorted({revision for row in grouped for revision in row[4:6]})
    bounds = {
        "key": query.key,
        "edges": msgspec.json.encode(edges).decode(),
        "short": MAX_STATE_BYTES,
    }
    rows = connection.execute(_EDGES.format(height=height), bounds | texts)
    edge_of = {revision: (at, height, raw) for revision, at, height, raw in rows}
    return [
        Column(
            n, changes, least, most, edge_of[first][1], edge_of[last][1], last, *edge_of[last][::2]
        )
        for n, changes, least, most, first, last in grouped
    ]


def _height(
    connection: apsw.Connection, key: str, revision: int, states: list[str] | None
) -> float | None:
    """The height of the key's value at a revision."""
    sql = _HEIGHT.format(height=_height_sql(states))
    height: float | None = connection.execute(
        sql, {"key": key, "at": revision} | _state_parameters(states)
    ).get
    return height


def _height_sql(states: list[str] | None) -> str:
    """SQL for the height at which a chart draws a value."""
    if states is None:
        return _NUMBER
    cases = (f"WHEN :state{level} THEN {float(level)}" for level in range(len(states)))
    return f"CASE c.value {' '.join(cases)} END" if states else "NULL"


def _state_parameters(states: list[str] | None) -> dict[str, str]:
    """The SQL parameters for the states whose levels `_height_sql` compares."""
    return {f"state{level}": state for level, state in enumerate(states or ())}


_NUMBER: Final = f"""
CASE WHEN octet_length(c.value) <= {MAX_NUMBER_LENGTH} AND c.value GLOB '[-0-9]*'
    AND abs(CAST(c.value AS REAL)) <= {sparklines.LARGEST} THEN CAST(c.value AS REAL) END
"""
_GROUPED: Final = """
SELECT t.at / :width AS n, count(*), min({height}), max({height}), min(c.revision), max(c.revision)
FROM changes c CROSS JOIN transactions t ON t.revision = c.revision
WHERE c.key = :key AND c.revision > :low AND c.revision <= :high
GROUP BY n ORDER BY n
"""
_EDGES: Final = """
SELECT c.revision, t.at, {height}, iif(octet_length(c.value) <= :short, c.value, NULL)
FROM json_each(:edges) edge
CROSS JOIN changes c ON c.key = :key AND c.revision = edge.value
CROSS JOIN transactions t ON t.revision = c.revision
"""
_HEIGHT: Final = """
SELECT {height} FROM changes c
WHERE c.key = :key AND c.revision <= :at ORDER BY c.revision DESC LIMIT 1
"""
_VALUE: Final = """
SELECT iif(octet_length(value) <= :short, value, NULL) FROM changes
WHERE key = :key AND revision <= :low ORDER BY revision DESC LIMIT 1
"""
_STATES: Final = """
SELECT DISTINCT iif(octet_length(value) <= :short, value, NULL) FROM changes
WHERE key = :key AND revision > :low AND revision <= :high AND value IS NOT NULL LIMIT :limit
"""
_STATES_OF_LAST: Final = """
SELECT DISTINCT iif(octet_length(value) <= :short, value, NULL) FROM (
    SELECT value FROM changes WHERE key = :key AND revision <= :high
    ORDER BY revision DESC LIMIT :limit
) WHERE value IS NOT NULL
"""
_NEWEST: Final = """
SELECT substr(value, 1, 1) FROM (
    SELECT value FROM changes WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT ?
) WHERE value IS NOT NULL LIMIT 1
"""
_FIRST: Final = """
SELECT t.at FROM changes c CROSS JOIN transactions t ON t.revision = c.revision
WHERE c.key = ? AND c.revision <= ? ORDER BY c.revision LIMIT 1
"""
