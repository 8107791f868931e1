"""What is done is what was shown: counts that change, keys that change, keys that are held down."""

from typing import Any

import pytest
from playwright.sync_api import Route, expect

from support.harness import Server
from support.page_window import OpenWindow, Window, set_values

KEYS: list[tuple[str, Any]] = [("lamp.on", False), ("lamp.level", 70), ("train.lr", 0.01)]


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, KEYS)
    return open_window(box)


def revision(window: Window) -> int:
    return int(window.server.get("/queries/status").json()["revision"])


def test_the_count_of_an_open_deletion_stays_true(window: Window) -> None:
    window.node("lamp.").click()
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("2 keys will be deleted.")
    window.server.set("lamp.late", 1)
    expect(window["#delete-count"]).to_have_text("3 keys will be deleted.")
    expect(window["#delete-go"]).to_have_text("Delete 3 keys")


def test_a_count_that_changed_unseen_is_to_be_confirmed_again(window: Window) -> None:
    window.node("lamp.").click()
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("2 keys will be deleted.")
    # Patches stay away, as on a held picture: the form cannot see what is coming.
    window.page.evaluate("() => document.querySelector('#stream').remove()")
    window.server.set("lamp.late", 1)
    before = revision(window)
    window["#delete-go"].click()
    expect(window["#delete .said"]).to_contain_text("Once more?")
    assert revision(window) == before
    window["#delete-go"].click()
    window.wait_for("() => !document.querySelector('[id=\"delete\"]').checkVisibility()")
    assert window.server.get("/queries/state", match="lamp.**").json()["total"] == 0


def test_a_key_that_changed_while_it_was_to_be_deleted_stays(window: Window) -> None:
    window.choose("lamp.level")
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("1 key will be deleted.")
    window.server.set("lamp.level", 99)
    expect(window["#delete-count"]).to_contain_text("changed meanwhile")
    expect(window["#delete-go"]).to_be_disabled()
    window.press("Escape", "Delete")
    expect(window["#delete-count"]).to_have_text("1 key will be deleted.")
    window.press("Enter")
    expect(window.row("lamp.level")).to_have_count(0)


def test_of_several_none_is_deleted_where_one_changed(window: Window) -> None:
    window.choose("lamp.level")
    window.row("lamp.on").locator(".k").click(modifiers=["Shift"])
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("2 keys will be deleted.")
    window.server.set("lamp.on", True)
    expect(window["#delete-go"]).to_be_disabled()
    assert window.server.value("lamp.level") == 70


def test_a_key_that_is_held_down_acts_once(window: Window) -> None:
    window.choose("lamp.on")
    before = revision(window)
    for _ in range(8):
        window.page.keyboard.down(" ")
    window.page.keyboard.up(" ")
    expect(window.value("lamp.on")).to_contain_text("on")
    for _ in range(6):
        window.page.keyboard.down("p")
    window.page.keyboard.up("p")
    expect(window["#pause"]).to_contain_text("Paused")
    assert revision(window) == before + 1


def test_a_held_picture_goes_on_counting_while_one_looks_around(window: Window) -> None:
    window.choose("lamp.on")
    window.pause()
    for number in range(5):
        window.server.set("train.lr", number)
    expect(window["#pause"]).to_have_text("Paused, 5 changes waiting")
    window.choose("lamp.level")
    window.server.set("train.lr", 9)
    expect(window["#pause"]).to_have_text("Paused, 6 changes waiting")
    window.choose("train.lr")
    expect(window["#draft"]).to_have_value("0.01")  # as it was when the picture was held
    window.press("p")
    expect(window["#pause"]).to_have_text("Live")
    window.pause()


def test_a_commands_words_are_not_searched_for(window: Window) -> None:
    window.search("lamp")
    expect(window["#found"]).to_have_text("2 found")
    window.press("/")
    window.page.keyboard.type("sort by last", delay=150)
    window.press("ArrowDown", "Enter")
    expect(window["#query"]).to_have_value("lamp")
    expect(window["#found"]).to_have_text("2 found")
    expect(window["#rows .row"]).to_have_count(2)
    expect(window["#grid"]).to_be_focused()


