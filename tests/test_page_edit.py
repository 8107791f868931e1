"""Whoever edits in the window loses nothing, overwrites nobody, and is told what came of it."""

from typing import Any

import pytest
from playwright.sync_api import expect

from conftest import StartServer
from page_window import OpenWindow, Window, browser, fill, open_window

__all__ = ["browser", "open_window"]

KEYS: list[tuple[str, Any]] = [
    ("lamp.on", False),
    ("lamp.level", 70),
    ("lamp.name", "desk"),
    ("lamp.scene", {"desk": 40, "hall": {"a": 1, "b": 2}}),
    ("lamp.none", None),
    ("train.lr", 0.01),
]


@pytest.fixture
def window(server: StartServer, open_window: OpenWindow) -> Window:
    box = server()
    fill(box, KEYS)
    return open_window(box)


def test_a_switch_in_a_row_sets_what_it_shows_with_the_revision_it_shows(window: Window) -> None:
    switch = window.row("lamp.on").get_by_role("switch")
    switch.click()
    expect(switch).to_be_checked()
    assert window.server.value("lamp.on") is True
    attempt = window.server.get("/queries/attempts", limit=1).json()["items"][0]
    assert attempt["actor"].startswith("window.")


def test_a_switch_never_flips_what_somebody_else_just_flipped(window: Window) -> None:
    window.press("p")
    expect(window["#pause"]).to_have_text("Paused")
    window.server.set("lamp.on", True, actor="hand.py")
    expect(window["#pause"]).to_have_text("Paused, 1 change waiting")
    window.row("lamp.on").get_by_role("switch").click()
    expect(window.row("lamp.on").locator(".said")).to_contain_text("conflict")
    assert window.server.value("lamp.on") is True
    expect(window.row("lamp.on").get_by_role("switch")).to_be_checked()


def test_enter_edits_and_sets_a_number_and_escape_restores_it(window: Window) -> None:
    window.choose("lamp.level")
    window.press("Enter")
    window.type("85")
    window.press("Enter")
    expect(window.value("lamp.level")).to_have_text("85")
    expect(window["#set"]).to_be_disabled()
    window.type("1")
    expect(window["#draft"]).to_have_value("851")
    window.press("Escape")
    expect(window["#draft"]).to_have_value("85")
    assert window.server.value("lamp.level") == 85


def test_arrow_keys_step_a_number_exactly(window: Window) -> None:
    window.choose("train.lr")
    window.press("Enter", "ArrowUp")
    expect(window["#draft"]).to_have_value("0.02")
    window.press("Shift+ArrowUp")
    expect(window["#draft"]).to_have_value("0.12")
    window.press("Alt+ArrowDown")
    expect(window["#draft"]).to_have_value("0.119")
    window["#draft"].fill("-9007199254740993")
    window.press("ArrowDown")
    expect(window["#draft"]).to_have_value("-9007199254740994")
    window["[data-do=step]"].first.click()
    window.press("Enter")
    expect(window.value("train.lr")).to_have_text("-9007199254740993")


def test_a_number_that_is_none_cannot_be_set(window: Window) -> None:
    window.choose("lamp.level")
    window.press("Enter")
    window.type("1e")
    expect(window["#wrong"]).to_have_text("This is no number.")
    expect(window["#set"]).to_be_disabled()
    window.press("Enter")
    window["#draft"].fill("1e3")
    window.press("Enter")
    expect(window.value("lamp.level")).to_have_text("1000.0")


def test_a_text_of_several_lines_takes_enter_and_is_set_with_control_enter(window: Window) -> None:
    window.choose("lamp.name")
    window.press("Enter")
    window.type("one")
    window.press("Shift+Enter")
    window.type("two")
    window.press("Enter")
    window.type("three")
    window.press("Control+Enter")
    expect(window.value("lamp.name")).to_have_text("one↵two↵three")
    assert window.server.value("lamp.name") == "one\ntwo\nthree"


def test_json_is_checked_while_one_types_and_keeps_every_digit(window: Window) -> None:
    window.server.set("lamp.scene", {"n": 123456789012345678901234567890, "f": 1.0})
    window.choose("lamp.scene")
    expect(window["#draft"]).to_have_value(
        '{\n  "n": 123456789012345678901234567890,\n  "f": 1.0\n}'
    )
    window["#draft"].fill('{"n": 123456789012345678901234567891,}')
    expect(window["#wrong"]).to_contain_text("This is not JSON")
    expect(window["#set"]).to_be_disabled()
    window["#draft"].fill('{"n": 123456789012345678901234567891}')
    expect(window["#wrong"]).to_be_empty()
    window.press("Control+Enter")
    expect(window.value("lamp.scene")).to_have_text('{"n": 123456789012345678901234567891}')


