"""The window and its server: who finds, keeps, ends and outlives whom."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

import signalbox
from support.desktop_window import (
    DesktopApp,
    ShownWindow,
    is_running,
    page_of,
    until,
    virtual_screen,
)
from support.frozen_processes import freeze, thaw
from support.harness import AFRESH, SECONDS, Server
from support.ports import free_port

pytestmark = pytest.mark.long


def test_killed_window_leaves_no_process(desk: DesktopApp) -> None:
    shown = desk.open()
    processes = shown.processes()
    assert len(desk.servers()) == 1
    assert len(processes) > 2
    shown.process.kill()
    until(lambda: not any(map(is_running, processes)), "its processes have gone")


def test_killed_server_comes_back_to_the_same_page_with_its_draft(desk: DesktopApp) -> None:
    port = free_port()
    desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    desk.ask("/commands", {"type": "set", "key": "lamp.text", "value": "before"})
    before = desk.endpoint()
    said_before = len(desk.stderr())
    with page_of(port) as page:
        page.get_by_text("lamp.text").first.click()
        page.locator("#draft").fill("my draft")
        os.kill(before["pid"], signal.SIGKILL)
        expect(page.locator("body")).to_have_class("offline")
        until(lambda: desk.endpoint()["pid"] != before["pid"], "another server")
        expect(page.locator("body")).not_to_have_class("offline")
        assert page.locator("#draft").input_value() == "my draft"
        desk.ask("/commands", {"type": "set", "key": "lamp.after", "value": True})
        expect(page.get_by_text("lamp.after").first).to_be_visible()
        page.evaluate("console.error('Something else is wrong')")
        until(lambda: "Something else is wrong" in desk.stderr(), "the page's errors are logged")
    assert desk.endpoint()["url"] == before["url"]
    desk.await_streams()
    said = desk.stderr()[said_before:].splitlines()
    change = f"process {before['pid']}) has ended; now it is process {desk.endpoint()['pid']}."
    assert said == [
        f"signalbox: The server ({change}",
        "signalbox: The page: Something else is wrong",
    ]
    logged = [line[24:] for line in desk.window_log().splitlines()]
    assert logged == [f"WARNING The server ({change}", "ERROR The page: Something else is wrong"]


def test_page_follows_a_server_that_lost_its_port(desk: DesktopApp, tmp_path: Path) -> None:
    shown = desk.open()
    before = desk.endpoint()
    freeze(shown.process.pid)  # so that somebody else can be faster
    os.kill(before["pid"], signal.SIGKILL)
    port = str(urlsplit(before["url"]).port)
    other = Server(tmp_path / "other", "--port", port)
    try:
        thaw(shown.process.pid)
        until(lambda: desk.endpoint()["url"] != before["url"], "the server is elsewhere")
        desk.await_streams()
    finally:
        other.kill()
    assert desk.start().wait(SECONDS) == 0, "the window is still found"


def test_server_that_keeps_ending_is_given_up_and_the_title_says_so(desk: DesktopApp) -> None:
    shown = desk.open()

    def kill_until_given_up() -> bool:
        for process in desk.servers():
            process.kill()
        return "keeps ending" in shown.xdotool("getwindowname", shown.id)

    until(kill_until_given_up, "the title says that the server keeps ending")


def test_uses_a_running_server_and_replaces_it_when_it_goes(desk: DesktopApp) -> None:
    found = Server(desk.data_dir, program=AFRESH)
    try:
        shown = desk.open()
        assert len(desk.servers()) == 1
        found.kill()
        until(lambda: desk.endpoint()["pid"] != found.pid, "the window's own server")
        assert desk.endpoint()["url"] == found.url
        desk.await_streams()
        assert shown.close() == 0
    finally:
        found.kill()


def test_server_that_is_found_and_ends_while_the_engine_loads_is_replaced(desk: DesktopApp) -> None:
    found = Server(desk.data_dir, program=AFRESH)
    process = desk.start()
    desk.await_streams(1)  # the window has found it, and has no page yet
    assert found.stop() == 0
    shown = ShownWindow(desk, process)
    desk.await_streams()
    assert desk.endpoint()["pid"] != found.pid
    assert shown.close() == 0


def test_server_that_lingers_stays_for_the_window_that_found_it(desk: DesktopApp) -> None:
    found = Server(desk.data_dir, "--linger", "0", program=AFRESH)
    with found.process as starter:
        process = desk.start()
        desk.await_streams(1)
        assert starter.stdin is not None
        starter.stdin.close()
        shown = ShownWindow(desk, process)
        desk.await_streams()
        assert desk.endpoint()["pid"] == found.pid
        assert shown.close() == 0
        assert starter.wait(SECONDS) == 0


def test_opens_right_after_a_command_whose_server_is_ending(desk: DesktopApp) -> None:
    for number in range(2):
        desk.command("set", "hello", str(number))
        assert desk.open().close() == 0, desk.stderr()
    assert desk.command("get", "hello") == "1\n"


def test_command_and_window_started_at_once_share_one_server(desk: DesktopApp) -> None:
    process = desk.start()
    desk.command("set", "hello", "world")
    shown = ShownWindow(desk, process)
    desk.await_streams()
    assert desk.value("hello") == "world"
    assert len(desk.servers()) == 1
    assert shown.close() == 0


def test_script_that_watches_keeps_the_server_of_a_closed_window(desk: DesktopApp) -> None:
    shown = desk.open()
    endpoint = desk.endpoint()
    with signalbox.connect(url=endpoint["url"], token=endpoint["write_token"]) as box:
        watch = box.watch("hello")
        box.set("hello", 0)
        assert next(watch).value == 0
        assert shown.close() == 0
        box.set("hello", 1)
        assert next(watch).value == 1
        assert desk.endpoint() == endpoint
    until(lambda: not desk.servers(), "the server has gone")


def test_opens_over_what_a_crash_of_everything_left(desk: DesktopApp) -> None:
    shown = desk.open()
    desk.ask("/commands", {"type": "set", "key": "hello", "value": "world"})
    before = desk.endpoint()
    freeze(before["pid"])  # so that it cannot end in order
    shown.process.kill()
    os.kill(before["pid"], signal.SIGKILL)
    assert (desk.data_dir / "endpoint.json").exists()
    desk.open()
    assert desk.endpoint()["url"] == before["url"]
    assert desk.value("hello") == "world"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_the_window_in_order(desk: DesktopApp, number: signal.Signals) -> None:
    shown = desk.open()
    shown.process.send_signal(number)
    assert shown.process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")


def test_end_of_the_session_leaves_no_process(tmp_path: Path) -> None:
    with virtual_screen() as name:
        desk = DesktopApp(tmp_path / "data", name)
        processes = desk.open().processes()
    until(lambda: not any(map(is_running, processes)), "its processes have gone")
    desk.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_while_the_engine_loads_leaves_no_process(
    desk: DesktopApp, number: signal.Signals
) -> None:
    process = desk.start()
    desk.await_streams(1)
    process.send_signal(number)
    process.wait(SECONDS)
    until(lambda: not desk.servers(), "the server has gone")
    assert "Traceback" not in desk.stderr()


def test_leaves_a_running_server_alone_when_closed(desk: DesktopApp) -> None:
    found = Server(desk.data_dir, program=AFRESH)
    try:
        assert desk.open().close() == 0
        desk.await_streams(0)
        assert found.process.poll() is None
    finally:
        found.kill()


def test_opens_in_a_folder_that_has_a_server_of_its_own(desk: DesktopApp, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('the wrong server')")
    (tmp_path / "signalbox.py").write_text("raise SystemExit('the wrong client')")
    assert desk.open(cwd=tmp_path).close() == 0


def test_window_is_who_it_was_after_a_restart_and_can_undo(desk: DesktopApp) -> None:
    desk.command("set", "lamp.on", "false")
    port = free_port()
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    with page_of(port) as page:
        page.get_by_role("switch").first.click()
        expect(page.locator("#done")).to_contain_text("Set lamp.on")
    assert shown.close() == 0
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    with page_of(port) as page:
        page.keyboard.press("Control+z")
        expect(page.locator("#done")).to_contain_text("Undid set of lamp.on")
        expect(page.get_by_role("switch").first).not_to_be_checked()
    assert shown.close() == 0
