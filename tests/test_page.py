"""The window shows the state: live, exact, and only what is in sight."""

import subprocess

import pytest
from playwright.sync_api import Route, expect

from support.harness import ROOT, Server
from support.page_login import page_origin
from support.page_window import OpenWindow, Window, record_requests, set_values

STATIC = ROOT / "ui" / "static"
LAMPS = [("lamp.desk.on", True), ("lamp.desk.brightness", 70), ("lamp.hall.on", False)]
TRAIN = [("train.epoch", 118), ("train.lr", 0.01), ("train.run", "resnet50")]


@pytest.fixture
def requests() -> list[str]:
    """The addresses that the window has asked for."""
    return []


@pytest.fixture
def window(box: Server, open_window: OpenWindow, requests: list[str]) -> Window:
    set_values(box, [*LAMPS, *TRAIN])
    return open_window(box, lambda page: record_requests(page, requests))


def test_a_command_from_elsewhere_makes_its_row_appear_change_and_go(window: Window) -> None:
    window.server.set("hello", "world", actor="script.py")
    expect(window.value("hello")).to_have_text("world")
    expect(window.row("hello").locator(".who")).to_have_text("script.py")
    window.server.set("hello", 2)
    expect(window.value("hello")).to_have_text("2")
    window.server.post({"type": "delete", "key": "hello"})
    expect(window.row("hello")).to_have_count(0)


def test_one_stream_stays_open_while_nothing_else_is_requested(
    window: Window, requests: list[str]
) -> None:
    window.server.set("hello", 1)
    expect(window.value("hello")).to_have_text("1")
    assert sum("/queries/page" in url for url in requests) == 1
    window.node("lamp.").click()
    expect(window["#about h1"]).to_have_text("lamp.")
    assert sum("/queries/page" in url for url in requests) == 2


def test_every_kind_of_value_reads_as_what_it_is(window: Window) -> None:
    values = [("k.null", None), ("k.text", "37"), ("k.list", [1, {"a": "b:c"}]), ("k.ok", "ok")]
    set_values(window.server, [*values, ("k.lines", "one\ntwo"), ("k.big", 12345678901234567890)])
    expect(window.value("k.null")).to_have_text("null")
    expect(window.value("k.text")).to_have_text('"37"')
    expect(window.value("k.list")).to_have_text('[1, {"a": "b:c"}]')
    expect(window.value("k.ok").locator(".dot.good")).to_be_visible()
    expect(window.value("k.lines")).to_have_text("one↵two")
    expect(window.value("k.big")).to_have_text("12345678901234567890")
    expect(window.row("lamp.desk.on").get_by_role("switch")).to_be_checked()


def test_a_changed_row_flashes_once_and_rows_that_did_not_change_stay_calm(window: Window) -> None:
    flashing = "key => document.getElementById('k:' + key).getAnimations().length"
    window.server.set("train.lr", 0.02)
    window.wait_for(f"() => ({flashing})('train.lr') === 1")
    assert window.page.evaluate(flashing, "train.run") == 0
    window.wait_for(f"() => ({flashing})('train.lr') === 0")


def test_nothing_flashes_where_motion_is_to_be_reduced(
    box: Server, open_window: OpenWindow
) -> None:
    box.set("n", 1)
    window = open_window(box, reduced_motion="reduce")
    box.set("n", 2)
    expect(window.value("n")).to_have_text("2")
    assert window.page.evaluate("document.getAnimations().length") == 0


def test_the_tree_has_exact_counts_and_unfolds_where_it_is_clicked(window: Window) -> None:
    expect(window.node("").locator("data")).to_have_text("6")
    expect(window.node("lamp.").locator("data")).to_have_text("3")
    expect(window.node("lamp.desk.")).to_have_count(0)
    window.node("lamp.").locator("[data-do=unfold]").click()
    expect(window.node("lamp.desk.").locator("data")).to_have_text("2")
    window.server.set("lamp.desk.colour", "warm")
    expect(window.node("lamp.desk.").locator("data")).to_have_text("3")
    expect(window.node("").locator("data")).to_have_text("7")
    window.node("lamp.").locator("[data-do=unfold]").click()
    expect(window.node("lamp.desk.")).to_have_count(0)


def test_choosing_a_prefix_shows_what_is_below_it_and_all_shows_everything(window: Window) -> None:
    window.node("lamp.").click()
    expect(window["#rows .row"]).to_have_count(3)
    expect(window["#about h1"]).to_have_text("lamp.")
    window.node("").click()
    expect(window["#rows .row"]).to_have_count(6)


