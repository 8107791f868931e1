"""The window does and says what people expect: keeping, deleting, undoing, renaming, the past."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from support.harness import Server
from support.page_contrast import FIND_POOR_CONTRAST
from support.page_window import OpenWindow, Window, set_values

LAMPS: list[tuple[str, Any]] = [(f"lamp.l{number}", number) for number in range(8)]
PAST = "This is the past. Escape returns to live."


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, [*LAMPS, ("desk.on", True), ("desk.title", "oak")])
    return open_window(box)


def revision_seen(window: Window, revision: int) -> None:
    expect(window["#about"]).to_contain_text(f"revision {revision:,}")


# A key that a script changes all the time


def test_what_is_kept_is_set_however_often_others_set_the_key(window: Window) -> None:
    window.choose("lamp.l1")
    window["#draft"].fill("55")
    revision_seen(window, window.server.set("lamp.l1", 100, actor="script")["revision"])
    window["#conflict"].get_by_text("Keep mine").click()
    for number in range(101, 104):
        revision_seen(window, window.server.set("lamp.l1", number, actor="script")["revision"])
        expect(window["#conflict"]).to_be_hidden()  # it is said once
    expect(window["#draft"]).to_have_value("55")
    window["#draft"].press("Enter")
    expect(window.value("lamp.l1")).to_have_text("55")
    rejected = window.server.get("/queries/attempts", status="rejected").json()["items"]
    assert [one for one in rejected if one.get("key") == "lamp.l1"] == []


def test_what_is_not_kept_overwrites_nothing(window: Window) -> None:
    window.choose("lamp.l2")
    window["#draft"].fill("55")
    revision_seen(window, window.server.set("lamp.l2", 100, actor="script")["revision"])
    window["#draft"].press("Enter")
    expect(window["#editor-said"]).to_contain_text("conflict")
    assert window.server.value("lamp.l2") == 100


# What is said of several keys


def mark(window: Window, first: str, count: int) -> None:
    window.choose(first)
    window["#grid"].focus()
    for _ in range(count - 1):
        window.press("Shift+ArrowDown")


def test_a_deletion_of_some_keys_does_not_name_all(window: Window) -> None:
    mark(window, "lamp.l2", 4)
    window.press("Delete")
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window["#done"]).to_have_text("Deleted 4 keys below lamp. · Undo")
    assert window.server.get("/queries/state", match="lamp.**").json()["total"] == 4
    window.node("lamp.").click()
    window.press("Delete")
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window["#done"]).to_have_text("Deleted lamp. (4 keys) · Undo")


# Undo where others have changed the key since


def clash(window: Window, undone: Any, since: Any) -> Locator:
    """This window sets `desk.title`, somebody else does, and Ctrl Z is pressed."""
    window.choose("desk.title")
    window["#draft"].fill(undone)
    window.press("Enter")
    expect(window["#done"]).to_contain_text("Set desk.title")
    command = {"type": "delete"} if since is None else {"type": "set", "value": since}
    assert window.server.post({**command, "key": "desk.title", "actor": "ci"}).status == 200
    window["#grid"].focus()
    window.press("Control+z")
    expect(window["#undo"]).to_be_visible()
    return window["#undo fieldset label"]


def test_the_undo_dialog_is_plain_and_its_button_says_what_it_does(window: Window) -> None:
    choices = clash(window, "elm", "ash")
    expect(window["#undo-what"]).to_have_text(
        "This key has been changed since. Which value shall it have?"
    )
    theirs = re.compile(r'^Keep theirs"ash"set by ci today \d\d:\d\d:\d\d$')
    expect(choices.nth(0)).to_have_text(theirs)
    expect(choices.nth(1)).to_have_text('Take mine"oak"as it was before')
    expect(window["#undo-go"]).to_have_text("Keep all as it is")
    choices.nth(1).click()
    expect(window["#undo-go"]).to_have_text("Undo 1 key")
    choices.nth(0).click()
    expect(window["#undo-go"]).to_have_text("Keep all as it is")
    window["#undo input"].first.focus()
    window.press("Enter")
    expect(window["#undo"]).to_be_hidden()
    assert window.server.value("desk.title") == "ash"


def test_what_is_not_there_is_called_so(window: Window) -> None:
    choices = clash(window, "elm", None)
    expect(choices.nth(0)).to_have_text(re.compile(r"^Keep theirsnot theredeleted by ci today "))
    window.press("Escape")
    window.press("n")
    window["#create-key"].fill("desk.new")
    window["#create-value"].fill("1")
    window["#create-value"].press("Enter")
    expect(window["#done"]).to_contain_text("Set desk.new")
    window.server.set("desk.new", 2, actor="ci")
    window["#grid"].focus()
    window.press("Control+z")
    expect(choices.nth(1)).to_have_text(
        "Take minenot theredeletes the key, which was not there before"
    )


# Rename


def test_a_rename_offers_to_replace_where_something_is_there_and_says_so_once(
    window: Window,
) -> None:
    window.choose("lamp.l0")
    window.press("F2")
    replace, said = window["#rename-replace"], window["#rename .said"]
    expect(replace).to_be_hidden()
    window["#rename-to"].fill("lamp.l1")
    expect(window["#rename-count"]).to_have_text("lamp.l1 exists already.")
    expect(replace).to_be_visible()
    size = replace.bounding_box()
    assert size is not None
    assert size["width"] < 30
    window["#rename-to"].press("Enter")
    expect(window["#rename .go"]).to_be_enabled()
    expect(window["#rename-count"]).to_have_text("lamp.l1 exists already.")
    expect(said).to_have_text("")
    window["#rename-to"].fill("lamp.free")
    expect(window["#rename-count"]).to_have_text("1 key will be renamed.")
    expect(replace).to_be_hidden()
    window["#rename-to"].fill("lamp.l1")
    replace.check()
    expect(window["#rename-count"]).to_have_text("1 key will be renamed.")
    window["#rename-to"].press("Enter")
    expect(window.value("lamp.l1")).to_have_text("0")
    expect(window.row("lamp.l0")).to_have_count(0)


# The palette


@pytest.mark.parametrize("typed", ["theme dark", "Theme: dark", "dark", "them da"])
def test_enter_in_the_palette_runs_the_command_that_matches(window: Window, typed: str) -> None:
    window.server.set("_signalbox.theme", "light")
    window.press("Control+k")
    window["#query"].fill(typed)
    options = window["#palette .option"]
    expect(options.first).to_contain_text("Theme: dark")
    expect(options.last).to_contain_text("Search for")
    window.press("Enter")
    expect(window["html"]).to_have_attribute("data-theme", "dark")
    expect(window["#query"]).to_have_value("")


def test_what_no_command_matches_is_searched_for(window: Window) -> None:
    window.press("Control+k")
    window["#query"].fill("oak")
    window.press("Enter")
    expect(window["#rows .row"]).to_have_count(1)
    window["#grid"].focus()
    window.press("/")  # opens the same field to search
    window["#query"].fill("theme")
    expect(window["#palette .option"].first).to_contain_text("Search for")
    window.press("Escape", "Control+k")
    window["#query"].fill("!")
    window.press("Enter")
    expect(window["#rows .row"]).to_have_count(0)
    expect(window["#create"]).to_be_hidden()


# The past

READ = FIND_POOR_CONTRAST.replace('|| element.closest("[disabled]")', "")
"""What is off as well."""
FADED = """() => [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && (e.textContent.trim() || e.matches("button, textarea")))
    .filter((e) => getComputedStyle(e).opacity !== "1")
    .map((e) => e.outerHTML.slice(0, 200))"""
"""What is fainter than its colour, which a measure of colours does not see."""
OFF = [".plus", "#inspector [data-do=rename]", "#inspector [data-do=delete]"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_off_in_the_past_is_disabled_says_so_and_can_be_read(
    box: Server, open_window: OpenWindow, scheme: str
) -> None:
    set_values(box, [*LAMPS, ("desk.on", True), ("desk.title", "oak")])
    box.set("newest", 1)
    window = open_window(box, color_scheme=scheme)
    window.choose("lamp.l0")
    window["#draft"].fill("1")
    window.press("Enter")
    undone = window["#done"].get_by_role("button")
    expect(undone).to_be_enabled()
    for key, control in (("desk.title", "#draft"), ("desk.on", "#toggle"), ("lamp.l7", "#draft")):
        window.choose(key)
        window.press(",")
        expect(window["body"]).to_have_class("past")
        expect(window[control]).to_be_disabled()
        expect(window["#editor fieldset"]).to_have_attribute("title", PAST)
        switch = window.row("desk.on").get_by_role("switch")
        for off in (*(window[each] for each in OFF), switch, undone):
            expect(off).to_be_disabled()
            expect(off).to_have_attribute("title", PAST)
        assert window.page.evaluate(READ) == []
        assert window.page.evaluate(FADED) == []
        window.press("Escape")
        expect(window[control]).to_be_enabled()
        expect(switch).to_be_enabled()
    window["[data-view=activity]"].click()
    window.press(",")
    undo = window["#attempts .reverse"].first
    expect(undo).to_be_disabled()
    expect(undo).to_have_attribute("title", PAST)
    assert window.page.evaluate(READ) == []
    window["[data-view=sources]"].click()
    expect(window["#source-list select"]).to_be_disabled()
    expect(window["#source-list .switch"]).to_have_attribute("title", PAST)
    assert window.page.evaluate(READ) == []
