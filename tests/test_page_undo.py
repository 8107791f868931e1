"""Undo and redo in the window: by key and by name, over restarts, and where others changed more."""

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from conftest import StartServer
from support.harness import Server
from support.page_window import OpenWindow, Window, set_values

KEYS: list[tuple[str, Any]] = [
    ("build.status", "green"),
    ("build.took", 12.5),
    ("build.on.main", True),
    ("lamp.level", 70),
    ("lamp.name", "desk"),
    ("lamp.on", False),
]


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    """It takes the place of the last test's, with what that did and has not undone."""
    return open_window(filled(box))


def filled(server: Server) -> Server:
    set_values(server, KEYS)
    return server


def set_value(window: Window, key: str, value: str) -> None:
    """As people do: choose, type, Enter."""
    window.choose(key)
    window["#draft"].fill(value)
    window.press("Enter")
    expect(window["#done"]).to_contain_text(f"Set {key}")


def delete_prefix(window: Window, prefix: str) -> None:
    window.node(prefix).click()
    window.press("Delete")
    expect(window["#delete-go"]).to_be_focused()
    window.press("Enter")
    expect(window.node(prefix)).to_have_count(0)
    expect(window["#delete-go"]).to_be_hidden()  # the answer has come as well


def actor(page: Page) -> str:
    """Whose commands those of the window are, once it knows.

    Its scripts are not imported before it has done so: Datastar would be ready before they are.
    """
    page.wait_for_function("!document.documentElement.classList.contains('starting')")
    known = """async () => {
        const { $ } = await import("/static/signals.js");
        while (!$.actor) await new Promise(requestAnimationFrame);
        return $.actor;
    }"""
    return str(page.evaluate(known))


def test_a_set_is_undone_and_redone_by_keys(window: Window) -> None:
    set_value(window, "lamp.level", "20")
    expect(window["#done"]).to_have_text("Set lamp.level · Undo")
    window.press("Control+z")
    expect(window.value("lamp.level")).to_have_text("70")
    expect(window["#done"]).to_have_text("Undid set of lamp.level · Redo")
    expect(window["#said"]).to_contain_text("Undid set of lamp.level. Redo: Shift Ctrl Z")
    expect(window["#draft"]).to_have_value("70")
    window.press("Control+Shift+z")
    expect(window.value("lamp.level")).to_have_text("20")
    expect(window["#done"]).to_have_text("Redid set of lamp.level · Undo")
    window.press("Control+z")
    expect(window.value("lamp.level")).to_have_text("70")
    window.press("Control+y")
    expect(window.value("lamp.level")).to_have_text("20")


def test_a_deleted_prefix_comes_back_whole(window: Window) -> None:
    before = window.server.get("/queries/state", match="build.**").json()["items"]
    delete_prefix(window, "build.")
    expect(window["#done"]).to_have_text("Deleted build. (3 keys) · Undo")
    window["#done"].get_by_role("button", name="Undo").click()
    expect(window["#done"]).to_have_text("Undid delete of 3 keys below build. · Redo")
    expect(window.node("build.").locator("data")).to_have_text("3")
    after = window.server.get("/queries/state", match="build.**").json()["items"]
    assert [(item["key"], item["value"]) for item in after] == [
        (item["key"], item["value"]) for item in before
    ]
    window["#done"].get_by_role("button", name="Redo").click()
    expect(window.node("build.")).to_have_count(0)


def test_each_press_undoes_one_more_and_the_end_is_said_calmly(
    server: StartServer, open_window: OpenWindow
) -> None:
    window = open_window(filled(server()))
    set_value(window, "lamp.level", "20")
    set_value(window, "lamp.name", "hall")
    window["#grid"].focus()
    window.press("Control+z", "Control+z", "Control+z")
    expect(window["#done"]).to_have_text("Nothing left to undo in this window.")
    assert window.server.value("lamp.level") == 70
    assert window.server.value("lamp.name") == "desk"
    expect(window["#saved"]).to_have_text("All changes saved")
    rejected = window.server.get("/queries/attempts", actor=actor(window.page), status="rejected")
    assert rejected.json()["items"] == []