def test_a_value_can_be_edited_as_another_type(window: Window) -> None:
    window.choose("lamp.none")
    window["#kind"].select_option("text")
    window["#draft"].fill("something")
    window["#set"].click()
    expect(window.value("lamp.none")).to_have_text("something")
    window["#kind"].select_option("boolean")
    window["#toggle"].click()
    window["#set"].click()
    expect(window.row("lamp.none").get_by_role("switch")).to_be_checked()
    window["#toggle"].click()
    expect(window.row("lamp.none").get_by_role("switch")).not_to_be_checked()
    assert window.server.value("lamp.none") is False


def test_a_change_from_elsewhere_never_replaces_a_draft_and_is_named(window: Window) -> None:
    window.choose("train.lr")
    window.press("Enter")
    window.type("0.003")
    window.server.set("train.lr", 0.02, actor="train.py")
    expect(window["#conflict"]).to_contain_text("train.py set 0.02 while you were typing.")
    expect(window["#draft"]).to_have_value("0.003")
    window.press("Enter")
    expect(window["#editor-said"]).to_contain_text("conflict")
    expect(window["#draft"]).to_have_value("0.003")
    assert window.server.value("train.lr") == 0.02


def test_take_theirs_lets_the_draft_go(window: Window) -> None:
    window.choose("train.lr")
    window.press("Enter")
    window.type("0.003")
    window.server.set("train.lr", 0.02)
    window.page.get_by_text("Take theirs").click()
    expect(window["#draft"]).to_have_value("0.02")
    expect(window["#conflict"]).to_be_hidden()
    expect(window["#set"]).to_be_disabled()


def test_keep_mine_sets_the_draft_on_top_of_theirs(window: Window) -> None:
    window.choose("train.lr")
    window.press("Enter")
    window.type("0.003")
    window.server.set("train.lr", 0.02)
    window.page.get_by_text("Keep mine").click()
    expect(window["#conflict"]).to_be_hidden()
    window.press("Enter")
    expect(window.value("train.lr")).to_have_text("0.003")


def test_two_changes_of_one_object_are_merged(window: Window) -> None:
    window.choose("lamp.scene")
    window["#draft"].fill('{"desk": 50, "hall": {"a": 1, "b": 3}, "new": true}')
    window.server.set("lamp.scene", {"desk": 40, "hall": {"a": 9, "b": 4}})
    window["#merge"].click()
    expect(window["#editor-said"]).to_have_text("Both changed hall.b: yours is kept.")
    window["#set"].click()
    expect(window["#hint"]).to_be_empty()
    merged = {"desk": 50, "hall": {"a": 9, "b": 3}, "new": True}
    assert window.server.value("lamp.scene") == merged


def test_a_draft_outlives_a_look_elsewhere_and_a_reload(window: Window) -> None:
    window.choose("lamp.name")
    window.press("Enter")
    window.type("unfinished")
    window.choose("lamp.level")
    expect(window["#draft"]).to_have_value("70")
    window.choose("lamp.name")
    expect(window["#draft"]).to_have_value("unfinished")
    window.page.reload()
    window.choose("lamp.name")
    expect(window["#draft"]).to_have_value("unfinished")
    window["#draft"].press("Enter")
    expect(window.value("lamp.name")).to_have_text("unfinished")


def test_a_draft_of_a_deleted_key_can_bring_it_back(window: Window) -> None:
    window.choose("lamp.name")
    window.press("Enter")
    window.type("again")
    window.server.post({"type": "delete", "key": "lamp.name"})
    expect(window["#conflict"]).to_contain_text("It was deleted while you were typing.")
    window.page.get_by_text("Keep mine").click()
    window.press("Enter")
    expect(window.value("lamp.name")).to_have_text("again")


def test_a_key_is_created_and_never_over_one_that_exists(window: Window) -> None:
    window.press("n")
    window.type("lamp.level")
    window.press("Tab")
    window.type("[1, 2]")
    expect(window["#create-kind"]).to_have_text("JSON")
    window.press("Enter")
    expect(window["#create .said"]).to_contain_text("conflict")
    window["#create-key"].fill("not a key")
    window.press("Enter")
    expect(window["#create .said"]).to_contain_text("invalid")
    window["#create-key"].fill("lamp.list")
    window.press("Enter")
    expect(window.value("lamp.list")).to_have_text("[1, 2]")
    expect(window["#about h1"]).to_have_text("lamp.list")
    assert window.server.value("lamp.level") == 70


def test_a_key_is_renamed_and_never_over_another(window: Window) -> None:
    window.choose("lamp.name")
    window.press("F2")
    window["#rename-to"].fill("lamp.level")
    expect(window["#rename-count"]).to_contain_text("lamp.level")
    window.press("Enter")
    expect(window["#rename .said"]).to_contain_text("conflict")
    window["#rename-to"].fill("lamp.title")
    expect(window["#rename-count"]).to_have_text("1 key will be renamed.")
    window.press("Enter")
    expect(window.value("lamp.title")).to_have_text("desk")
    expect(window.row("lamp.name")).to_have_count(0)
    expect(window["#about h1"]).to_have_text("lamp.title")


