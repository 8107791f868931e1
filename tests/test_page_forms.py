"""Creating, renaming, deleting, typed commands and Activity: counted first, reported afterwards."""

from typing import Any

import pytest
from playwright.sync_api import expect

from conftest import StartServer
from support.harness import Server
from support.page_window import OpenWindow, Window, set_values

KEYS: list[tuple[str, Any]] = [
    ("lamp.on", False),
    ("lamp.level", 70),
    ("lamp.name", "desk"),
    ("lamp.scene", {"desk": 40, "hall": {"a": 1, "b": 2}}),
    ("lamp.none", None),
    ("train.lr", 0.01),
]


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, KEYS)
    return open_window(box)


def test_a_key_is_created_and_never_over_one_that_exists(window: Window) -> None:
    window.press("n")
    window.type("lamp.level")
    window.press("Tab")
    window.type("[1, 2]")
    expect(window["#create-kind"]).to_have_text("JSON")
    window.press("Enter")
    expect(window["#create .said"]).to_have_text("lamp.level exists already. Open it")
    window["#create-key"].fill("not..a..key")
    window.press("Enter")
    expect(window["#create .said"]).to_contain_text("not..a..key")
    expect(window["#create .said"]).not_to_contain_text("Open it")
    window["#create-key"].fill("lamp.list")
    window.press("Enter")
    expect(window.value("lamp.list")).to_have_text("[1, 2]")
    expect(window["#about h1"]).to_have_text("lamp.list")
    assert window.server.value("lamp.level") == 70


def test_a_key_that_exists_can_be_opened_from_the_form_that_would_create_it(
    window: Window,
) -> None:
    window.press("n")
    window.type("lamp.level")
    window.press("Enter")
    window["#create .said"].get_by_role("button", name="Open it").click()
    expect(window["#create"]).to_be_hidden()
    expect(window["#about h1"]).to_have_text("lamp.level")


def test_a_key_is_renamed_and_never_over_another(window: Window) -> None:
    window.choose("lamp.name")
    window.press("F2")
    window["#rename-to"].fill("lamp.level")
    expect(window["#rename-count"]).to_have_text("lamp.level exists already.")
    window.press("Enter")
    expect(window["footer .end .link"]).to_have_text("Rejected, see Activity")
    expect(window["#rename-count"]).to_have_text("lamp.level exists already.")
    expect(window["#rename .said"]).to_be_empty()  # not said twice
    assert window.server.value("lamp.level") == 70
    window["#rename-to"].fill("lamp.title")
    expect(window["#rename-count"]).to_have_text("1 key will be renamed.")
    window.press("Enter")
    expect(window.value("lamp.title")).to_have_text("desk")
    expect(window.row("lamp.name")).to_have_count(0)
    expect(window["#about h1"]).to_have_text("lamp.title")


def test_a_prefix_is_renamed_with_the_number_of_its_keys_shown_first(window: Window) -> None:
    window.node("lamp.").click()
    window["#inspector [data-do=rename]"].click()
    set_values(window.server, [("full.level", 1)])
    window["#rename-to"].fill("full.")
    expect(window["#rename-count"]).to_have_text("full.level exists already.")
    window["#rename-to"].fill("light.")
    expect(window["#rename-count"]).to_have_text("5 keys will be renamed.")
    window.press("Enter")
    expect(window["#about h1"]).to_have_text("light.")
    expect(window["#rows .row"]).to_have_count(5)
    expect(window.node("lamp.")).to_have_count(0)


def test_a_prefix_is_deleted_only_after_the_exact_number_was_shown(window: Window) -> None:
    set_values(window.server, [("lam", 1), ("lampshade", 2)])
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
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"k.{n:04}", n) for n in range(600)])
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


def test_every_attempt_and_its_outcome_stands_in_activity(
    server: StartServer, open_window: OpenWindow
) -> None:
    fresh = server()
    set_values(fresh, KEYS)
    window = open_window(fresh)
    window.server.post({"type": "add", "key": "lamp.name", "actor": "bad.py"})
    expect(window["[data-view=activity]"]).to_contain_text("1 rejected")
    window["[data-view=activity]"].click()
    rows = window["#attempts .attempt"]
    expect(rows.first).to_contain_text("bad.py")
    expect(rows.first).to_contain_text("type")
    window.server.set("lamp.name", "again", actor="good.py")
    expect(rows.first).to_contain_text("good.py")
    expect(rows.first).to_contain_text("revision")
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
    expect(window.row("lamp.on").locator(".who")).to_have_text("window")
    expect(other.row("lamp.on").locator(".who")).to_have_text("this window")


def test_a_rename_replaces_what_is_there_only_where_that_is_chosen(window: Window) -> None:
    set_values(window.server, [("full.level", 1), ("full.on", True)])
    window.node("lamp.").click()
    window["#inspector [data-do=rename]"].click()
    window["#rename-to"].fill("full.")
    expect(window["#rename-count"]).to_have_text("full.level exists already.")
    window["#rename-replace"].check()
    expect(window["#rename-count"]).to_have_text("5 keys will be renamed.")
    window["#rename-to"].press("Enter")
    expect(window["#about h1"]).to_have_text("full.")
    assert window.server.value("full.level") == 70
    window["#inspector [data-do=rename]"].click()
    expect(window["#rename-replace"]).not_to_be_checked()
