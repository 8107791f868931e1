"""The past in the window: slider, amber frame, steps, play, restore, and the way back to live."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from support.harness import Server
from support.page_window import OpenWindow, Window

AMBER = re.compile(r"\bpast\b")


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    """A lamp that was off, then on; a key that came later; and an epoch that counts to five."""
    box.set("lamp.on", False)
    box.set("lamp.on", True, actor="motion.py")
    box.set("train.run", "resnet")
    for epoch in range(1, 6):
        box.set("train.epoch", epoch)
    return open_window(box)


def slider(window: Window) -> Locator:
    return window["#time"]


def frame(window: Window) -> Locator:
    return window["body"]


def drag(window: Window, share: float) -> None:
    """Drag the slider's thumb to a share of its width."""
    box = slider(window).bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    at = int(slider(window).input_value()) / 10_000
    window.page.mouse.move(box["x"] + 7 + (box["width"] - 14) * at, height)
    window.page.mouse.down()
    window.page.mouse.move(box["x"] + 7 + (box["width"] - 14) * share, height, steps=6)
    window.page.mouse.up()


def shown_keys(window: Window) -> list[str]:
    return window.keys()


def step(window: Window, key: str) -> None:
    """Press a key that leads to another change, and wait for that."""
    before = window["#pause"].inner_text()
    window.press(key)
    expect(window["#pause"]).not_to_have_text(before)


def test_dragging_to_the_left_leaves_live_and_escape_returns(window: Window) -> None:
    expect(frame(window)).not_to_have_class(AMBER)
    drag(window, 0.0)
    expect(frame(window)).to_have_class(AMBER)
    expect(window["#pause"]).to_contain_text(re.compile(r"Today \d\d:\d\d:\d\d · revision 0"))
    expect(window["footer"]).to_contain_text("You are looking at the past")
    expect(window["#keys"]).to_contain_text("There were no keys here at that moment.")
    window.press("Escape")
    expect(frame(window)).not_to_have_class(AMBER)
    expect(window["#pause"]).to_contain_text("Live")
    expect(window.row("train.epoch")).to_be_visible()


def test_escape_forgets_a_moment_that_is_about_to_be_requested(window: Window) -> None:
    slider(window).evaluate(
        """slider => {
            slider.value = 0;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
            return new Promise((done) => setTimeout(done, 200)); // timers end in their order
        }"""
    )
    expect(frame(window)).not_to_have_class(AMBER)
    assert slider(window).input_value() == "10000"


def test_two_quick_steps_are_two_steps(window: Window, box: Server) -> None:
    newest = box.set("train.epoch", 6)["revision"]
    expect(window.row("train.epoch")).to_contain_text("6")
    window.page.evaluate(
        """() => {
            for (const _ of [1, 2]) {
                document.dispatchEvent(new KeyboardEvent("keydown", { key: ",", bubbles: true }));
            }
        }"""
    )
    expect(window["#pause"]).to_contain_text(f"revision {newest - 2}")


def test_dragging_to_the_right_end_returns_to_live(window: Window) -> None:
    drag(window, 0.0)
    expect(frame(window)).to_have_class(AMBER)
    drag(window, 1.0)
    expect(frame(window)).not_to_have_class(AMBER)


def test_the_right_end_is_now_however_long_ago_the_slider_was_drawn(window: Window) -> None:
    drag(window, 0.0)
    expect(frame(window)).to_have_class(AMBER)
    window.page.evaluate("() => { const drawn = Date.now; Date.now = () => drawn() + 60_000; }")
    drag(window, 1.0)
    expect(frame(window)).not_to_have_class(AMBER)


