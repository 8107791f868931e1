"""The window survives its server, floods and hostile content; what it shows last is true."""

import json
import re
import threading

import pytest
from playwright.sync_api import BrowserContext, expect

from conftest import StartServer
from support.harness import Server
from support.hostile_inputs import HOSTILE_TEXTS
from support.page_window import OpenWindow, set_values


def test_a_killed_server_leaves_values_and_drafts_and_the_window_comes_back(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    set_values(box, [("lamp.level", 70), ("lamp.on", False)])
    window = open_window(box)
    window.choose("lamp.level")
    window.press("Enter")
    window.type("85")
    box.kill()
    expect(window["#pause"]).to_contain_text("Reconnecting…")
    expect(window["body"]).to_have_class("offline")
    expect(window.value("lamp.level")).to_have_text("70")
    expect(window["#draft"]).to_have_value("85")
    window.press("Enter")
    expect(window["#saved"]).to_have_text("1 change waiting for the server")
    again = server(data_dir=box.data_dir)
    expect(window["#pause"]).to_contain_text("Live")
    expect(window["#saved"]).to_have_text("All changes saved")
    expect(window.value("lamp.level")).to_have_text("85")
    expect(window["body"]).not_to_have_class("offline")
    assert again.value("lamp.level") == 85
    again.set("lamp.new", 1)
    expect(window.value("lamp.new")).to_have_text("1")


def test_without_a_server_one_key_never_stands_above_anothers_value(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    set_values(box, [("lamp.level", 70), ("lamp.on", False)])
    window = open_window(box)
    window.choose("lamp.level")
    box.kill()
    expect(window["#pause"]).to_contain_text("Reconnecting…")
    window.row("lamp.on").locator(".k").click()
    expect(window["#away h1"]).to_have_text("lamp.on")
    expect(window["#away"]).to_contain_text("Not loaded, reconnecting…")
    expect(window["#editor"]).to_be_hidden()
    expect(window["#inspector [data-do=delete]"]).to_be_hidden()
    server(data_dir=box.data_dir)
    expect(window["#away"]).to_be_hidden()
    expect(window["#about h1"]).to_have_text("lamp.on")
    expect(window["#editor"]).to_be_visible()


def test_an_outcome_that_the_stream_does_not_bring_is_queried(
    box: Server, open_window: OpenWindow
) -> None:
    box.set("lamp.level", 70)
    window = open_window(box)
    window.choose("lamp.level")
    window.press("Enter")
    window.type("85")
    # As in a hidden window: the stream is closed, commands and queries are answered.
    window.page.route("**/queries/page*", lambda route: route.abort())
    window["[data-view=sources]"].click()
    expect(window["#pause"]).to_contain_text("Reconnecting…")
    window["#draft"].press("Enter")
    expect(window["#set"]).to_have_text("Setting…")
    expect(window["#set"]).to_have_text("Set", timeout=10_000)
    assert box.value("lamp.level") == 85


def test_a_draft_meets_what_changed_while_the_server_was_away(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    box.set("lamp.level", 70)
    window = open_window(box)
    window.choose("lamp.level")
    window.press("Enter")
    window.type("85")
    box.stop()
    expect(window["#pause"]).to_contain_text("Reconnecting…")
    port = box.port
    again = server("--port", "0", data_dir=box.data_dir)
    assert again.port == port
    again.set("lamp.level", 71, actor="night.py")
    expect(window["#conflict"]).to_contain_text("night.py set 71 while you were typing.")
    expect(window["#draft"]).to_have_value("85")


@pytest.mark.serial
def test_under_a_flood_the_window_shows_the_latest_and_is_not_swamped(
    box: Server, open_window: OpenWindow
) -> None:
    box.set("n", 0)
    window = open_window(box)
    window.page.evaluate(
        """() => {
            window.frames_seen = [];
            document.addEventListener("datastar-fetch", ({detail}) => {
                if (detail.type === "datastar-patch-signals") frames_seen.push(performance.now());
            });
        }"""
    )
    count = 3000
    lines = [json.dumps({"type": "set", "key": "n", "value": n + 1}) for n in range(count)]

    def flood() -> None:
        connection = box.connect()
        headers = {"Content-Type": "application/json", **box.authorization()}
        for line in lines:
            connection.request("POST", "/commands", line.encode(), headers)
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=flood)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(window.value("n")).to_have_text(str(count), timeout=2_000)
    frames: list[float] = window.page.evaluate("frames_seen")
    seconds = (frames[-1] - frames[0]) / 1000
    # 30 a second, and a little for what the browser hands over late and together.
    assert len(frames) <= 30 * seconds * 1.2 + 3


def test_a_new_window_shows_the_keys_before_its_stream_has_begun(
    box: Server, browser: BrowserContext
) -> None:
    page = browser.new_page()
    # What Datastar needs does not come: all that is seen came with the way in.
    page.route("**/static/datastar.js", lambda route: route.abort())
    try:
        page.goto(box.request("POST", "/login").json()["url"])
        expect(page.locator("#first")).to_be_visible()
        expect(page.locator("#heads")).to_be_hidden()
        set_values(box, [("lamp.desk.on", True), ("note", HOSTILE_TEXTS[0])])
        page.reload()
        row = page.locator('[id="k:lamp.desk.on"]')
        expect(row.locator(".v")).to_have_text("on")
        for region in (row, page.locator('[id="t:lamp."]'), page.locator("#heads")):
            expect(region).to_be_visible()
        expect(page.locator("#about")).to_have_text(re.compile("All keys.*2 keys", re.DOTALL))
        expect(page.locator("#foot")).to_contain_text("2 keys")
        expect(page.locator("#first")).to_be_hidden()
    finally:
        page.close()


def test_hostile_values_are_text_and_nothing_else(box: Server, open_window: OpenWindow) -> None:
    box.set("safe.key", 1)
    set_values(box, [(f"h.{n:02}", text) for n, text in enumerate(HOSTILE_TEXTS)])
    set_values(box, [("h.list", HOSTILE_TEXTS), ("h.map", {text: text for text in HOSTILE_TEXTS})])
    window = open_window(box)
    expect(window.row("h.map")).to_have_count(1)
    for n, text in enumerate(HOSTILE_TEXTS):
        window.choose(f"h.{n:02}")
        shown = window["#draft"].input_value()
        kind = window["#kind"].input_value()
        assert (shown if kind == "text" else json.loads(shown)) == text
    assert box.value("safe.key") == 1
    assert window.page.evaluate("window.hit") is None
    assert window["#rows script, #rows img, #rows svg, #rows [data-init]"].count() == 0
    expect(window["#foot"]).to_contain_text("keys")
    expect(window["#foot"]).not_to_contain_text("forged")


def test_a_hostile_value_comes_back_equal_when_it_is_edited(
    box: Server, open_window: OpenWindow
) -> None:
    set_values(box, [(f"h.{n:02}", text) for n, text in enumerate(HOSTILE_TEXTS)])
    window = open_window(box)
    for n, text in enumerate(HOSTILE_TEXTS):
        window.choose(f"h.{n:02}")
        is_text = window["#kind"].input_value() == "text"
        window["#draft"].press("End")
        window["#draft"].evaluate(
            """(field, isText) => {
                const longer = (text) => text + '!';
                const old = field.value;
                field.value = isText ? longer(old) : JSON.stringify(longer(JSON.parse(old)));
                field.dispatchEvent(new Event('input', {bubbles: true}));
            }""",
            is_text,
        )
        window["#draft"].press("Control+Enter")
        expect(window["#hint"]).to_be_empty()
        assert box.value(f"h.{n:02}") == text + "!"


def test_keys_that_look_like_code_are_keys(box: Server, open_window: OpenWindow) -> None:
    keys = ["__proto__.x", "constructor.prototype", "get=@post/a:b", "toString", "a/b/c.d-e=f@g:h"]
    set_values(box, [(key, False) for key in keys])
    window = open_window(box)
    for key in keys:
        window.row(key).get_by_role("switch").click()
        expect(window.row(key).get_by_role("switch")).to_be_checked()
        window.choose(key)
    window.node("__proto__.").locator("[data-do=unfold]").click()
    expect(window.node("__proto__.x")).to_have_count(1)
    assert all(box.value(key) is True for key in keys)


def test_hostile_messages_and_actors_in_activity_are_text(
    server: StartServer, open_window: OpenWindow
) -> None:
    box = server()
    for text in HOSTILE_TEXTS:
        box.post({"type": "set", "key": text, "value": 1})
        box.post({"type": text})
    window = open_window(box)
    window["[data-view=activity]"].click()
    expect(window["#attempts .attempt"]).to_have_count(2 * len(HOSTILE_TEXTS))
    assert window.page.evaluate("window.hit") is None
    assert window["#attempts script, #attempts img, #attempts svg"].count() == 0


def test_a_value_of_the_largest_size_is_shown_in_part_and_edited_whole(
    box: Server, open_window: OpenWindow
) -> None:
    text = "x" * (256 * 1024 - 3)
    box.set("big", text)
    window = open_window(box)
    assert len(window.value("big").inner_text()) < 300
    window.choose("big")
    assert window["#draft"].input_value() == text
    window["#draft"].fill(text[:-1] + "y")
    window["#draft"].press("Control+Enter")
    expect(window["#hint"]).to_be_empty()
    assert box.value("big") == text[:-1] + "y"
    window["#draft"].fill(text + "yz")
    window["#draft"].press("Control+Enter")
    expect(window["#editor-said"]).to_contain_text("too_large")


def test_nothing_that_is_dropped_on_the_window_takes_it_elsewhere(
    box: Server, open_window: OpenWindow
) -> None:
    window = open_window(box)
    refused = window.page.evaluate(
        """() => ["dragover", "drop"].map(name =>
            !document.body.dispatchEvent(new DragEvent(name, {bubbles: true, cancelable: true})))"""
    )
    assert refused == [True, True]
    assert window["a[href]"].count() == 0
