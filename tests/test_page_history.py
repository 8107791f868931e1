"""What was: the history of a key, one click back, and what differs between two moments."""

import re
from pathlib import Path
from time import time
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from conftest import StartServer
from support.chart_log import ChartLog
from support.harness import Server
from support.page_contrast import FIND_POOR_CONTRAST
from support.page_window import OpenWindow, Window

DAY = 86_400_000
MINUS = "\N{MINUS SIGN}"
RATES = (0.05, 0.1, 0.05, 0.01)


def set_all(server: Server, key: str, *values: Any) -> list[int]:
    """The revisions of some values, one after the other."""
    return [server.set(key, value, actor="train.py")["revision"] for value in values]


def delete(server: Server, key: str) -> None:
    assert server.post({"type": "delete", "key": key}).status == 200


@pytest.fixture
def window(server: StartServer, open_window: OpenWindow) -> Window:
    """Of a store of its own: what was there before would be history, too."""
    started = server()
    set_all(started, "train.lr", *RATES)
    started.set("lamp.on", True)
    return open_window(started)


def versions(window: Window) -> Locator:
    return window["#history .version"]


def act(window: Window, nth: int, name: str) -> None:
    """Press a button of one version, newest first, as people do."""
    versions(window).nth(nth).hover()
    versions(window).nth(nth).locator(f"[data-do={name}]").click()


def test_the_history_of_a_key_has_each_change_and_what_it_made(window: Window) -> None:
    window.choose("train.lr")
    whats = [f"0.01 {MINUS}0.04", f"0.05 {MINUS}0.05", "0.1 +0.05", "0.05"]
    expect(window["#history .what"]).to_have_text(whats)
    newest = versions(window).first
    expect(newest.locator(".who")).to_have_text("train.py")
    expect(newest.locator("time")).to_have_attribute("title", re.compile(r"\d{4}-\d\d-\d\d \d\d:"))
    expect(newest.locator(".rev")).to_have_text("4")
    window.server.set("train.lr", 0.02, actor="hand.py")
    expect(newest).to_contain_text("0.02 +0.01")
    expect(newest.locator(".who")).to_have_text("hand.py")
    expect(versions(window)).to_have_count(5)


def test_texts_differ_by_word_and_json_by_path(window: Window) -> None:
    set_all(window.server, "note", "buy oat milk and bread", "buy oat milk and fresh butter")
    set_all(window.server, "status", "ok", "failed")
    set_all(window.server, "scene", {"desk": 40, "hall": {"on": True}}, {"desk": 45, "new": [1]})
    window.choose("note")
    expect(versions(window).first.locator("del")).to_have_text("bread")
    expect(versions(window).first.locator("ins")).to_have_text("fresh butter")
    window.choose("status")
    expect(window["#history .what"]).to_have_text(["okfailed", "ok"])
    window.choose("scene")
    lines = ["desk 45 +5", 'hall {"on": true}', "new [1]"]
    expect(versions(window).first.locator("li")).to_have_text(lines)
    expect(versions(window).first.locator("del")).to_have_text('{"on": true}')


def test_older_versions_are_shown_page_by_page_down_to_the_first(window: Window) -> None:
    set_all(window.server, "n", *range(530))
    window.choose("n")
    expect(versions(window)).to_have_count(20)
    older = window["[data-do=older-versions]"]
    for count in (180, 340, 500):
        older.click()
        expect(versions(window)).to_have_count(count)
    older.click()
    expect(window["#history .what"].first).to_have_text("29 +1")
    older.click()
    expect(versions(window)).to_have_count(30)
    expect(window["#history .what"].last).to_have_text("0")
    expect(older).to_have_count(0)
    window["[data-do=newest]"].click()
    expect(window["#history .what"].first).to_have_text("529 +1")
    older.click()
    window.choose("train.lr")
    window.choose("n")
    expect(versions(window)).to_have_count(20)


def test_one_click_restores_a_version_exactly_as_a_new_change(window: Window) -> None:
    raw = '{"n":123456789012345678901234567890,"f":1.10,"s":"\\u2028"}'
    for value in (raw, "1"):
        body = f'{{"type":"set","key":"exact","value":{value}}}'
        assert window.server.post(body.encode()).status == 200
    was = window.server.get("/queries/state/exact", at=6).body.split(b'"value":')[1]
    window.choose("exact")
    act(window, 1, "restore-version")
    expect(versions(window)).to_have_count(3)
    now = window.server.get("/queries/state/exact").body.split(b'"value":')[1]
    assert b"123456789012345678901234567890" in now
    assert now.split(b',"revision"')[0] == was.split(b',"revision"')[0]
    newest = window.server.get("/queries/attempts", limit=1).json()["items"][0]
    assert (newest["type"], newest["status"], newest["revision"]) == ("set", "accepted", 8)
    expect(versions(window).first.locator("[data-do=restore-version]")).to_have_count(0)