def test_words_that_only_begin_like_a_command_are_searched_for(window: Window) -> None:
    window.server.set("note", "set point 4")
    window.press("/")
    window.page.keyboard.type("set point", delay=120)
    expect(window["#found"]).to_have_text("1 found")
    expect(window.row("note")).to_be_visible()


def test_a_command_that_was_rejected_keeps_its_words(window: Window) -> None:
    window.press("/")
    window.type("toggle lamp.level")
    window.press("Enter")
    expect(window[".palette-said"]).to_contain_text("lamp.level")
    expect(window["#query"]).to_have_value("toggle lamp.level")


def test_the_exact_name_of_a_command_runs_it(window: Window) -> None:
    window.press("/")
    window.type("theme: dark")
    window.press("Enter")
    expect(window["html"]).to_have_attribute("data-theme", "dark")


def test_j_and_k_move_as_the_arrows_do(window: Window) -> None:
    window.choose("lamp.level")
    window.press("j")
    expect(window["#fact"]).to_have_attribute("data-key", "lamp.on")
    window.press("k")
    expect(window["#fact"]).to_have_attribute("data-key", "lamp.level")


def test_after_a_search_the_first_of_what_was_found_is_chosen(window: Window) -> None:
    window.choose("lamp.level")
    window.press("/")
    window.type("train")
    window.press("ArrowDown")
    expect(window["#about h1"]).to_have_text("train.lr")
    expect(window["#grid"]).to_be_focused()


def test_after_a_deletion_the_next_key_is_chosen(window: Window) -> None:
    window.choose("lamp.on")
    window.press("Delete")
    expect(window["#delete-go"]).to_be_enabled()
    window.press("Enter")
    expect(window.row("lamp.on")).to_have_count(0)
    expect(window["#about h1"]).to_have_text("train.lr")
    window.press("Delete")
    expect(window["#delete-go"]).to_be_enabled()
    window.press("Enter")
    expect(window["#about h1"]).to_have_text("lamp.level")


def test_a_count_that_a_later_one_overtakes_does_not_lose_the_next_key(window: Window) -> None:
    window.choose("lamp.on")
    asked: list[Route] = []

    def both_at_last(route: Route) -> None:
        asked.append(route)
        if len(asked) == 2:
            for each in asked:
                # Playwright resolves names by itself, and does not know those under localhost.
                url = f"{window.server.url}/commands"
                each.fulfill(response=each.fetch(url=url))
        elif len(asked) > 2:
            route.continue_()

    window.page.route("**/commands", both_at_last)
    window.press("Delete")
    window.server.set("lamp.late", 1)  # counted once more, while the first count is on its way
    expect(window["#delete-go"]).to_be_enabled()
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window.row("lamp.on")).to_have_count(0)


def test_more_than_one_batch_is_not_selected_in_part(box: Server, open_window: OpenWindow) -> None:
    set_values(box, [(f"k.{n:04}", n) for n in range(1_200)])
    window = open_window(box)
    window.choose("k.0002")
    window.press("Control+a")
    expect(window["#note"]).to_contain_text("1,200 keys are more than the 1,000")
    window["#grid"].evaluate("grid => { grid.scrollTop = 1100 * 30 }")
    window.row("k.1101").locator(".k").click(modifiers=["Shift"])
    expect(window["#note"]).to_contain_text("1,100 keys are more")
    expect(window["aside"]).not_to_contain_text("keys selected", use_inner_text=True)
    window.row("k.1102").locator(".k").click()
    expect(window["#note"]).to_be_hidden()


def test_a_key_that_is_chosen_elsewhere_is_brought_into_view(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"many.k{number:04}", number) for number in range(3_000)])
    window = open_window(box)
    window.press("n")
    window["#create-key"].fill("many.k1500x")
    window.press("Tab")
    window.type("here")
    window.press("Enter")
    expect(window.row("many.k1500x")).to_be_in_viewport()
    expect(window["#fact"]).to_have_attribute("data-key", "many.k1500x")
    window.press("ArrowDown")
    expect(window["#fact"]).to_have_attribute("data-key", "many.k1501")
    window.press("/")
    window.type("open many.k0007")
    window.press("Enter")
    expect(window.row("many.k0007")).to_be_in_viewport()
    window.page.mouse.move(600, 400)
    window.page.mouse.wheel(0, 30_000)
    expect(window.row("many.k1010")).to_be_in_viewport()
