"""Who cannot see the window, or uses no mouse, learns the same and reaches the same."""

import pytest
from playwright.sync_api import expect

from support.harness import Server
from support.page_window import OpenWindow, Window, set_values


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, [("lamp.on", True), ("lamp.name", "desk lamp <b>"), ("train.lr", 0.01)])
    return open_window(box)


def test_the_heads_of_the_list_are_its_columns_and_tell_how_it_is_sorted(window: Window) -> None:
    expect(window["#grid"]).to_have_attribute("aria-owns", "heads")
    heads = window["#heads [role=columnheader]"]
    assert [text.strip() for text in heads.all_inner_texts()] == [
        "Key",
        "Value",
        "Trend",
        "Changed",
        "By",
    ]
    expect(heads.nth(0)).to_have_attribute("aria-sort", "ascending")
    heads.nth(3).get_by_role("button").click()
    expect(heads.nth(0)).to_have_attribute("aria-sort", "none")
    expect(heads.nth(3)).to_have_attribute("aria-sort", "descending")


def test_nothing_but_rows_stands_in_the_list(window: Window) -> None:
    inside = "grid => [...grid.querySelectorAll('h1, p, button:not([role=switch])')].length"
    assert window["#grid"].evaluate(inside) == 0
    expect(window.page.get_by_role("heading", name="Keys", exact=True)).to_have_count(1)


def test_the_loss_of_the_server_and_its_return_are_announced(window: Window) -> None:
    window.page.route("**/queries/page*", lambda route: route.abort())
    window.row("lamp.on").locator(".k").click()
    expect(window["#said"]).to_contain_text("The server does not answer")
    window.page.unroute("**/queries/page*")
    expect(window["#said"]).to_have_text("Connected again")


def test_a_switch_says_in_words_how_it_stands(window: Window) -> None:
    window.choose("lamp.on")
    expect(window["#word"]).to_have_text("on")
    window["#toggle"].click()
    expect(window["#word"]).to_have_text("off")
    window.choose("train.lr")
    expect(window["#word"]).to_be_hidden()


def test_on_a_mac_its_own_modifier_is_named(window: Window, open_window: OpenWindow) -> None:
    mac = "Object.defineProperty(navigator, 'platform', {get: () => 'MacIntel'})"
    other = open_window(window.server, lambda page: page.add_init_script(mac))
    expect(other["#sheet"]).to_contain_text("⌘K")
    expect(other["#sheet"]).not_to_contain_text("Ctrl")
    expect(window["#sheet"]).to_contain_text("Ctrl K")


def test_what_was_searched_for_is_marked_in_keys_and_values(window: Window) -> None:
    window.search("LAMP")
    expect(window["#found"]).to_have_text("2 found")
    expect(window.row("lamp.name").locator("mark")).to_have_text(["lamp", "lamp"])
    window.search("p.n")
    expect(window.row("lamp.name").locator(".k mark")).to_have_text(["p.", "n"])
    window.search("<b>")
    expect(window.value("lamp.name").locator("mark")).to_have_text("<b>")
    expect(window.value("lamp.name")).to_have_text("desk lamp <b>")


def test_a_search_is_cleared_by_its_cross(window: Window) -> None:
    expect(window["#wipe"]).to_be_hidden()
    window.search("train")
    expect(window["#rows .row"]).to_have_count(1)
    window["#wipe"].click()
    expect(window["#rows .row"]).to_have_count(3)
    expect(window["#query"]).to_be_focused()
    expect(window["mark"]).to_have_count(0)
