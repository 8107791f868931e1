"""Whoever edits in the window loses nothing, overwrites nobody, and sees the outcome."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

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


def test_a_switch_in_a_row_sets_what_it_shows_with_the_revision_it_shows(window: Window) -> None:
    switch = window.row("lamp.on").get_by_role("switch")
    switch.click()
    expect(switch).to_be_checked()
    assert window.server.value("lamp.on") is True
    attempt = window.server.get("/queries/attempts", limit=1).json()["items"][0]
    assert attempt["actor"].startswith("window.")


def test_a_switch_never_flips_what_somebody_else_just_flipped(window: Window) -> None:
    window.pause()
    window.server.set("lamp.on", True, actor="hand.py")
    expect(window["#pause"]).to_have_text("Paused, 1 change waiting")
    window.row("lamp.on").get_by_role("switch").click()
    said = window.row("lamp.on").locator(".said")
    expect(said).to_have_text("Changed, press again")
    assert said.evaluate("line => line.scrollWidth <= line.clientWidth")
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


def test_a_number_with_an_exponent_is_stepped_in_its_last_digit(window: Window) -> None:
    window.server.set("train.lr", 1.5e-9)
    window.choose("train.lr")
    window.press("Enter", "ArrowUp")
    expect(window["#draft"]).to_have_value("1.6e-9")
    window.press("Alt+ArrowDown")
    expect(window["#draft"]).to_have_value("1.59e-9")
    window["#draft"].fill("2E3")
    window.press("Shift+ArrowUp")
    expect(window["#draft"]).to_have_value("12E3")


def test_null_is_shown_and_enter_leads_to_another_type(window: Window) -> None:
    window.choose("lamp.none")
    expect(window["#none"]).to_have_text("null")
    expect(window["#set"]).to_be_hidden()
    window.press("Enter")
    expect(window["#kind"]).to_be_focused()
    window["#kind"].select_option("number")
    window["#set"].click()
    expect(window.value("lamp.none")).to_have_text("0")
    expect(window["#none"]).to_be_hidden()


def test_the_field_is_as_tall_as_its_text(window: Window) -> None:
    window.choose("lamp.name")
    height = "field => field.getBoundingClientRect().height"
    one = window["#draft"].evaluate(height)
    window["#draft"].fill("one\ntwo\nthree")
    assert window["#draft"].evaluate(height) == one + 2 * 18
    window["#draft"].fill("word " * 30)
    assert window["#draft"].evaluate("f => f.scrollHeight <= f.clientHeight")
    assert window["#draft"].evaluate(height) > one + 2 * 18


def test_beginning_a_draft_moves_nothing_below_it(window: Window) -> None:
    window.choose("lamp.level")
    below = "tools => tools.getBoundingClientRect().top"
    before = window["#inspector .tools"].evaluate(below)
    window.press("Enter")
    window.type("71")
    expect(window["#hint"]).to_contain_text("expects revision")
    assert window["#inspector .tools"].evaluate(below) == before


def test_a_large_value_is_read_again_only_when_it_has_changed(window: Window) -> None:
    window.server.set("lamp.scene", {f"n{n:05}": n for n in range(15_000)})
    window.choose("lamp.scene")
    window.page.evaluate(
        """() => {
            window.parsed = 0;
            const parse = JSON.parse;
            JSON.parse = (text, ...rest) => {
                parsed += text.length > 100_000;
                return parse(text, ...rest);
            };
        }"""
    )
    for level in range(5):
        window.server.set("lamp.level", level)
        expect(window.value("lamp.level")).to_have_text(str(level))
    assert window.page.evaluate("parsed") == 0
    window.server.set("lamp.scene", {f"n{n:05}": n for n in range(15_001)})
    window.wait_for("() => document.getElementById('draft').value.includes('n15000')")


def test_characters_that_nobody_sees_are_shown_and_edited_as_escapes(window: Window) -> None:
    hidden = "pay \u202eevil\u2066 \u200b\ufeff\u2028\u0085 x"
    window.server.set("lamp.name", hidden)
    expect(window.value("lamp.name")).to_contain_text("pay \ufffdevil\ufffd \ufffd\ufffd")
    window.choose("lamp.name")
    expect(window["#kind"]).to_have_value("JSON")
    text = '"pay \\u202eevil\\u2066 \\u200b\\ufeff\\u2028\\u0085 x"'
    expect(window["#draft"]).to_have_value(text)
    family = "\U0001f469\u200d\U0001f467"
    window.server.set("lamp.name", family)
    expect(window.value("lamp.name")).to_have_text(family)
    expect(window["#kind"]).to_have_value("text")


def test_the_value_is_copied_by_its_button_and_by_control_c(window: Window) -> None:
    window.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    window.choose("lamp.name")
    window["[data-do=copy-value]"].click()
    expect(window["[data-do=copy-value]"]).to_have_text("Copied")
    assert window.page.evaluate("navigator.clipboard.readText()") == "desk"
    window.choose("lamp.scene")
    window.press("Control+c")
    expect(window["#said"]).to_have_text("Copied")
    copied = window.page.evaluate("navigator.clipboard.readText()")
    assert copied == '{"desk":40,"hall":{"a":1,"b":2}}'


def test_a_rejection_in_the_status_line_leads_to_its_reason(window: Window) -> None:
    window.choose("lamp.level")
    window.press("Enter")
    window.type("71")
    window.server.set("lamp.level", 72)
    expect(window["#conflict"]).to_be_visible()
    window.press("Enter")
    window.page.get_by_role("button", name="Rejected, see Activity").click()
    expect(window["#attempts .attempt"].first).to_contain_text("conflict")


def test_a_refusal_that_activity_does_not_have_says_its_reason_in_the_status_line(
    window: Window,
) -> None:
    busy = json.dumps({"status": "rejected", "code": "busy", "message": "Too many wait."})
    window.page.route("**/commands", lambda route: route.fulfill(status=429, body=busy))
    window.row("lamp.on").get_by_role("switch").click()
    expect(window["#saved"]).to_have_text("Not saved: Too many wait.")
    expect(window.row("lamp.on")).to_contain_text("Rejected: busy")
    expect(window["[data-do=rejections]"]).to_be_hidden()
    window.page.unroute("**/commands")
    window.row("lamp.on").get_by_role("switch").click()
    expect(window["#saved"]).to_have_text("All changes saved")


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
    expect(window["#wrong"]).to_have_text(
        "This is not JSON: its character 38, }, is not allowed there."
    )
    expect(window["#set"]).to_be_disabled()
    window["#draft"].fill('{"n": [1')
    expect(window["#wrong"]).to_have_text("This is not JSON: it ends where more is needed.")
    window["#draft"].fill("plain")
    expect(window["#wrong"]).to_have_text(
        "This is not JSON: names and texts stand in double quotes, with one comma between two "
        "members."
    )
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


def test_a_draft_is_kept_while_another_key_is_shown_and_over_a_reload(window: Window) -> None:
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
    expect(window["#inspector .tools"]).to_be_hidden()
    window.page.get_by_text("Keep mine").click()
    window.press("Enter")
    expect(window.value("lamp.name")).to_have_text("again")
    expect(window["#inspector .tools"]).to_be_visible()