def test_a_deletion_is_said_and_restored_and_a_deleted_key_comes_back(window: Window) -> None:
    set_all(window.server, "note", "one")
    delete(window.server, "note")
    set_all(window.server, "note", "two")
    window.choose("note")
    expect(versions(window).nth(1)).to_contain_text("deleted")
    act(window, 1, "restore-version")
    expect(window["#about"]).to_contain_text("There is no such key now.")
    expect(versions(window).first).to_contain_text("deleted")
    expect(versions(window).first.locator("[data-do=restore-version]")).to_have_count(0)
    act(window, 3, "restore-version")
    expect(window.value("note")).to_have_text("one")


def test_restoring_overwrites_nobody_who_was_faster(window: Window) -> None:
    window.choose("train.lr")
    window.pause()
    window.server.set("train.lr", 7)
    expect(window["#pause"]).to_have_text("Paused, 1 change waiting")
    act(window, 2, "restore-version")
    expect(window["#history-said"]).to_contain_text("conflict")
    assert window.server.value("train.lr") == 7


def test_a_version_that_cannot_be_fetched_is_said_and_changes_nothing(window: Window) -> None:
    def fail(route: Route) -> None:
        route.abort()

    window.choose("train.lr")
    window.page.route("**/queries/history/*", fail)
    act(window, 2, "restore-version")
    expect(window["#history-said"]).to_have_text("The server does not answer.")
    assert window.server.value("train.lr") == 0.01


def test_a_version_is_compared_with_now_and_with_another_one(window: Window) -> None:
    window.choose("train.lr")
    act(window, 2, "compare-version")
    row = window["#differences .difference[id]"]
    expect(row).to_have_count(1)
    expect(row.locator(".was")).to_have_text("0.1")
    expect(row.locator(".is")).to_have_text(f"0.01 {MINUS}0.09")
    expect(window["#differences .between"]).to_contain_text("From revision 2")
    expect(window["#differences .between"]).to_contain_text("to now: 1 key differs")
    act(window, 3, "compare-version")
    expect(row.locator(".is")).to_have_text("0.1 +0.05")
    window.page.get_by_text("All keys", exact=True).click()
    expect(row).to_have_count(1)
    act(window, 1, "compare-version")
    window.page.get_by_text("All keys", exact=True).click()
    expect(row.locator(".k")).to_have_text(["lamp.on", "train.lr"])
    expect(row.first.locator(".was")).to_have_text("not there")


def test_a_comparison_with_now_follows_and_escape_leaves_it(window: Window) -> None:
    window.choose("train.lr")
    act(window, 2, "compare-version")
    expect(window["#diff"]).to_be_visible()
    window.server.set("train.lr", 0.2)
    expect(window["#differences .is"]).to_have_text("0.2 +0.1")
    delete(window.server, "train.lr")
    expect(window["#differences .is"]).to_have_text("deleted")
    window.press("Escape")
    expect(window["#keys"]).to_be_visible()
    expect(window["#diff"]).to_be_hidden()


def test_many_differences_are_counted_exactly_and_listed_page_by_page(window: Window) -> None:
    before = window.server.get("/queries/status").json()["revision"]
    for part in range(3):
        commands = [
            {"type": "set", "key": f"k.{part}{n:03}", "value": n} for n in range(1_000 - part)
        ]
        window.server.post({"type": "batch", "commands": commands})
    show(window, before)
    expect(window["#differences .between"]).to_contain_text("2,997 keys differ")
    rows, more = window["#differences .difference[id]"], window["[data-do=more-differences]"]
    expect(rows).to_have_count(200)
    for count in (800, 1_000):
        more.click()
        expect(rows).to_have_count(count)
    more.click()
    expect(rows.first).to_contain_text("k.1000")
    expect(window["#differences .between"]).to_contain_text("2,997 keys differ")
    window["[data-do=first-differences]"].click()
    expect(rows.first).to_contain_text("k.0000")
    rows.nth(2).locator("button").click()
    expect(window["#about h1"]).to_have_text("k.0002")
    expect(window["#diff"]).to_be_visible()


def show(window: Window, since: int, until: int = -1, scope: str | None = None) -> None:
    """As the page's other parts open the comparison."""
    window.page.evaluate(
        "async ([since, until, scope]) =>"
        " (await import('/static/diff.js')).compare(since, until, scope ?? undefined)",
        [since, until, scope],
    )


def test_an_hour_ago_is_compared_by_a_command(window: Window) -> None:
    window.press("Control+k")
    window["#query"].fill("compare hour")
    window.page.get_by_text("Compare an hour ago with now").click()
    expect(window["#differences .between"]).to_have_text("From the beginning to now: 2 keys differ")


def test_a_prefix_is_compared_alone_and_backwards_too(window: Window) -> None:
    window.server.set("lamp.level", 7)
    window.node("lamp.").click()
    show(window, 6, 0)
    keys = window["#differences .difference[id] .k"]
    expect(keys).to_have_text(["lamp.level", "lamp.on"])
    expect(window["#differences .is"].first).to_have_text("deleted")
    expect(window["#differences .between"]).to_contain_text("to the beginning")
    window.node("").click()
    show(window, 6, 0)
    expect(keys).to_have_count(3)