def test_what_is_being_written_is_undone_by_the_browser(window: Window) -> None:
    set_value(window, "lamp.level", "20")
    window["#draft"].press_sequentially("5")
    window.press("Control+z")
    expect(window["#draft"]).to_have_value("20")
    assert window.server.value("lamp.level") == 20
    window["#query"].press_sequentially("la")
    window.press("Control+z")
    assert window.server.value("lamp.level") == 20


def test_undo_and_redo_are_commands_of_the_palette(window: Window) -> None:
    def run(text: str) -> None:
        window.press("Control+k")
        window["#query"].fill(text)
        window["#palette"].get_by_text(text, exact=True).click()

    set_value(window, "lamp.level", "20")
    run("Undo")
    expect(window.value("lamp.level")).to_have_text("70")
    run("Redo")
    expect(window.value("lamp.level")).to_have_text("20")


def test_anything_in_activity_can_be_undone_by_name(window: Window) -> None:
    window.server.set("lamp.name", "hall", actor="tidy.py", id="tidied")
    window["[data-view=activity]"].click()
    row = window["#attempts .attempt"].first
    expect(row).to_contain_text("tidy.py")
    row.get_by_role("button", name="Undo set lamp.name").click()
    expect(window["#done"]).to_have_text("Undid set of lamp.name · Redo")
    assert window.server.value("lamp.name") == "desk"
    expect(window["[id^='a:tidied:'] .outcome"]).to_contain_text("undone")
    row.get_by_role("button", name="Redo lamp.name").click()
    expect(window["#done"]).to_have_text("Redid set of lamp.name · Undo")
    assert window.server.value("lamp.name") == "hall"


def test_the_line_goes_away_but_not_below_the_pointer(box: Server, open_window: OpenWindow) -> None:
    window = open_window(filled(box), lambda page: page.clock.install())
    set_value(window, "lamp.level", "20")
    window["#done"].hover()
    window.page.clock.fast_forward(11_000)
    expect(window["#done"]).to_have_text("Set lamp.level · Undo")
    window["#grid"].hover()
    window.page.clock.fast_forward(11_000)
    expect(window["#done"]).to_have_text("")


def test_in_the_past_nothing_is_undone(window: Window) -> None:
    set_value(window, "lamp.level", "20")
    before = window.server.get("/queries/status").json()["revision"] - 1
    window.page.evaluate("at => import('/static/past.js').then(({ goTo }) => goTo(at))", before)
    expect(window.value("lamp.level")).to_have_text("70")
    window["#grid"].focus()
    window.press("Control+z")
    expect(window["#said"]).to_contain_text("This is the past.")
    assert window.server.value("lamp.level") == 20


# Where others have changed the same keys since


def clashing(window: Window) -> Locator:
    """A prefix was deleted here, two of its keys were set by others, and Ctrl Z is pressed."""
    delete_prefix(window, "build.")
    window.server.set("build.status", "<b>red</b>", actor="ci")
    window.server.set("build.took", 99, actor="ci")
    window["#grid"].focus()
    window.press("Control+z")
    expect(window["#undo"]).to_be_visible()
    return window["#undo fieldset"]


def test_a_clash_shows_both_and_keeps_theirs_or_takes_mine_key_by_key(window: Window) -> None:
    keys = clashing(window)
    expect(window["#undo h1"]).to_have_text("Undo delete of 3 keys below build.")
    expect(keys).to_have_count(2)
    expect(keys.nth(0)).to_contain_text("build.status")
    expect(keys.nth(0).locator("label").nth(0)).to_contain_text('Keep theirs"<b>red</b>"set by ci')
    expect(keys.nth(0).locator("label").nth(1)).to_contain_text('Take mine"green"')
    expect(keys.nth(0).get_by_role("radio").first).to_be_focused()
    keys.nth(1).get_by_text("Take mine").click()
    window["#undo-go"].click()
    expect(window["#undo"]).to_be_hidden()
    expect(window.value("build.took")).to_have_text("12.5")
    expect(window.value("build.status")).to_have_text("<b>red</b>")
    expect(window.row("build.on.main").get_by_role("switch")).to_be_checked()


def test_a_clash_is_settled_by_keyboard_for_all_keys(window: Window) -> None:
    clashing(window)
    window["#undo-all"].get_by_text("Take all mine").focus()
    window.press("Enter")
    window["#undo-go"].focus()
    window.press("Enter")
    expect(window.value("build.status")).to_have_text("green")
    expect(window.value("build.took")).to_have_text("12.5")


