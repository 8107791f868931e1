"""Trends and charts show what was: every extreme, nothing later, and as little work as can be."""

import re
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from conftest import StartServer
from signalbox.server.read.charts import (
    EXAMINED_CHANGES,
    MAX_COLUMNS,
    SPANS,
    is_chartable,
)
from signalbox.server.read.sparklines import (
    CACHED_KEYS,
    MAX_POINTS,
    MAX_STATES,
    SparklineCache,
)
from signalbox.server.read.state_query import Item
from signalbox.ui import charts as drawn
from signalbox.ui import formatting
from support.chart_log import NOW, ChartLog
from support.page_window import OpenWindow, Window

MINUTE: Final = 60_000
MANY: Final = 100_000


@pytest.fixture
def log() -> Iterator[ChartLog]:
    made = ChartLog()
    yield made
    made.close()


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 90 * MINUTE),
        st.one_of(st.integers(-50, 50), st.floats(-1e6, 1e6), st.just(...), st.just("text")),
    ),
    min_size=1,
    max_size=60,
)


def levels(changes: Sequence[tuple[int, Any]]) -> list[tuple[int, float | None]]:
    return [(at, float(y) if isinstance(y, int | float) else None) for at, y in changes]


@given(CHANGES, st.sampled_from([*SPANS, "all"]), st.integers(0, 60))
def test_a_chart_keeps_first_last_lowest_and_highest_of_each_column(
    changes: list[tuple[int, Any]], span: str, cut: int
) -> None:
    changes = sorted(((NOW - 90 * MINUTE + at, y) for at, y in changes), key=lambda each: each[0])
    changes.append((changes[-1][0], 1))
    log = ChartLog()
    log.add("k", *changes[:cut])
    before = log.chart(span, NOW - MINUTE)
    log.add("k", *changes[cut:])
    for known in (None, before):
        chart = log.chart(span, cached=known)
        inside = [each for each in levels(changes) if each[0] >= chart.start]
        assert sum(column.changes for column in chart.columns) == len(inside)
        earlier = [y for at, y in levels(changes) if at < chart.start]
        assert chart.before == (earlier[-1] if earlier else None)
        for column in chart.columns:
            heights = [y for at, y in inside if at // chart.width == column.n]
            known_heights = [y for y in heights if y is not None]
            assert (column.first, column.last) == (heights[0], heights[-1])
            assert column.low == min(known_heights, default=None)
            assert column.high == max(known_heights, default=None)
    log.close()


def test_a_chart_has_as_many_columns_as_one_can_see_however_many_changes(log: ChartLog) -> None:
    log.add("k", *((NOW - MANY * 100 + n * 100, n % 977) for n in range(MANY)))
    chart = log.chart("all")
    assert MAX_COLUMNS / 2 <= len(chart.columns) <= MAX_COLUMNS + 1
    assert sum(column.changes for column in chart.columns) == MANY
    few = ChartLog()
    few.add("k", *((NOW - MANY * 100 + n * MANY // 10, n % 977) for n in range(1_000)))
    paths = [drawn.drawing(each).line for each in (chart, few.chart("all"))]
    assert len(paths[0]) < 3 * len(paths[1])
    assert len(paths[0]) < 20 * MAX_COLUMNS * 2
    few.close()


@pytest.mark.serial
def test_what_is_known_is_extended_without_reading_it_again(log: ChartLog) -> None:
    log.add("k", *((NOW - MANY * 10 + n * 10, n % 977) for n in range(MANY)))
    whole = timed(lambda: log.chart("all"))
    known = log.chart("all")
    log.add("k", (NOW, 5))
    again = timed(lambda: log.chart("all", cached=known))
    assert log.chart("all", cached=known) == log.chart("all")
    assert again < whole / 10


def timed(act: Callable[[], object]) -> float:
    """Seconds of the fastest of some tries."""
    times = []
    for _ in range(5):
        started = perf_counter()
        act()
        times.append(perf_counter() - started)
    return min(times)


def test_in_the_past_nothing_later_is_drawn(log: ChartLog) -> None:
    log.add("k", (NOW - 30 * MINUTE, 1), (NOW - 20 * MINUTE, 2), (NOW - 10 * MINUTE, 99))
    chart = log.chart("1h", NOW - 20 * MINUTE, at=2)
    assert [column.last for column in chart.columns] == [1.0, 2.0]
    assert chart.end - chart.width <= NOW - 20 * MINUTE < chart.end
    assert log.chart("1h", NOW - 20 * MINUTE, at=2, cached=log.chart("1h")) == chart


def test_states_are_levels_with_names_and_too_many_are_none(log: ChartLog) -> None:
    log.add("k", (NOW - 3 * MINUTE, True), (NOW - 2 * MINUTE, False))
    chart = log.chart()
    assert chart.states == ["false", "true"]
    assert [column.last for column in chart.columns] == [1.0, 0.0]
    assert drawn.drawing(chart).states == ["on", "off"]
    texts = [(NOW - 1000 + n, f"state {n % MAX_STATES}") for n in range(EXAMINED_CHANGES)]
    log.add("k", *texts)
    assert is_chartable(log.reader, "k", log.revision)
    assert log.chart("15m").is_crowded  # the booleans are two more
    log.add("k", *((NOW + n, f"other {n}") for n in range(100)))
    assert not is_chartable(log.reader, "k", log.revision)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, "x" * 100, "seen once"])
def test_what_has_no_height_has_no_chart(log: ChartLog, value: Any) -> None:
    log.add("k", (NOW, value))
    assert not is_chartable(log.reader, "k", 1)
    log.add("k", (NOW + 1, 5), (NOW + 2, ...))
    assert is_chartable(log.reader, "k", 3)  # what it was before it was deleted


def test_numbers_beyond_every_float_are_left_out(log: ChartLog) -> None:
    log.add("k", (NOW - 2, 10**400), (NOW - 1, 10**308), (NOW, -(10**308)))
    chart = log.chart()
    assert chart.columns[-1].high == 1e308
    assert "nan" not in drawn.drawing(chart).line + "inf"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.01235"),
        (1482.6, "1,483"),
        (-999_999.0, "-999,999"),
        (17_179_869_184.0, "17.18 G"),
        (-1.5e6, "-1.5 M"),
        (1e15, "1e+15"),
        (1e-9, "1e-09"),
    ],
)
def test_what_is_read_off_a_chart_has_about_four_figures(number: float, text: str) -> None:
    assert formatting.short_number(number) == text