def test_what_retention_removed_is_said(
    server: StartServer, open_window: OpenWindow, tmp_path: Path
) -> None:
    """Of the changes of more than a year ago only the newest is kept."""
    (tmp_path / "old").mkdir()
    log = ChartLog(tmp_path / "old" / "signalbox.db")
    long_ago = int(time() * 1000) - 390 * DAY
    log.add("old.n", *((long_ago + n, n) for n in range(9)))
    log.close()
    started = server(data_dir=tmp_path / "old")
    set_all(started, "old.n", 10, 11)
    # After a pause of a year the clock is on trial for a day, unless somebody confirms it.
    assert started.request("POST", "/commands/compact?confirm=1").status == 200
    window = open_window(started)
    window.choose("old.n")
    expect(versions(window)).to_have_count(3)
    expect(window["#history .cut"]).to_have_text("Older changes were not kept.")
    show(window, 3)
    expect(window["#differences .cut"]).to_contain_text("Older changes were not kept of all keys")


def test_in_the_past_history_and_chart_end_with_the_moment_and_nothing_is_restored(
    window: Window,
) -> None:
    window.choose("train.lr")
    expect(window[".extent"]).to_have_text("0.01 \N{EN DASH} 0.1")
    versions(window).nth(3).locator(".rev").click()
    expect(window["#history .what"]).to_have_text(["0.05"])
    expect(window[".extent"]).to_have_text("0.05")
    expect(window.value("train.lr")).to_have_text("0.05")
    expect(window.row("train.lr").locator(".trend")).to_have_count(0)
    expect(window["[data-do=restore-version]:enabled"]).to_have_count(0)
    window.server.set("train.lr", 7)
    window.press("Escape")
    expect(versions(window)).to_have_count(5)
    expect(window["[data-do=restore-version]:enabled"]).to_have_count(4)
    versions(window).nth(3).locator(".rev").click()
    expect(window["#history .what"]).to_have_text(["0.1 +0.05", "0.05"])
    show(window, 2)
    expect(window["#differences .is"]).to_have_text("7 +6.9")
    window.server.set("train.lr", 8)
    expect(window["#differences .is"]).to_have_text("8 +7.9")


def test_the_chart_leads_to_the_moment_that_is_read(window: Window) -> None:
    window.choose("train.lr")
    window["#charts"].get_by_text("All", exact=True).click()
    window.server.set("train.lr", 7)
    expect(window[".extent"]).to_have_text("0.01 \N{EN DASH} 7")
    window["#plot"].focus()
    window.press("End", "ArrowLeft", "Enter")
    expect(window.value("train.lr")).not_to_have_text("7")
    expect(window[".extent"]).to_have_text("0.01 \N{EN DASH} 0.1")
    window["#plot"].click()
    window.press("Escape")
    expect(window[".extent"]).to_have_text("0.01 \N{EN DASH} 7")


def test_a_row_that_flashes_keeps_the_tint_of_what_is_selected(window: Window) -> None:
    window.choose("train.lr")
    tint = "() => getComputedStyle(document.getElementById('k:train.lr')).backgroundColor"
    before = window.page.evaluate(tint)
    window.server.set("train.lr", 0.5)
    window.wait_for(
        "() => document.querySelector('[id=\"k:train.lr\"] .v').getAnimations().length === 1"
    )
    assert window.page.evaluate(tint) == before
    window.server.set("lamp.on", False)
    window.wait_for("() => document.getElementById('k:lamp.on').getAnimations().length === 1")
    window.row("lamp.on").locator(".who").click()
    assert window.page.evaluate(tint.replace("train.lr", "lamp.on")) == before


def test_a_key_is_read_out_in_one_piece(window: Window) -> None:
    window.server.set("computer.cpu.percent", 5)
    name = window.page.get_by_role("rowheader", name="computer.cpu.percent", exact=True)
    expect(name).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_differs_can_be_read_by_everybody(window: Window, scheme: Any) -> None:
    set_all(window.server, "note", "one two", "one three")
    delete(window.server, "note")
    set_all(window.server, "note", "again")
    window.page.emulate_media(color_scheme=scheme)
    for key in ("note", "train.lr"):
        window.choose(key)
        versions(window).nth(1).hover()
        assert window.page.evaluate(FIND_POOR_CONTRAST) == []
    show(window, 0, scope="all")
    expect(window["#differences .difference[id]"]).to_have_count(3)
    show(window, 2, scope="all")
    expect(window["#differences .up, #differences .down"]).to_have_count(1)
    assert window.page.evaluate(FIND_POOR_CONTRAST) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_differs_is_not_shown_by_colour_alone(window: Window, scheme: Any) -> None:
    set_all(window.server, "note", "one two", "one three")
    window.page.emulate_media(color_scheme=scheme)
    window.choose("note")
    line = (
        versions(window)
        .first.locator("del")
        .evaluate("element => getComputedStyle(element).textDecorationLine")
    )
    assert line == "line-through"