def test_a_prefix_is_renamed_with_the_number_of_its_keys_shown_first(window: Window) -> None:
    window.node("lamp.").click()
    window["#inspector [data-do=rename]"].click()
    window["#rename-to"].fill("light.")
    expect(window["#rename-count"]).to_have_text("5 keys will be renamed.")
    window.press("Enter")
    expect(window["#about h1"]).to_have_text("light.")
    expect(window["#rows .row"]).to_have_count(5)
    expect(window.node("lamp.")).to_have_count(0)


def test_a_prefix_is_deleted_only_after_the_exact_number_was_shown(window: Window) -> None:
    fill(window.server, [("lam", 1), ("lampshade", 2)])
    window.node("lamp.").click()
    expect(window["#about h1"]).to_have_text("lamp.")
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("5 keys will be deleted.")
    expect(window["#delete-go"]).to_have_text("Delete 5 keys")
    assert window.server.value("lamp.level") == 70
    window["#delete-go"].click()
    expect(window["#rows .row"]).to_have_count(3)
    assert window.keys() == ["lam", "lampshade", "train.lr"]


def test_escape_deletes_nothing(window: Window) -> None:
    window.choose("lamp.name")
    window.press("Delete")
    expect(window["#delete-count"]).to_have_text("1 key will be deleted.")
    window.press("Escape")
    expect(window["#delete"]).to_be_hidden()
    assert window.server.value("lamp.name") == "desk"
    window.press("Delete")
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window.row("lamp.name")).to_have_count(0)


def test_several_keys_are_selected_and_deleted_as_one_transaction(window: Window) -> None:
    window.choose("lamp.level")
    window.row("lamp.none").locator(".k").click(modifiers=["Shift"])
    expect(window['[aria-selected=true][role="row"]']).to_have_count(3)
    window.row("train.lr").locator(".k").click(modifiers=["Control"])
    expect(window["aside"]).to_contain_text("4 keys selected")
    revision = window.server.get("/queries/status").json()["revision"]
    window.press("Delete")
    expect(window["#delete-go"]).to_have_text("Delete 4 keys")
    window.press("Enter")
    expect(window["#rows .row"]).to_have_count(2)
    assert window.keys() == ["lamp.on", "lamp.scene"]
    assert window.server.get("/queries/status").json()["revision"] == revision + 1


def test_a_selection_reaches_over_rows_that_are_not_rendered(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    fill(box, [(f"k.{n:04}", n) for n in range(600)])
    window = open_window(box)
    window.choose("k.0002")
    window["#grid"].evaluate("grid => { grid.scrollTop = 500 * 30 }")
    window.row("k.0501").locator(".k").click(modifiers=["Shift"])
    expect(window["aside"]).to_contain_text("500 keys selected")
    window.press("Delete")
    expect(window["#delete-go"]).to_have_text("Delete 500 keys")
    window.press("Enter")
    expect(window.node("").locator("data")).to_have_text("100")


def test_commands_can_be_typed(window: Window) -> None:
    def run(text: str) -> None:
        window.press("Control+k")
        window["#query"].fill(text)
        window.press("Enter")

    run("set lamp.level = 99")
    expect(window.value("lamp.level")).to_have_text("99")
    run("set lamp.new some text")
    expect(window.value("lamp.new")).to_have_text("some text")
    run("toggle lamp.on")
    expect(window.row("lamp.on").get_by_role("switch")).to_be_checked()
    run("delete lamp.new")
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window.row("lamp.new")).to_have_count(0)
    run("set not/../valid 1")
    expect(window["#palette"]).to_contain_text("invalid")
    window.press("Escape", "Control+k")
    window.type("theme dark")
    window["#palette"].get_by_text("Theme: dark").click()
    expect(window["html"]).to_have_attribute("data-theme", "dark")


def test_every_attempt_and_its_outcome_stands_in_activity(window: Window) -> None:
    window.server.post({"type": "add", "key": "lamp.name", "actor": "bad.py"})
    expect(window["[data-view=activity]"]).to_contain_text("1 rejected")
    window["[data-view=activity]"].click()
    rows = window["#attempts .attempt"]
    expect(rows.first).to_contain_text("bad.py")
    expect(rows.first).to_contain_text("type")
    window.server.set("lamp.name", "again", actor="good.py")
    expect(rows.first).to_contain_text("good.py")
    expect(rows.first).to_contain_text("accepted as revision")
    window.page.get_by_role("radio", name="Rejected").click()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("bad.py")
    rows.first.get_by_text("lamp.name").first.click()
    expect(window["#about h1"]).to_have_text("lamp.name")


def test_the_sheet_of_keys_opens_and_closes(window: Window) -> None:
    window.press("?")
    expect(window["#sheet"]).to_be_visible()
    window.press("Escape")
    expect(window["#sheet"]).to_be_hidden()


def test_two_windows_are_two_actors(window: Window, open_window: OpenWindow) -> None:
    other = open_window(window.server)
    other.row("lamp.on").get_by_role("switch").click()
    expect(window.row("lamp.on").get_by_role("switch")).to_be_checked()
    expect(window.row("lamp.on").locator(".who")).to_have_text("another window")
    expect(other.row("lamp.on").locator(".who")).to_have_text("this window")
