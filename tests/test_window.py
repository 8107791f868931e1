"""The real window on a virtual screen: opening, a second start, its place, and every way to die."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from desk import Desk, Shown, free_port, is_running, page_of, screen, until
from harness import SECONDS, Server

GEOMETRY = "_signalbox.window.geometry"
RAISE = "_signalbox.window.raise"


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """One virtual screen for all tests."""
    with screen() as name:
        yield name


@pytest.fixture
def desk(display: str, tmp_path: Path) -> Iterator[Desk]:
    """A new data directory; whatever was started on it is ended."""
    desk = Desk(tmp_path / "data", display)
    yield desk
    desk.end()


def test_opens_on_the_page_and_leaves_nothing_when_closed(desk: Desk) -> None:
    shown = desk.open()
    until(lambda: shown.colours() > 20, "the page is drawn")
    assert desk.value(GEOMETRY) is None, "nobody moved it"
    assert desk.ask("/queries/status")["revision"] == 0
    processes = shown.processes()
    assert shown.close() == 0
    until(lambda: not any(map(is_running, processes)), "its processes have gone")
    assert not (desk.data_dir / "endpoint.json").exists()


def test_a_second_start_raises_the_first_window(desk: Desk, tmp_path: Path) -> None:
    first = desk.open()
    other = Desk(tmp_path / "other", desk.display)
    try:
        other.open()
        until(lambda: not first.is_on_top(), "another window covers it")
        assert desk.start().wait(SECONDS) == 0
        assert desk.value(RAISE) == 1
        until(first.is_on_top, "it came to the front")
        assert first.process.poll() is None
    finally:
        other.end()


def test_two_starts_at_once_give_one_window_and_one_server(desk: Desk) -> None:
    processes = [desk.start(), desk.start()]
    until(lambda: any(process.poll() is not None for process in processes), "one gives way")
    [loser] = [process for process in processes if process.poll() is not None]
    [winner] = [process for process in processes if process is not loser]
    assert loser.returncode == 0
    desk.await_streams()
    Shown(desk, winner)
    assert len(desk.servers()) == 1


def test_place_is_kept_across_a_restart(desk: Desk) -> None:
    wanted = {"x": 40, "y": 30, "width": 900, "height": 640}
    shown = desk.open()
    shown.xdotool("windowsize", shown.id, "900", "640", "windowmove", shown.id, "40", "30")
    until(lambda: desk.value(GEOMETRY) == {**wanted, "maximized": False}, "its place is written")
    shown.close()
    assert desk.open().place() == wanted


def test_place_is_kept_when_closed_at_once(desk: Desk) -> None:
    shown = desk.open()
    shown.xdotool("windowsize", "--sync", shown.id, "800", "600")
    shown.close()
    assert desk.open().place()["width"] == 800


def test_killed_window_leaves_no_process(desk: Desk) -> None:
    shown = desk.open()
    processes = shown.processes()
    assert len(desk.servers()) == 1
    assert len(processes) > 2
    shown.process.kill()
    until(lambda: not any(map(is_running, processes)), "its processes have gone")


def test_killed_server_comes_back_to_the_same_page_with_its_draft(desk: Desk) -> None:
    port = free_port()
    desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    desk.ask("/commands", {"type": "set", "key": "lamp.text", "value": "before"})
    before = desk.endpoint()
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
    assert desk.endpoint()["url"] == before["url"]
    desk.await_streams()


def test_page_follows_a_server_that_lost_its_port(desk: Desk, tmp_path: Path) -> None:
    shown = desk.open()
    before = desk.endpoint()
    shown.process.send_signal(signal.SIGSTOP)  # so that somebody else can be faster
    os.kill(before["pid"], signal.SIGKILL)
    port = str(urlsplit(before["url"]).port)
    other = Server(tmp_path / "other", "--port", port)
    try:
        shown.process.send_signal(signal.SIGCONT)
        until(lambda: desk.endpoint()["url"] != before["url"], "the server is elsewhere")
        desk.await_streams()
    finally:
        other.kill()
    assert desk.start().wait(SECONDS) == 0, "the window is still found"


def test_server_that_keeps_ending_is_given_up_and_the_title_says_so(desk: Desk) -> None:
    shown = desk.open()

    def kill_until_given_up() -> bool:
        for process in desk.servers():
            process.kill()
        return "keeps ending" in shown.xdotool("getwindowname", shown.id)

    until(kill_until_given_up, "the title says that the server keeps ending")


def test_crashed_page_is_shown_again(desk: Desk) -> None:
    shown = desk.open()
    [renderer] = shown.renderers()
    renderer.kill()
    until(lambda: [each for each in shown.renderers() if each != renderer], "another renderer")
    desk.await_streams()


def test_uses_a_running_server_and_replaces_it_when_it_goes(desk: Desk) -> None:
    found = Server(desk.data_dir)
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


def test_server_that_is_found_and_ends_while_the_engine_loads_is_replaced(desk: Desk) -> None:
    found = Server(desk.data_dir)
    process = desk.start()
    desk.await_streams(1)  # the window has found it, and has no page yet
    assert found.stop() == 0
    shown = Shown(desk, process)
    desk.await_streams()
    assert desk.endpoint()["pid"] != found.pid
    assert shown.close() == 0


def test_server_that_lingers_stays_for_the_window_that_found_it(desk: Desk) -> None:
    found = Server(desk.data_dir, "--linger", "0")
    with found.process as starter:
        process = desk.start()
        desk.await_streams(1)
        assert starter.stdin is not None
        starter.stdin.close()
        shown = Shown(desk, process)
        desk.await_streams()
        assert desk.endpoint()["pid"] == found.pid
        assert shown.close() == 0
        assert starter.wait(SECONDS) == 0


def test_opens_right_after_a_command_whose_server_is_ending(desk: Desk) -> None:
    for number in range(4):
        desk.command("set", "hello", str(number))
        assert desk.open().close() == 0, desk.stderr()
    assert desk.command("get", "hello") == "3\n"


def test_leaves_a_running_server_alone_when_closed(desk: Desk) -> None:
    found = Server(desk.data_dir)
    try:
        assert desk.open().close() == 0
        desk.await_streams(0)
        assert found.process.poll() is None
    finally:
        found.kill()


def test_page_cannot_leave_or_call_python(desk: Desk, tmp_path: Path) -> None:
    port = free_port()
    desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    elsewhere = Server(tmp_path / "elsewhere")
    try:
        with page_of(port) as page:
            page.evaluate("url => { window.stayed = true; location.href = url }", elsewhere.url)
            # A navigation that is allowed has long arrived after so many answers.
            page.evaluate("async () => { for (let n = 0; n < 50; n++) await fetch('/') }")
            told = page.evaluate(
                "[window.stayed, typeof pywebview, document.cookie, location.href]"
            )
            assert told == [True, "undefined", "", desk.endpoint()["url"] + "/"]
    finally:
        elsewhere.kill()
    desk.await_streams()


def test_download_asks_where_to_and_arrives(desk: Desk, tmp_path: Path) -> None:
    port = free_port()
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    desk.ask("/commands", {"type": "set", "key": "hello", "value": "world"})
    with page_of(port) as page:
        page.evaluate(
            "Object.assign(document.createElement('a'), "
            "{href: '/queries/export?format=json', download: 'keys.json'}).click()"
        )
        shown.xdotool("search", "--sync", "--onlyvisible", "--name", "Save")
        shown.xdotool("type", str(tmp_path / "saved.json"))
        shown.xdotool("key", "Return")
        saved = tmp_path / "saved.json"
        until(lambda: saved.exists() and saved.read_text(), "the file is written")
    assert json.loads(saved.read_text()) == {"hello": "world"}


def test_without_display_serves_and_prints_an_address_to_log_in(desk: Desk) -> None:
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("Open ").strip()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(url, timeout=SECONDS) as answer:
        assert b"<title>Signalbox</title>" in answer.read()
    assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in desk.stderr()
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


@pytest.mark.parametrize("display_name", [":9999", "nowhere:1"])
def test_display_that_does_not_answer_is_named(desk: Desk, display_name: str) -> None:
    process = desk.start(DISPLAY=display_name)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://127.0.0.1:")
    assert f"The display {display_name} does not answer." in desk.stderr()
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0


def test_broken_qt_names_the_debian_packages(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "PySide6"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    (broken / "QtWebEngineWidgets.abi3.so").write_bytes(b"not a library")
    process = desk.start(PYTHONPATH=str(broken.parent))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://127.0.0.1:")
    assert "sudo apt-get install libegl1" in desk.stderr()
    assert "Traceback" not in desk.stderr()


def test_data_directory_that_cannot_be_used_is_named_without_a_traceback(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desk.data_dir = tmp_path / "file" / "data"
    assert desk.start().wait(SECONDS) == 4
    assert str(tmp_path / "file") in desk.stderr()
    assert "Traceback" not in desk.stderr()


def test_opens_in_a_folder_that_has_a_server_of_its_own(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('the wrong server')")
    (tmp_path / "signalbox.py").write_text("raise SystemExit('the wrong client')")
    assert desk.open(cwd=tmp_path).close() == 0


def test_store_that_cannot_be_opened_says_why(desk: Desk) -> None:
    desk.data_dir.mkdir()
    (desk.data_dir / "signalbox.db").write_bytes(b"this is no database" * 100)
    assert desk.start().wait(SECONDS) == 4
    assert desk.stderr().startswith("signalbox: /")
    assert desk.stderr().count("\n") == 1
