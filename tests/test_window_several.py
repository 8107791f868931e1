"""Several windows of one store: each its own view, actor and place; one process, one server."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from support.desktop_window import DesktopApp, ShownWindow, pages_of, press_close, until
from support.frozen_processes import freeze, thaw
from support.harness import SECONDS, Server
from support.ports import free_port

pytestmark = pytest.mark.long

FIRST, SECOND = "_signalbox.window.geometry", "_signalbox.window.geometry.2"


def open_two(desk: DesktopApp, port: int | None = None) -> tuple[ShownWindow, str]:
    """The first window, and the id of another one that it has opened; debugged by `port`."""
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port) if port else None)
    return shown, another(shown, 2)


def another(shown: ShownWindow, count: int) -> str:
    """The id of a window opened from the first, when there are so many."""
    before = set(shown.all())
    shown.press("ctrl+n")
    [new] = until(lambda: set(shown.all()) - before, "another window")
    shown.desk.await_streams(count + 1)
    return new


def by_name(pages: list[Page]) -> dict[str, Page]:
    """The pages by what their windows are called in the address."""
    return {urlsplit(page.url).fragment: page for page in pages}


def move(shown: ShownWindow, window: str, x: int, y: int) -> None:
    shown.xdotool("windowmove", window, str(x), str(y))


def test_another_window_has_its_own_view_and_actor_and_undoes_its_own(desk: DesktopApp) -> None:
    desk.command("set", "a.on", "false")
    desk.command("set", "b.on", "false")
    port = free_port()
    open_two(desk, port)
    with pages_of(port) as pages:
        shown = by_name(pages)
        assert set(shown) == {"app", "app-2"}
        shown["app"].locator("[id='k:a.on']").get_by_role("switch").click()
        until(lambda: desk.value("a.on"), "a is on")
        shown["app-2"].locator("[id='k:b.on']").get_by_role("switch").click()
        until(lambda: desk.value("b.on"), "b is on")
        shown["app"].keyboard.press("Control+z")
        until(lambda: desk.value("a.on") is False, "a is off again")
        assert desk.value("b.on") is True
        shown["app-2"].get_by_role("button", name="Activity").click()
        expect(shown["app"].locator("#keys")).to_be_visible()
    attempts = desk.ask("/queries/attempts")["items"]
    assert {each["actor"] for each in attempts} == {"cli", "window.app", "window.app-2"}


def test_each_window_stands_where_it_stood(desk: DesktopApp) -> None:
    shown, second = open_two(desk)
    first = shown.place()
    new = shown.place_of(second)
    assert (new["x"] - first["x"], new["y"] - first["y"]) == (32, 32)
    shown.xdotool("windowsize", "--sync", second, "800", "600")
    move(shown, second, 300, 90)
    place = {"x": 300, "y": 90, "width": 800, "height": 600}
    until(lambda: desk.value(SECOND) == {**place, "maximized": False}, "its place is written")
    assert desk.value(FIRST) is None, "nobody moved the first"
    press_close(desk.display, int(second))
    until(lambda: shown.all() == [shown.id], "it is closed")
    desk.await_streams()
    assert shown.place_of(another(shown, 2)) == place


def test_each_new_window_stands_on_a_corner_of_its_own(desk: DesktopApp) -> None:
    shown, second = open_two(desk)
    third = another(shown, 3)
    corners = [shown.place_of(each)["x"] for each in (shown.id, second, third)]
    assert corners == [corners[0], corners[0] + 32, corners[0] + 64]


def test_closing_one_leaves_the_others_and_the_last_ends_the_app(desk: DesktopApp) -> None:
    shown, second = open_two(desk)
    renderers = len(shown.renderers())
    press_close(desk.display, int(shown.id))
    until(lambda: shown.all() == [second], "the first is closed, the second is there")
    until(lambda: len(shown.renderers()) < renderers, "its renderer has gone")
    desk.await_streams()
    shown.id = second
    another(shown, 2)
    for each in shown.all():
        press_close(desk.display, int(each))
    assert shown.process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")


def test_every_window_finds_the_server_that_comes_back(desk: DesktopApp) -> None:
    port = free_port()
    open_two(desk, port)
    before = desk.endpoint()
    with pages_of(port) as pages:
        os.kill(before["pid"], signal.SIGKILL)
        until(lambda: desk.endpoint()["pid"] != before["pid"], "another server")
        desk.await_streams(3)
        desk.ask("/commands", {"type": "set", "key": "after", "value": True})
        for page in pages:
            expect(page.locator("[id='k:after']")).to_be_visible()


def test_every_window_follows_a_server_that_lost_its_port(desk: DesktopApp, tmp_path: Path) -> None:
    shown, _ = open_two(desk)
    before = desk.endpoint()
    freeze(shown.process.pid)  # so that somebody else can be faster
    os.kill(before["pid"], signal.SIGKILL)
    other = Server(tmp_path / "other", "--port", str(urlsplit(before["url"]).port))
    try:
        thaw(shown.process.pid)
        until(lambda: desk.endpoint()["url"] != before["url"], "the server is elsewhere")
        desk.await_streams(3)
    finally:
        other.kill()


def test_every_crashed_page_is_shown_again(desk: DesktopApp) -> None:
    shown, _ = open_two(desk)
    for renderer in shown.renderers():
        renderer.kill()
    desk.await_streams(1)
    desk.await_streams(3)


def test_a_second_start_raises_all_windows(desk: DesktopApp, tmp_path: Path) -> None:
    shown, second = open_two(desk)
    move(shown, second, 0, 0)
    other = DesktopApp(tmp_path / "other", desk.display)
    try:
        cover = other.open()
        cover.xdotool("windowsize", "--sync", cover.id, "1280", "800")
        cover.xdotool("windowmove", "--sync", cover.id, "0", "0")
        until(lambda: not shown.is_on_top(), "another window covers them")
        assert desk.start().wait(SECONDS) == 0
        shown.id = second
        until(shown.is_on_top, "the second came to the front")
        stack = shown.xdotool("search", "--onlyvisible", "--name", "Signalbox").split()
        assert stack.index(cover.id) < min(stack.index(each) for each in shown.all())
    finally:
        other.end()


def test_quitting_while_another_window_opens_ends_the_app(desk: DesktopApp) -> None:
    shown = desk.open()
    shown.press("ctrl+n", "ctrl+q")
    assert shown.process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")


def test_a_signal_closes_all_windows_in_order(desk: DesktopApp) -> None:
    shown, _ = open_two(desk)
    shown.process.send_signal(signal.SIGTERM)
    assert shown.process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")
    assert "Traceback" not in desk.stderr()
