"""The list holds the selected row where it is on screen, and shows where the keyboard is."""

import pytest
from playwright.sync_api import expect

from support.harness import Server
from support.page_window import OpenWindow, Window, set_values


def top(window: Window, key: str) -> float:
    """Of a row, in px from the top of the page."""
    found = window.row(key).bounding_box()
    assert found is not None
    return found["y"]


def shadow(window: Window, selector: str) -> str:
    found: str = window[selector].evaluate("e => getComputedStyle(e).boxShadow")
    return found


@pytest.mark.parametrize("count", [3, 2_000])
@pytest.mark.parametrize("keys", [["End", "End", "End"], ["ArrowDown"] * 4])
def test_a_selected_row_stays_where_it_is_while_others_come_and_go_before_it(
    box: Server, open_window: OpenWindow, keys: list[str], count: int
) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(500)])
    window = open_window(box)
    key = "k.00499" if "End" in keys else "k.00003"
    window.press(*keys)
    expect(window["#about h1"]).to_have_text(key)
    before = top(window, key)
    set_values(box, [(f"a.{n:05}", n) for n in range(count)])
    expect(window["#grid"]).to_have_attribute("aria-rowcount", str(501 + count))
    expect(window.row(key)).to_be_in_viewport(ratio=1)
    window.wait_for(TOP, [key, before])
    box.post({"type": "delete_prefix", "prefix": "a."})
    expect(window["#grid"]).to_have_attribute("aria-rowcount", "501")
    window.wait_for(TOP, [key, before])


TOP = "([key, top]) => document.getElementById(`k:${key}`)?.getBoundingClientRect().y === top"


def test_a_selected_row_out_of_sight_moves_nothing(box: Server, open_window: OpenWindow) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(500)])
    window = open_window(box)
    window.choose("k.00002")
    window["#grid"].evaluate("grid => { grid.scrollTop = 6000 }")
    expect(window.row("k.00205")).to_be_in_viewport()
    set_values(box, [("a", 1)])
    expect(window["#grid"]).to_have_attribute("aria-rowcount", "502")
    assert window["#grid"].evaluate("grid => grid.scrollTop") == 6000


def test_a_selected_row_that_is_deleted_moves_nothing(box: Server, open_window: OpenWindow) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(500)])
    window = open_window(box)
    window["#grid"].evaluate("grid => { grid.scrollTop = 6000 }")
    window.choose("k.00205")
    box.post({"type": "delete", "key": "k.00205"})
    expect(window["#grid"]).to_have_attribute("aria-rowcount", "500")
    assert window["#grid"].evaluate("grid => grid.scrollTop") == 6000


@pytest.mark.parametrize("way", ["Escape", "emptied"])
def test_what_is_selected_in_a_search_is_in_sight_once_that_is_cleared(
    box: Server, open_window: OpenWindow, way: str
) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(3_000)])
    window = open_window(box)
    window.search("k.0250")
    expect(window["#about h1"]).to_have_text("k.02500")
    window.press("ArrowDown", "ArrowDown")
    expect(window["#about h1"]).to_have_text("k.02502")
    before = top(window, "k.02502")
    if way == "Escape":
        window.press("Escape")
    else:
        window["#query"].fill("")
    expect(window["#grid"]).to_have_attribute("aria-rowcount", "3001")
    expect(window.row("k.02502")).to_be_in_viewport(ratio=1)
    window.wait_for(TOP, ["k.02502", before])
    assert window.row("k.02502").get_attribute("aria-selected") == "true"


def test_the_keyboard_marks_a_row_and_never_the_whole_list(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(500)])
    window = open_window(box)
    window.press("Tab")
    window["#grid"].focus()
    assert shadow(window, "#grid") == "none"
    assert "inset" in shadow(window, "#rows .row:first-child")
    window["#grid"].evaluate("grid => { grid.scrollTop = 9000 }")
    expect(window.row("k.00300")).to_have_class("row start")
    assert "inset" in shadow(window, "#rows .start")
    window.press("ArrowDown")
    expect(window["#about h1"]).to_have_text("k.00300")
    expect(window["#rows .start"]).to_have_count(0)
    assert "inset" in shadow(window, "#rows .cursor")
    window["#grid"].evaluate("grid => { grid.scrollTop = 0 }")
    expect(window.row("k.00000")).to_be_in_viewport()
    assert shadow(window, "#grid") == "none"
