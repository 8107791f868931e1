"""The real window on a virtual screen: its page, a second start, its place."""

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from support.desktop_window import DesktopApp, ShownWindow, is_running, page_of, until
from support.harness import SECONDS, Server
from support.ports import free_port

pytestmark = pytest.mark.long

GEOMETRY = "_signalbox.window.geometry"
RAISE = "_signalbox.window.raise"


def test_opens_on_the_page_and_leaves_nothing_when_closed(desk: DesktopApp) -> None:
    shown = desk.open()
    until(lambda: shown.colours() > 20, "the page is drawn")
    assert desk.value(GEOMETRY) is None, "nobody moved it"
    assert desk.ask("/queries/status")["revision"] == 0
    processes = shown.processes()
    assert shown.close() == 0
    until(lambda: not any(map(is_running, processes)), "its processes have gone")
    assert not (desk.data_dir / "endpoint.json").exists()


def test_opens_for_whoever_starts_it_without_any_setting(desk: DesktopApp) -> None:
    desk.open(QTWEBENGINE_CHROMIUM_FLAGS=None)
    assert ("no sandbox" in desk.stderr()) == (os.geteuid() == 0)


def test_first_minute(desk: DesktopApp) -> None:
    port = free_port()
    desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    with page_of(port) as page:
        page.get_by_text("Watch this computer").first.click()
        expect(page.locator("[id='k:computer.cpu.percent']")).to_be_visible()
        desk.command("set", "hello", "world")
        expect(page.locator("[id='k:hello']")).to_contain_text("world")
        desk.command("set", "lamp.on", "false")
        watch = desk.beside("watch", "--until", "true", "lamp.on")
        assert watch.stdout is not None
        assert watch.stdout.readline().split() == ["lamp.on", "false"]
        page.locator("[id='k:lamp.on']").get_by_role("switch").click()
        assert watch.stdout.readline().split() == ["lamp.on", "true"]
        assert watch.wait(SECONDS) == 0


def test_a_second_start_raises_the_first_window(desk: DesktopApp, tmp_path: Path) -> None:
    first = desk.open()
    other = DesktopApp(tmp_path / "other", desk.display)
    try:
        other.open()
        until(lambda: not first.is_on_top(), "another window covers it")
        second = desk.start()
        said, _ = second.communicate(timeout=SECONDS)
        assert second.returncode == 0
        assert said == (
            f"The window of {desk.data_dir} is open already; it was brought to the front.\n"
        )
        assert desk.value(RAISE) == 1
        until(first.is_on_top, "it came to the front")
        assert first.process.poll() is None
    finally:
        other.end()


def test_two_starts_at_once_give_one_window_and_one_server(desk: DesktopApp) -> None:
    processes = [desk.start(), desk.start()]
    until(lambda: any(process.poll() is not None for process in processes), "one gives way")
    [loser] = [process for process in processes if process.poll() is not None]
    [winner] = [process for process in processes if process is not loser]
    assert loser.returncode == 0
    desk.await_streams()
    ShownWindow(desk, winner)
    assert len(desk.servers()) == 1


def test_place_is_kept_across_a_restart(desk: DesktopApp) -> None:
    wanted = {"x": 40, "y": 30, "width": 900, "height": 640}
    shown = desk.open()
    shown.xdotool("windowsize", shown.id, "900", "640", "windowmove", shown.id, "40", "30")
    until(lambda: desk.value(GEOMETRY) == {**wanted, "maximized": False}, "its place is written")
    shown.close()
    assert desk.open().place() == wanted


def test_place_is_kept_when_closed_at_once(desk: DesktopApp) -> None:
    shown = desk.open()
    shown.xdotool("windowsize", "--sync", shown.id, "800", "600")
    shown.close()
    assert desk.open().place()["width"] == 800


def test_crashed_page_is_shown_again(desk: DesktopApp) -> None:
    shown = desk.open()
    [renderer] = shown.renderers()
    renderer.kill()
    until(lambda: [each for each in shown.renderers() if each != renderer], "another renderer")
    desk.await_streams()


def test_data_directory_may_have_spaces_and_any_letters(desk: DesktopApp, tmp_path: Path) -> None:
    desk.data_dir = tmp_path / "Jürgens größter Ordner 東京 ' %20 #1"
    shown = desk.open()
    assert desk.start().wait(SECONDS) == 0
    assert desk.value(RAISE) == 1
    assert shown.close() == 0
    assert {path.name for path in desk.data_dir.iterdir()} >= {"signalbox.db", "log"}


def test_page_cannot_leave_or_call_python(desk: DesktopApp, tmp_path: Path) -> None:
    port = free_port()
    desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    elsewhere, box_port = Server(tmp_path / "elsewhere"), urlsplit(desk.endpoint()["url"]).port
    try:
        with page_of(port) as page:
            before = page.url
            page.evaluate("url => { window.stayed = true; location.href = url }", elsewhere.url)
            # A navigation that is allowed has long arrived after so many answers.
            page.evaluate("async () => { for (let n = 0; n < 50; n++) await fetch('/') }")
            told = page.evaluate(
                "[window.stayed, typeof pywebview, document.cookie, location.href]"
            )
            assert told == [True, "undefined", "", before]
            assert re.fullmatch(rf"http://[0-9a-f]{{32}}\.localhost:{box_port}/#app", before)
    finally:
        elsewhere.kill()
    desk.await_streams()


def test_download_asks_where_to_and_arrives(desk: DesktopApp, tmp_path: Path) -> None:
    port = free_port()
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
    desk.ask("/commands", {"type": "set", "key": "hello", "value": "world"})
    with page_of(port) as page:
        page.evaluate("import('/static/transfer.js').then(({exportAs}) => exportAs('json'))")
        saved = tmp_path / "saved.json"
        shown.answer("Save", saved)
        until(lambda: saved.exists() and saved.read_text(), "the file is written")
    assert json.loads(saved.read_text()) == {"hello": "world"}