def test_a_line_is_held_until_the_next_change_and_broken_where_there_was_no_key(
    log: ChartLog,
) -> None:
    hour = SPANS["1h"]
    log.add("k", (NOW - hour // 2, 0), (NOW - hour // 4, 10), (NOW - hour // 8, ...), (NOW, 5))
    assert drawn.drawing(log.chart()).line == "M149 83H224V7H261M299 45H300"


def test_a_trend_is_known_until_its_key_changes(log: ChartLog) -> None:
    log.add("k", *((NOW + n, n) for n in range(100)))
    trends = SparklineCache()
    found = trends.sparklines(log.reader, [log.item("k")])["k"]
    assert found.points == tuple((NOW + n, float(n)) for n in range(100 - MAX_POINTS, 100))
    item, asked = log.item("k"), list[str]()
    log.reader.exec_trace = lambda _cursor, sql, _bound: asked.append(sql) or True  # type: ignore[func-returns-value]
    assert trends.sparklines(log.reader, [item])["k"] == found
    assert asked == []
    log.add("k", (NOW + 100, 1000))
    assert trends.sparklines(log.reader, [log.item("k")])["k"].points[-1] == (NOW + 100, 1000.0)
    assert trends.sparklines(log.reader, [log.item("k", 50)])["k"].points[-1] == (NOW + 49, 49.0)
    assert trends.sparklines(log.reader, [log.item("k", 50)])["k"].points[0] == (NOW + 18, 18.0)


def test_trends_are_lines_of_numbers_and_steps_of_states(log: ChartLog) -> None:
    log.add("n", (NOW, 1), (NOW + 10, ...), (NOW + 20, "text"), (NOW + 30, 3), (NOW + 40, 2))
    log.add("b", (NOW, True), (NOW + 90, False), (NOW + 100, True))
    log.add("t", *((NOW + n, f"state {n % MAX_STATES}") for n in range(9)))
    log.add("many", *((NOW + n, f"text {n}") for n in range(9)))
    log.add("long", (NOW, "x" * 80), (NOW + 1, "y" * 80))
    log.add("once", (NOW, 1))
    log.add("list", (NOW, [1]), (NOW + 1, [2]))
    items = [log.item(key) for key in ("n", "b", "t", "many", "long", "once", "list")]
    found = SparklineCache().sparklines(log.reader, items)
    assert set(found) == {"n", "b", "t"}
    assert [height for _, height in found["n"].points] == [1, None, None, 3, 2]
    assert [trend.is_steps for trend in found.values()] == [False, True, True]
    assert path(found["b"]) == "M2 3H72V15H80V3H90"
    assert path(found["n"]) == "M2 15M68 3L90 9"


def path(trend: Any) -> str:
    return str(drawn.sparkline(trend)).split('d="')[1].split('"')[0]


@pytest.mark.serial
def test_the_trends_of_a_screen_cost_little(log: ChartLog) -> None:
    """Sixty rows of which all have changed, thirty times a second, on a machine that is busy."""
    keys = [f"k{n:02}" for n in range(60)]
    for key in keys:
        log.add(key, *((NOW + n, n % 7) for n in range(300)))
    trends = SparklineCache()
    trends.sparklines(log.reader, [log.item(key) for key in keys])

    def change() -> float:
        for key in keys:
            log.add(key, (NOW + log.revision, log.revision % 11))
        items = [log.item(key) for key in keys]
        started = perf_counter()
        for trend in trends.sparklines(log.reader, items).values():
            drawn.sparkline(trend)
        return perf_counter() - started

    assert min(change() for _ in range(5)) < 1 / 30 / 2


def test_trends_are_forgotten_in_the_end(log: ChartLog) -> None:
    trends = SparklineCache()
    for n in range(0, CACHED_KEYS + 200, 100):
        items = [Item(f"k{m}", "1", 1, 0, "test") for m in range(n, n + 100)]
        assert trends.sparklines(log.reader, items) == {}
    assert len(trends) == CACHED_KEYS


@pytest.fixture
def window(server: StartServer, open_window: OpenWindow) -> Window:
    started = server()
    for value in (5, 1, 9, 3):
        started.set("n", value)
    started.set("on", True)
    started.set("on", False)
    started.set("note", "only one")
    return open_window(started)


def test_the_list_has_trends_of_what_has_one(window: Window) -> None:
    expect(window.row("n").locator(".trend path")).to_have_attribute("d", ANY_LINE)
    expect(window.row("on").locator(".trend path")).to_have_attribute("d", ANY_STEPS)
    expect(window.row("note").locator(".trend")).to_have_count(0)
    window.server.set("note", "another")
    expect(window.row("note").locator(".trend")).to_have_count(1)


LAST: Final = re.compile(r"^(\d\d:\d\d:\d\d: )?(3|\d \u2013 \d)$")
"""Of the first values, which may have come within one column of time."""
ANY_LINE: Final = re.compile(r"^M[\d. ]+(L[\d. ]+){3}$")
ANY_STEPS: Final = re.compile(r"^M2 \d+H\d+V\d+H90$")


def test_the_chart_tells_lowest_and_highest_and_the_value_under_the_pointer(
    window: Window,
) -> None:
    window.choose("n")
    expect(window[".extent"]).to_have_text("1 \N{EN DASH} 9")
    window["#charts"].get_by_text("All", exact=True).click()
    field = window["#plot .field"]
    place = field.bounding_box()
    assert place is not None
    window.page.mouse.move(place["x"] + place["width"] - 1, place["y"] + 30)
    expect(window["#reading"]).to_have_text(LAST)
    expect(window["#cross"]).to_be_visible()
    window.page.mouse.move(10, 10)
    expect(window["#reading"]).to_be_hidden()
    expect(window["#cross"]).to_be_hidden()


def test_the_chart_is_read_with_the_arrow_keys_and_follows_what_happens(window: Window) -> None:
    window.choose("n")
    window["#charts"].get_by_text("All", exact=True).click()
    expect(window["#plot"]).to_have_attribute("aria-label", re.compile("n over all the time"))
    window["#plot"].focus()
    expect(window["#plot"]).to_have_attribute("aria-valuetext", LAST)
    window.press("Home")
    first = window["#reading"].inner_text()
    expect(window["#plot"]).to_have_attribute("aria-valuenow", "0")
    window.server.set("n", 77)
    expect(window[".extent"]).to_have_text("1 \N{EN DASH} 77")
    expect(window["#reading"]).to_have_text(first)
    window.press("End")
    expect(window["#reading"]).to_contain_text("77")


def test_ranges_and_keys_without_a_chart(window: Window) -> None:
    window.choose("note")
    expect(window["#charts"]).to_be_hidden()
    window.choose("on")
    expect(window["#charts .states span"]).to_have_text(["on", "off"])
    for name, label in (("15 min", "15 minutes"), ("1 day", "day"), ("1 h", "hour")):
        window["#charts"].get_by_text(name, exact=True).click()
        expect(window["#plot"]).to_have_attribute("aria-label", f"on over the last {label}")
    expect(window["#charts .times text"].first).to_have_text(re.compile(r"^\d\d:\d\d$"))