def test_a_node_with_many_children_says_how_many_keys_are_left(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"net.if{n:03}.bytes", n) for n in range(250)])
    window = open_window(box)
    window.node("net.").locator("[data-do=unfold]").click()
    more = window["#tree .more"]
    expect(more).to_have_text("150 more keys")
    more.click()
    expect(more).to_have_text("50 more keys")
    more.click()
    expect(more).to_have_count(0)
    expect(window.node("net.if249.")).to_have_count(1)


def test_of_many_keys_only_those_in_sight_are_rendered_and_the_scrollbar_is_true(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(20_000)])
    window = open_window(box)
    expect(window.row("k.00000")).to_be_in_viewport()
    grid = window["#grid"]
    assert grid.evaluate("grid => grid.scrollHeight") == 20_000 * 30
    for i in (10_000, 3, 19_990):
        grid.evaluate("(grid, top) => { grid.scrollTop = top }", i * 30)
        expect(window.row(f"k.{i:05}")).to_be_in_viewport()
        box_of_row = window.row(f"k.{i:05}").bounding_box()
        box_of_grid = grid.bounding_box()
        assert box_of_row is not None
        assert box_of_grid is not None
        scrolled = grid.evaluate("grid => grid.scrollTop")
        assert box_of_row["y"] - box_of_grid["y"] == pytest.approx(i * 30 - scrolled, abs=1)
        assert window["#rows .row"].count() < 120


def test_a_list_taller_than_a_browser_allows_is_scaled_and_still_reaches_every_row(
    box: Server, open_window: OpenWindow
) -> None:
    """As with eleven million keys: here the browser's limit is lowered instead."""

    def lower(route: Route) -> None:
        text = (STATIC / "list.js").read_text()
        assert "30_000_000" in text
        route.fulfill(body=text.replace("30_000_000", "30_000"), content_type="text/javascript")

    set_values(box, [(f"k.{n:05}", n) for n in range(20_000)])
    window = open_window(box, lambda page: page.route("**/static/list.js", lower))
    grid = window["#grid"]
    expect(window.row("k.00000")).to_be_in_viewport()
    assert grid.evaluate("grid => grid.scrollHeight") == 30_000
    grid.evaluate("grid => { grid.scrollTop = (grid.scrollHeight - grid.clientHeight) / 2 }")
    expect(window.row("k.10000")).to_be_in_viewport()
    grid.hover()
    for _ in range(3):
        window.page.mouse.wheel(0, 300)
    expect(window.row("k.10039")).to_be_in_viewport()
    grid.focus()
    window.press("End")
    expect(window.row("k.19999")).to_be_in_viewport(ratio=1)
    window.press("ArrowUp")
    expect(window["#about h1"]).to_have_text("k.19998")
    window.press("Home")
    expect(window.row("k.00000")).to_be_in_viewport(ratio=1)


def test_the_arrow_keys_and_home_and_end_walk_the_whole_list(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"k.{n:05}", n) for n in range(5_000)])
    window = open_window(box)
    window.press("ArrowDown", "ArrowDown", "ArrowDown")
    expect(window["#about h1"]).to_have_text("k.00002")
    window.press("End")
    expect(window["#about h1"]).to_have_text("k.04999")
    expect(window.row("k.04999")).to_be_in_viewport()
    window.press("ArrowUp")
    expect(window["#about h1"]).to_have_text("k.04998")
    window.press("PageUp")
    expect(window["#about h1"]).not_to_have_text("k.04998")
    window.press("Home")
    expect(window["#about h1"]).to_have_text("k.00000")
    expect(window["#grid"]).to_have_attribute("aria-activedescendant", "k:k.00000")


def test_a_search_finds_text_in_keys_and_values_and_says_how_many(window: Window) -> None:
    window.search("desk")
    expect(window["#found"]).to_have_text("2 found")
    assert window.keys() == ["lamp.desk.brightness", "lamp.desk.on"]
    window.search("RESNET")
    expect(window["#found"]).to_have_text("1 found")
    assert window.keys() == ["train.run"]
    window.server.set("other", "a resnet too")
    expect(window["#found"]).to_have_text("2 found")
    window.search("nothing like it")
    expect(window[".list > .nothing"]).to_be_visible()
    window.press("Escape")
    expect(window["#rows .row"]).to_have_count(7)


def test_a_search_that_looks_like_a_pattern_is_one(window: Window) -> None:
    window.search("lamp.*.on")
    expect(window["#found"]).to_have_text("2 found")
    assert window.keys() == ["lamp.desk.on", "lamp.hall.on"]
    window.search("_signalbox.**")
    expect(window["#found"]).to_have_text("0 found")
    window.search("*nothing (valid)*")
    expect(window["#found"]).to_have_text("0 found")


