"""What the window looks like says what is true, and can be seen by everybody."""

from typing import Any

import pytest
from playwright.sync_api import expect

from support.harness import Server
from support.page_contrast import FIND_POOR_CONTRAST
from support.page_window import OpenWindow, Window, set_values

SCHEMES = ("light", "dark")


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, [("lamp.on", True), ("lamp.none", None), ("lamp.list", [1]), ("lamp.s", "ok")])
    return open_window(box)


def style(window: Window, selector: str, name: str) -> str:
    found: str = window[selector].first.evaluate(
        "(element, name) => getComputedStyle(element)[name]", name
    )
    return found


def test_the_selector_of_a_source_shows_the_pace_that_is_set(window: Window) -> None:
    window["[data-view=sources]"].click()
    pace = window["#source-list select"]
    for seconds in ("5", "0.2", "60"):
        pace.select_option(seconds)
        expect(window["#source-list select[data-every='" + seconds + "']"]).to_have_value(seconds)
    window.server.set("_signalbox.sources.computer", {"enabled": False, "every": 2})
    expect(pace).to_have_value("2")


def test_the_keyboards_place_in_tree_and_list_is_seen(window: Window) -> None:
    window.press("t")
    assert style(window, "#tree [data-prefix='']", "outlineStyle") == "solid"
    window.node("lamp.").locator("[data-do=unfold]").click()
    leaf = "#tree [data-key='lamp.list']"
    expect(window[leaf]).to_be_visible()
    window.press("ArrowDown", "ArrowDown")
    expect(window[leaf]).to_have_class("node leaf d2 spot")
    assert style(window, leaf, "outlineStyle") == "solid"
    window.press("l", "Escape")
    expect(window["#rows .cursor"]).to_have_count(0)
    assert style(window, "#rows .row", "boxShadow") != "none", "where the arrow keys begin"
    assert style(window, "#grid", "boxShadow") == "none"


def test_a_delete_button_that_cannot_be_pressed_does_not_look_like_one(window: Window) -> None:
    danger = style(window, "#delete-go", "backgroundColor")
    window["#delete-go"].evaluate("button => { button.disabled = true }")
    assert style(window, "#delete-go", "backgroundColor") != danger


def test_small_text_has_the_contrast_that_wcag_aa_asks_for(window: Window) -> None:
    window.choose("lamp.s")
    window.search("amp")
    expect(window["mark"]).to_have_count(4)
    for scheme in SCHEMES:
        window.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        poor: list[Any] = window.page.evaluate(FIND_POOR_CONTRAST)
        assert poor == [], scheme


def test_without_a_server_the_last_known_values_stay_readable(window: Window) -> None:
    window.page.route("**/queries/page*", lambda route: route.abort())
    window.row("lamp.s").locator(".k").click()
    expect(window["body"]).to_have_class("offline")
    for scheme in SCHEMES:
        window.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        poor: list[Any] = window.page.evaluate(FIND_POOR_CONTRAST)
        assert poor == [], scheme
    for part in ("main", "nav", "#rows"):
        assert style(window, part, "opacity") == "1"


@pytest.mark.parametrize("size", [(1280, 800), (1000, 700), (700, 500), (640, 420)])
def test_no_text_of_the_frame_is_cut_in_a_small_window(
    window: Window, size: tuple[int, int]
) -> None:
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    window.server.post({"type": "set", "key": "no..key", "value": 1})
    window.choose("lamp.s")
    window.search("l")
    expect(window["#found"]).to_have_text("4 found")
    expect(window["#found"]).to_be_visible()
    cut = "e => e.filter(e => e.scrollWidth > e.clientWidth).map(e => e.className || e.tagName)"
    frame = "body, header, .search, .live, nav, nav > .node, main, aside, #about, footer, .end"
    assert window[f"{frame}, .tools"].evaluate_all(cut) == []


@pytest.mark.parametrize("size", [(1000, 700), (700, 500), (640, 420)])
def test_all_ways_to_begin_are_in_sight_in_a_small_window(
    box: Server, open_window: OpenWindow, size: tuple[int, int]
) -> None:
    window = open_window(box)
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    expect(window["#first .way"]).to_have_count(3)
    window.press("?")
    fits = "sheet => sheet.scrollHeight <= sheet.clientHeight"
    assert window["#sheet"].evaluate(fits)
    window.press("Escape")
    expect(window["#line"]).to_be_in_viewport()
    assert window["#line"].evaluate("line => line.scrollWidth <= line.clientWidth")


def test_the_line_for_a_shell_is_broken_at_its_spaces_alone(
    box: Server, open_window: OpenWindow
) -> None:
    window = open_window(box)
    line = window["#line"]
    shown = line.inner_text()
    assert "--data-dir" in shown
    assert line.text_content() == " ".join(shown.split())
    for width in (1240, 1000, 640):
        window.page.set_viewport_size({"width": width, "height": 720})
        lines = "span => span.getClientRects().length"
        whole = line.get_by_text("--data-dir", exact=True)
        assert whole.bounding_box()["height"] < 20  # type: ignore[index]
        assert whole.evaluate(lines) == 1


def test_only_what_can_be_done_is_hinted_at(box: Server, open_window: OpenWindow) -> None:
    window = open_window(box)
    hints = window["#inspector .hints"]
    expect(hints).to_be_visible()
    choosing, editing = hints.get_by_text("choose a key"), hints.get_by_text("edits it")
    expect(choosing).to_be_hidden()
    expect(editing).to_be_hidden()
    box.set("lamp.on", False)
    box.set("lamp.on", True)
    expect(choosing).to_be_visible()
    expect(editing).to_be_visible()
    expect(window.value("lamp.on")).to_contain_text("on")
    window.press(",")
    expect(editing).to_be_hidden()
    expect(choosing).to_be_visible()
    window.press("Escape")
    expect(editing).to_be_visible()


def test_the_stretch_beside_the_slider_is_as_wide_as_its_words(window: Window) -> None:
    widths = []
    for stretch in ("1h", "1d", "15m"):
        window["#stretch"].select_option(stretch)
        widths.append(window["#stretch"].evaluate("e => e.offsetWidth"))
    assert widths == sorted(widths)
    assert widths[0] < 50
    assert widths[-1] < 75


def test_a_key_is_shortened_at_its_beginning_which_its_neighbours_share(window: Window) -> None:
    keys = [f"computer.cpu.core.{n}.percent" for n in range(2)]
    for key in keys:
        window.server.set(key, 1)
    above = window.row(keys[0]).locator(".k em")
    expect(above).to_have_text("computer.cpu.core.0.")
    window.page.set_viewport_size({"width": 1152, "height": 720})
    assert above.evaluate("e => e.scrollWidth <= e.clientWidth")
    window.page.set_viewport_size({"width": 640, "height": 720})
    assert above.evaluate("e => e.scrollWidth > e.clientWidth")
    hidden = """e => {
        const [whole, seen] = [e.firstChild, e].map((e) => e.getBoundingClientRect());
        return [seen.left - whole.left > 1, Math.abs(seen.right - whole.right) < 1];
    }"""
    assert above.evaluate(hidden) == [True, True]


def test_a_long_key_takes_three_lines_until_all_of_it_is_requested(window: Window) -> None:
    key = "k" * 256
    window.server.set(key, 1)
    window.choose(key)
    lines = "h1 => Math.round(h1.getBoundingClientRect().height / parseFloat('19.6'))"
    assert window["#about h1"].evaluate(lines) == 3
    window.page.get_by_role("button", name="Show the whole key").click()
    assert window["#about h1"].evaluate(lines) > 5
