"""Two windows on two nodes of one log: what one does the other shows, also without the engine."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import StartServer
from support.nats_server import NatsServer
from support.nodes import IMPATIENT, reach
from support.page_window import OpenWindow, Window
from support.redis_server import RedisServer
from support.tcp_proxy import Proxy

pytestmark = pytest.mark.long

AWAY = "Not current since"
LONG = 20_000
"""Milliseconds within which an engine that was away is found again, on a busy machine."""

CUT = """all => all
    .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth && e.clientWidth)
    .filter((e) => getComputedStyle(e).textOverflow !== "ellipsis")
    .map((e) => e.outerHTML)"""
"""Which of these elements hide a part of their text without showing that."""


@pytest.fixture(params=["nats", "redis"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsServer | RedisServer]:
    if request.param == "nats":
        with NatsServer(tmp_path / "nats") as nats:
            yield nats
    else:
        with RedisServer(tmp_path / "redis", "--appendonly", "yes") as redis:
            yield redis


@pytest.fixture
def windows(
    engine: NatsServer | RedisServer, server: StartServer, open_window: OpenWindow
) -> list[Window]:
    """One on each of two nodes."""
    windows = [open_window(server("--engine", engine.url)) for _ in range(2)]
    windows[0].server.set("lamp.on", False)
    for window in windows:
        expect(window.value("lamp.on")).to_contain_text("off")
    return windows


def flip(window: Window, key: str) -> None:
    window.row(key).get_by_role("switch").click()


def lose(engine: NatsServer | RedisServer) -> None:
    """All that it holds."""
    for name in ("data", "appendonlydir"):
        shutil.rmtree(engine.folder / name, ignore_errors=True)


def picture(window: Window, name: str) -> None:
    """For whoever wants to look at it."""
    if folder := os.environ.get("SIGNALBOX_PICTURES"):
        window.page.screenshot(path=f"{folder}/{name}.png")


def test_a_window_undoes_what_it_did_and_not_what_another_node_of_the_same_name_did(
    windows: list[Window],
) -> None:
    """The app calls its first window the same everywhere."""
    for window in windows:
        window.page.evaluate("location.hash = 'app'")
        window.page.reload()
        expect(window.value("lamp.on")).to_contain_text("off")
    here, there = windows
    flip(here, "lamp.on")
    expect(there.value("lamp.on")).to_contain_text("on")
    there.page.keyboard.press("Control+z")
    expect(there["#said"]).to_have_text("Nothing left to undo in this window.")
    here.page.keyboard.press("Control+z")
    expect(there.value("lamp.on")).to_contain_text("off")
    nodes = [window.server.get("/queries/status").json()["log"]["node"] for window in windows]
    item = there.server.get("/queries/state/lamp.on").json()
    assert item["actor"] == f"window.app@{nodes[0]}" != f"window.app@{nodes[1]}"


def test_a_switch_flipped_in_one_window_shows_in_the_other(windows: list[Window]) -> None:
    here, there = windows
    flip(here, "lamp.on")
    expect(there.value("lamp.on")).to_contain_text("on")
    flip(there, "lamp.on")
    expect(here.value("lamp.on")).to_contain_text("off")
    here.press("Control+z")
    assert here.server.value("lamp.on") is False  # what this window did last was undone by another


def test_the_status_line_says_what_accepted_means_there(windows: list[Window]) -> None:
    picture(windows[0], "engine-weak")
    foot = windows[0]["#foot .engine"]
    status = windows[0].server.get("/queries/status").json()
    expect(foot).to_have_text(f"{status['engine']}, {status['durability']}")
    expect(windows[0]["#foot .weak"]).to_have_text(status["durability"])
    assert status["log"]["durable"] is False


def test_without_the_engine_both_windows_read_on_and_say_since_when_until_it_is_back(
    engine: NatsServer | RedisServer, windows: list[Window]
) -> None:
    engine.kill()
    for window in windows:
        expect(window["#foot .away"]).to_contain_text(AWAY, timeout=LONG)
        expect(window.value("lamp.on")).to_contain_text("off")
    picture(windows[0], "engine-away")
    flip(windows[0], "lamp.on")
    expect(windows[0].row("lamp.on")).to_contain_text("unavailable", timeout=LONG)
    saved = windows[0]["#saved"]
    expect(saved).to_have_text(re.compile("^Not saved: .* Nothing was written.$"))
    expect(saved).to_have_attribute("title", re.compile("Nothing was written"))
    expect(windows[0]["[data-do=rejections]"]).to_be_hidden()
    picture(windows[0], "engine-refused")
    expect(windows[0].value("lamp.on")).to_contain_text("off")
    engine.start()
    for window in windows:
        expect(window["#foot .away"]).to_have_count(0, timeout=LONG)
    flip(windows[0], "lamp.on")
    expect(windows[1].value("lamp.on")).to_contain_text("on")


def test_without_the_engine_nothing_looks_current_or_saved(
    engine: NatsServer | RedisServer, windows: list[Window]
) -> None:
    window = windows[0]
    live = [window.colour("#pause .dot"), window.colour("footer .end .dot")]
    expect(window["#pause"]).to_have_text("Live")
    engine.kill()
    expect(window["#pause"]).to_have_text("Not current", timeout=LONG)
    expect(window["#time"]).to_have_attribute("aria-valuetext", "Not current")
    expect(window["#saved"]).to_have_text("Changes cannot be saved now")
    for selector, green in zip(("#pause .dot", "footer .end .dot"), live, strict=True):
        assert window.colour(selector) != green
    engine.start()
    expect(window["#pause"]).to_have_text("Live", timeout=LONG)
    expect(window["#saved"]).to_have_text("All changes saved")
    assert [window.colour("#pause .dot"), window.colour("footer .end .dot")] == live


def test_where_room_is_short_the_reason_is_the_last_to_go(
    engine: NatsServer | RedisServer, windows: list[Window]
) -> None:
    window = windows[0]
    flip(window, "lamp.on")
    expect(window["#done"]).to_contain_text("Undo")
    engine.kill()
    expect(window["#foot .away"]).to_contain_text(AWAY, timeout=LONG)
    for width in (1240, 900, 640):
        window.page.set_viewport_size({"width": width, "height": 480})
        assert window["footer *"].evaluate_all(CUT) == []
        picture(window, f"engine-away-{width}")
    parts = ("#foot .away", "footer .end", "#done")
    widths = [window[part].evaluate("e => e.clientWidth") for part in parts]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0
    expect(window["#done .link"]).to_be_in_viewport(ratio=1)


def test_a_log_that_is_away_is_shown_otherwise_than_a_server_that_is_away(
    engine: NatsServer | RedisServer, windows: list[Window]
) -> None:
    engine.kill()
    away = windows[0]["#foot .away"]
    expect(away).to_contain_text(f"{engine.port}", timeout=LONG)
    lose(engine)
    engine.start()
    expect(away).to_contain_text("There is no log at", timeout=LONG)
    problem = windows[0].server.get("/queries/status").json()["log"]["problem"]
    expect(away).to_contain_text(problem)
    expect(away).to_have_attribute("title", re.compile(re.escape(problem)))
    picture(windows[0], "engine-lost")


def test_the_outcome_of_a_change_is_awaited_until_the_engine_answers(
    engine: NatsServer | RedisServer, server: StartServer, open_window: OpenWindow
) -> None:
    """The engine's answer is lost, and comes again only after the server has given up waiting."""
    proxy = Proxy(engine.port)
    address = engine.url.replace(f":{engine.port}", f":{proxy.port}")
    node = server("--engine", address, limits=IMPATIENT)
    node.set("lamp.on", False)
    window = open_window(node)
    proxy.hold("client")
    with window.page.expect_request("**/queries/attempts/*", timeout=LONG):
        flip(window, "lamp.on")
    expect(window["#saved"]).to_have_text("Saving 1 change…")
    proxy.cut()
    proxy.mend()
    expect(window["#saved"]).to_have_text("All changes saved", timeout=LONG)
    expect(window.value("lamp.on")).to_contain_text("on")
    assert node.get("/queries/status").json()["revision"] == 2
    proxy.close()