def test_the_past_shows_nothing_later_and_everything_that_was(window: Window, box: Server) -> None:
    step(window, ",")
    expect(window.value("train.epoch")).to_have_text("4")
    step(window, ",")
    expect(window.value("train.epoch")).to_have_text("3")
    box.set("train.new", 1)
    box.set("lamp.on", False)
    end = int(window["#ticks"].get_attribute("data-end") or 0)
    window.wait_for("end => Number(document.getElementById('ticks').dataset.end) > end", end)
    assert "train.new" not in shown_keys(window)
    expect(window.value("lamp.on")).to_contain_text("on")
    expect(window.node("train.").locator("data")).to_have_text("2")
    step(window, ".")
    expect(window.value("train.epoch")).to_have_text("4")


def test_the_status_line_tells_of_the_moment_that_is_shown(window: Window, box: Server) -> None:
    box.set("train.late", 1)
    newest = box.set("train.later", 2)["revision"]
    foot = window["#foot"]
    expect(foot).to_contain_text(f"revision {newest:,}")
    expect(foot).to_contain_text("5 keys")
    step(window, ",")
    step(window, ",")
    expect(foot).to_contain_text(f"revision {newest - 2:,}")
    expect(foot).to_contain_text("3 keys")
    expect(window.node("").locator("data")).to_have_text("3")
    expect(foot).not_to_contain_text("changes/s")
    window.press("Escape")
    expect(foot).to_contain_text(f"revision {newest:,}")
    expect(foot).to_contain_text("changes/s")


def test_the_chosen_key_has_steps_of_its_own(window: Window) -> None:
    window.choose("lamp.on")
    step(window, "[")
    expect(window["#about"]).to_contain_text("set by motion.py")
    step(window, "[")
    expect(window.value("lamp.on")).to_contain_text("off")
    assert "train.run" not in shown_keys(window)
    step(window, "]")
    expect(window.value("lamp.on")).to_contain_text("on")


def test_editing_is_off_in_the_past(window: Window, box: Server) -> None:
    revision = box.get("/queries/status").json()["revision"]
    window.choose("train.epoch")
    step(window, ",")
    expect(window["#draft"]).to_be_disabled()
    expect(window["#draft"]).to_have_value("4")
    window.press("Delete", "n", "F2", "Enter")
    for form in ("delete", "create", "rename"):
        expect(window[f"form#{form}"]).to_be_hidden()
    expect(window.row("lamp.on").locator(".switch")).to_be_disabled()
    expect(window["#said"]).to_contain_text("This is the past")
    assert box.get("/queries/status").json()["revision"] == revision


def test_the_slider_can_be_used_by_keyboard_and_says_where_it_is(window: Window) -> None:
    slider(window).focus()
    expect(slider(window)).to_have_attribute("aria-valuetext", "Live")
    window.press("Home")
    expect(slider(window)).to_have_attribute("aria-valuetext", re.compile("revision 0"))
    window.press("End")
    expect(slider(window)).to_have_attribute("aria-valuetext", "Live")


def test_the_ticks_show_how_busy_each_stretch_was(window: Window) -> None:
    drawn = window["#ticks path"].get_attribute("d") or ""
    assert drawn.count("M") >= 1
    window["#stretch"].select_option("all")
    expect(window["#ticks"]).to_have_attribute("data-start", re.compile(r"\d{13}"))


def test_escape_leaves_the_past_together_with_its_comparison(window: Window) -> None:
    step(window, ",")
    window["[data-do='compare-now']"].click()
    expect(window["#diff"]).to_contain_text("1 key differs")
    window["#diff .scroll"].focus()
    window.press("Escape")
    expect(window["#pause"]).to_have_text("Live")
    expect(window["#diff"]).to_be_hidden()
    expect(window.row("train.epoch")).to_be_visible()


def test_playing_goes_on_from_change_to_change_until_it_is_live(window: Window) -> None:
    drag(window, 0.0)
    expect(frame(window)).to_have_class(AMBER)
    window["#speed"].select_option("100")
    window["#grid"].focus()
    window.press(" ")
    expect(window["#play"]).to_have_attribute("aria-pressed", "true")
    expect(frame(window)).not_to_have_class(AMBER)
    expect(window.value("train.epoch")).to_have_text("5")
    expect(window["#play"]).to_have_attribute("aria-pressed", "false")