def test_the_list_is_filtered_while_one_types_and_by_the_type_of_value(window: Window) -> None:
    window.press("/")
    window.type("hall")
    expect(window["#rows .row"]).to_have_count(1)
    window.press("Escape")
    window["#type"].select_option("boolean")
    expect(window["#found"]).to_have_text("2 found")
    assert window.keys() == ["lamp.desk.on", "lamp.hall.on"]


def test_a_search_stays_within_the_chosen_prefix_until_that_is_let_go(window: Window) -> None:
    window.node("train.").click()
    window.search("o")
    expect(window["#found"]).to_have_text("1 found")
    expect(window[".search .chip"]).to_contain_text("train.")
    window["#query"].fill("")
    window[".search .chip"].click()
    expect(window["#rows .row"]).to_have_count(6)


def test_sorted_by_last_change_the_newest_stands_first(window: Window) -> None:
    window["[data-sort=changed]"].click()
    window.server.set("lamp.hall.on", True)
    expect(window["#rows .row"].first).to_have_attribute("data-key", "lamp.hall.on")
    window.server.set("train.epoch", 119)
    expect(window["#rows .row"].first).to_have_attribute("data-key", "train.epoch")
    window["[data-sort=key]"].click()
    expect(window["#rows .row"].first).to_have_attribute("data-key", "lamp.desk.brightness")


def test_pause_holds_the_picture_and_counts_what_waits(window: Window) -> None:
    window.pause()
    window.server.set("train.epoch", 119)
    window.server.set("train.epoch", 120)
    set_values(window.server, [("new.a", 1), ("new.b", 2)])
    expect(window["#pause"]).to_have_text("Paused, 4 changes waiting")
    expect(window.value("train.epoch")).to_have_text("118")
    expect(window.row("new.a")).to_have_count(0)
    window["#pause"].click()
    expect(window["#pause"]).to_have_text("Live")
    expect(window.value("train.epoch")).to_have_text("120")
    expect(window.row("new.b")).to_have_count(1)


def test_the_theme_follows_the_system_until_the_store_says_otherwise(window: Window) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(246, 246, 244)", "rgb(22, 22, 21)"
    assert window.page.evaluate(ground) == light
    window.page.emulate_media(color_scheme="dark")
    assert window.page.evaluate(ground) == dark
    window.server.set("_signalbox.theme", "light")
    window.wait_for(f"() => {ground} === '{light}'")
    window.page.reload()
    window["#rows"].wait_for(state="attached")
    assert window.page.evaluate(ground) == light


def test_the_status_line_tells_engine_revision_keys_and_rate(window: Window) -> None:
    foot = window["#foot"]
    expect(foot).to_contain_text("SQLite")
    expect(foot).to_contain_text("6 keys")
    outcome = window.server.set("one.more", 1)
    expect(foot).to_contain_text(f"revision {outcome['revision']}")
    expect(foot).to_contain_text("7 keys")
    expect(window["#saved"]).to_have_text("All changes saved")


def test_an_empty_store_shows_three_ways_to_begin(box: Server, open_window: OpenWindow) -> None:
    window = open_window(box)
    first = window["#first"]
    expect(first).to_be_visible()
    subprocess.run(window["#line"].inner_text(), shell=True, check=True)
    expect(window["#rows .row"]).to_contain_text("hello")
    assert box.post({"type": "delete", "key": "hello"}).status == 200
    expect(first).to_be_visible()
    first.get_by_text("Watch this computer").click()
    window.wait_for("() => document.querySelectorAll('#rows .row').length > 3")
    assert box.value("_signalbox.sources.computer") == {"enabled": True, "every": 1.0}
    expect(first).to_be_hidden()
    expect(window["[data-view=sources]"]).to_contain_text("1 on")
    window["[data-view=sources]"].click()
    switch = window["#source-list"].get_by_role("switch")
    expect(switch).to_be_checked()
    switch.click()
    expect(switch).not_to_be_checked()
    assert box.value("_signalbox.sources.computer")["enabled"] is False


def test_the_window_asks_its_own_server_for_everything_and_nobody_else(
    window: Window, requests: list[str]
) -> None:
    window.node("lamp.").click()
    window.search("o")
    expect(window["#found"]).to_contain_text("found")
    assert {"/".join(url.split("/", 3)[:3]) for url in requests} == {page_origin(window.server)}