def test_a_draft_stays_when_it_cannot_be_saved_without_the_engine(
    engine: NatsServer | RedisServer, windows: list[Window]
) -> None:
    window = windows[0]
    window.server.set("lamp.level", 70)
    window.choose("lamp.level")
    engine.kill()
    expect(window["#foot .away"]).to_contain_text(AWAY, timeout=LONG)
    window.press("Enter")
    window.type("85")
    window.press("Enter")
    expect(window["#inspector"]).to_contain_text("Nothing was written", timeout=LONG)
    expect(window["#draft"]).to_have_value("85")
    picture(window, "engine-draft")
    engine.start()
    expect(window["#foot .away"]).to_have_count(0, timeout=LONG)
    window["#draft"].press("Enter")
    expect(window.value("lamp.level")).to_have_text("85")


def test_only_the_computer_is_watched_where_that_was_switched_on(windows: list[Window]) -> None:
    here, there = windows
    here.page.get_by_role("button", name="Sources").click()
    here["#source-list"].get_by_role("switch").click()
    expect(here["#source-list"]).to_contain_text("On, every 1 s")
    there.page.get_by_role("button", name="Sources").click()
    expect(there["#source-list"]).to_contain_text("On at another computer")
    with there.server.stream(match="computer.**") as stream:
        revisions = [stream.until("change")[-1].data["revision"] for _ in range(3)]
    reach(revisions[-1], here.server)  # the other node may read the log first, and has published it
    for window, writes in ((here, True), (there, False)):
        attempts = window.server.get("/queries/attempts", actor="computer").json()["items"]
        assert {one["revision"] for one in attempts} >= set(revisions)
        conflicts = window.server.get("/queries/status").json()["log"]["conflicts"]
        assert writes or conflicts == 0