def test_escape_leaves_a_clash_as_it_is(window: Window) -> None:
    clashing(window)
    window.press("Escape")
    expect(window["#undo"]).to_be_hidden()
    assert window.server.value("build.took") == 99


def test_a_key_that_moves_on_while_somebody_chooses_is_shown_again(window: Window) -> None:
    keys = clashing(window)
    window["#undo-all"].get_by_text("Take all mine").click()
    window.server.set("build.took", 100, actor="other.py")
    window["#undo-go"].click()
    expect(window["#undo .said"]).to_contain_text("build.took")
    expect(keys.nth(1)).to_contain_text("100set by other.py")
    expect(keys.nth(1).get_by_label("Keep theirs")).to_be_checked()
    expect(keys.nth(0).get_by_label("Take mine")).to_be_checked()
    assert window.server.value("build.took") == 100
    keys.nth(1).get_by_text("Take mine").click()
    window["#undo-go"].click()
    expect(window.value("build.took")).to_have_text("12.5")


def test_a_change_between_the_look_and_the_undo_is_shown_as_well(window: Window) -> None:
    def first_somebody_else(route: Route) -> None:
        if "dry_run" not in (route.request.post_data or ""):
            window.server.set("lamp.level", 99, actor="ci")
        route.continue_()

    set_value(window, "lamp.level", "20")
    window["#grid"].focus()
    window.page.route("**/commands", first_somebody_else)
    window.press("Control+z")
    expect(window["#undo fieldset"]).to_contain_text("99set by ci")
    expect(window["#undo fieldset"]).to_contain_text("Take mine70")
    window.page.unroute("**/commands")
    window["#undo"].get_by_label("Take mine").check()
    window["#undo-go"].click()
    expect(window.value("lamp.level")).to_have_text("70")


def test_a_redo_can_clash_too_and_a_deletion_is_shown_as_one(window: Window) -> None:
    set_value(window, "lamp.level", "20")
    window.press("Control+z")
    expect(window.value("lamp.level")).to_have_text("70")
    assert window.server.post({"type": "delete", "key": "lamp.level", "actor": "ci"}).status == 200
    expect(window.row("lamp.level")).to_have_count(0)
    window["#grid"].focus()
    window.press("Control+Shift+z")
    expect(window["#undo h1"]).to_have_text("Redo set of lamp.level")
    expect(window["#undo fieldset"]).to_contain_text("not theredeleted by ci")
    window["#undo"].get_by_label("Take mine").check()
    window["#undo-go"].click()
    expect(window.value("lamp.level")).to_have_text("20")


# Who the window is


def test_a_window_undoes_after_a_reload_and_after_a_restart(
    server: StartServer, open_window: OpenWindow
) -> None:
    first = filled(server())
    window = open_window(first)
    set_value(window, "lamp.level", "20")
    set_value(window, "lamp.name", "hall")
    who = actor(window.page)
    window.page.reload()
    window.row("lamp.name").wait_for()
    assert actor(window.page) == who
    window.press("Control+z")
    expect(window.value("lamp.name")).to_have_text("desk")
    port = first.port
    window.page.close()
    first.stop()
    again = open_window(server("--port", str(port), data_dir=first.data_dir))
    again.row("lamp.level").wait_for()
    assert actor(again.page) == who
    again.press("Control+z")
    expect(again.value("lamp.level")).to_have_text("70")


def test_two_open_windows_are_never_the_same(server: StartServer, open_window: OpenWindow) -> None:
    window = open_window(filled(server()))

    def copy(page: Page) -> None:
        """As the browser does when a tab is duplicated."""
        page.add_init_script(f"sessionStorage.setItem('page', {kept!r})")

    kept = window.page.evaluate("sessionStorage.getItem('page')")
    others = [open_window(window.server), open_window(window.server, copy)]
    assert len({actor(each.page) for each in (window, *others)}) == 3
    set_value(window, "lamp.level", "20")
    others[0].press("Control+z")
    expect(others[0]["#done"]).to_have_text("Nothing left to undo in this window.")
    assert window.server.value("lamp.level") == 20