def test_search_and_tree_ask_the_past(window: Window) -> None:
    window.choose("lamp.on")
    step(window, "[")
    step(window, "[")
    window.search("train")
    expect(window["#found"]).to_have_text("0 found")
    window.press("Escape")
    expect(window["#pause"]).to_contain_text("Live")
    expect(window["#found"]).to_have_text("2 found")


def test_a_moment_is_restored_after_an_exact_preview(window: Window, box: Server) -> None:
    box.set("train.later", 1)
    third = box.get("/queries/history/train.epoch", limit=3).json()["items"][-1]["revision"]
    while f"revision {third:,}" not in window["#pause"].inner_text():
        step(window, ",")
    window["[data-do='restore-moment']"].click()
    expect(window["#restore-count"]).to_have_text("2 keys will change.")
    expect(window["#restore-list"]).to_contain_text("train.later1 not there")
    expect(window["#restore-go"]).to_have_text("Restore 2 keys")
    window["#restore-go"].click()
    expect(frame(window)).not_to_have_class(AMBER)
    expect(window.value("train.epoch")).to_have_text("3")
    assert "train.later" not in shown_keys(window)
    last = box.get("/queries/attempts", limit=1).json()["items"][0]
    assert (last["type"], last["touched"]) == ("restore", 2)


def test_one_key_alone_is_restored(window: Window, box: Server) -> None:
    window.choose("lamp.on")
    step(window, "[")
    step(window, "[")
    window["[data-do='restore-moment']"].click()
    window["#restore-scope [value=key]"].check()
    expect(window["#restore-count"]).to_have_text("1 key will change.")
    window["#restore-go"].click()
    expect(window.value("lamp.on")).to_contain_text("off")
    assert box.get("/queries/state/train.epoch").json()["value"] == 5


def test_what_is_not_kept_that_far_back_is_said_and_left_out_of_a_restore(
    window: Window, box: Server
) -> None:
    box.set("_signalbox.retention.train", {"max_age": "0s"})
    assert box.request("POST", "/commands/compact").status == 200
    window.choose("lamp.on")
    step(window, "[")
    step(window, "[")
    expect(window["#moment"]).to_contain_text("Not kept that far back: train.")
    assert shown_keys(window) == ["lamp.on"]
    window["[data-do='restore-moment']"].click()
    expect(window["#restore .said"]).to_contain_text("Retention has removed what the keys below")
    window["#restore-rest"].click()
    expect(window["#restore-count"]).to_contain_text(
        "1 key will change. What is below train. stays"
    )
    window["#restore-go"].click()
    expect(window.value("lamp.on")).to_contain_text("off")
    assert box.get("/queries/state/train.epoch").json()["value"] == 5


def test_the_moment_can_be_saved_as_a_file(window: Window, tmp_path: Path) -> None:
    step(window, ",")
    with window.page.expect_download() as started:
        window["#save"].select_option("json")
    saved = tmp_path / started.value.suggested_filename
    started.value.save_as(saved)
    held: dict[str, Any] = json.loads(saved.read_text())
    assert held == {"lamp.on": True, "train.epoch": 4, "train.run": "resnet"}


def test_a_held_picture_is_one_moment_however_one_looks_around(window: Window, box: Server) -> None:
    window.pause()
    box.set("train.epoch", 6)
    box.set("train.aaa", 1)
    expect(window["#pause"]).to_contain_text("2 changes waiting")
    window.node("train.").click()
    expect(window.row("lamp.on")).to_be_hidden()
    expect(window.value("train.epoch")).to_have_text("5")
    assert "train.aaa" not in shown_keys(window)
    expect(window["#pause"]).to_contain_text("2 changes waiting")
    window.press("p")
    expect(window.value("train.epoch")).to_have_text("6")
