"""The menu bar of the real window: what its entries do, and what the window is called."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from signalbox.desktop.window import menus
from signalbox.desktop.window.menus import Entry, Menu
from support.desktop_window import DesktopApp, ShownWindow, page_of, until
from support.ports import free_port

pytestmark = pytest.mark.long

Opened = tuple[DesktopApp, ShownWindow, Page]
MENUS = menus.menu_bar(*[type("Nobody", (), {"__getattr__": lambda *_: print})() for _ in range(2)])


def steps(menu: Menu, label: str) -> list[str]:
    """The keys that lead from an open menu's first entry to another, and choose it."""
    items = [item for item in menu.items if item is not None]
    for number, item in enumerate(items):
        down = ["Down"] * number
        if isinstance(item, Entry) and item.label == label:
            return [*down, "Return"]
        if isinstance(item, Menu) and any(each and each.label == label for each in item.items):
            return [*down, "Right", *steps(item, label)]
    raise AssertionError(f"There is no {label}.")


def choose(shown: ShownWindow, menu: str, label: str) -> None:
    """Choose an entry by the keyboard, as a user does without a mouse."""
    [found] = [each for each in MENUS if each.label == menu]
    shown.press(f"alt+{menu[0].lower()}", *steps(found, label))


@pytest.fixture(scope="module")
def one_window(display: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The same for all tests of this file that neither end it nor change its environment."""
    desk = DesktopApp(tmp_path_factory.mktemp("menu") / "data", display)
    port = free_port()
    try:
        shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port))
        with page_of(port) as page:
            yield desk, shown, page
    finally:
        desk.end()


@pytest.fixture
def opened(one_window: Opened) -> Opened:
    """A window with two keys, and its page as if it had just been opened."""
    desk, _, page = one_window
    keys = [item["key"] for item in desk.ask("/queries/state")["items"]]
    deleted = [{"type": "delete", "key": key} for key in keys]
    lamp = {"lamp.on": False, "lamp.name": "desk"}
    made = [{"type": "set", "key": key, "value": value} for key, value in lamp.items()]
    assert desk.ask("/commands", {"type": "batch", "commands": [*deleted, *made]})
    page.reload()
    expect(page.get_by_role("switch").first).to_be_visible()
    return one_window


def test_title_is_what_is_selected(opened: Opened) -> None:
    _, shown, page = opened
    assert shown.name() == "Signalbox"
    page.get_by_text("lamp.name").first.click()
    until(lambda: shown.name() == "lamp.name \N{EN DASH} Signalbox", "the title is the key")
    page.keyboard.press("Escape")
    until(lambda: shown.name() == "Signalbox", "the title is the app's")


def test_undo_and_redo_of_the_menu_are_those_of_the_page(opened: Opened) -> None:
    desk, shown, page = opened
    page.get_by_role("switch").first.click()
    until(lambda: desk.value("lamp.on") is True, "it is on")
    choose(shown, "Edit", "Undo")
    until(lambda: desk.value("lamp.on") is False, "it is undone")
    choose(shown, "Edit", "Redo")
    until(lambda: desk.value("lamp.on") is True, "it is done again")


def test_undo_of_the_menu_in_a_text_that_is_written_is_that_texts(opened: Opened) -> None:
    desk, shown, page = opened
    before = desk.ask("/queries/status")["revision"]
    page.locator("#query").click()
    page.keyboard.type("x")
    expect(page.locator("#query")).to_have_value("x")
    choose(shown, "Edit", "Undo")
    expect(page.locator("#query")).to_have_value("")
    assert desk.ask("/queries/status")["revision"] == before


def test_find_of_the_menu_leads_to_the_search(opened: Opened) -> None:
    _, shown, page = opened
    choose(shown, "Edit", "Find")
    expect(page.locator("#query")).to_be_focused()
    expect(page.locator("#palette")).to_be_visible()


def test_zoom_changes_how_large_the_page_is_by_menu_and_keys(opened: Opened) -> None:
    _, shown, page = opened

    def scale() -> float:
        return round(float(page.evaluate("devicePixelRatio")), 2)

    choose(shown, "View", "Zoom in")
    until(lambda: scale() == 1.1, "larger")
    shown.press("ctrl+equal")
    until(lambda: scale() == 1.25, "still larger")
    shown.press("ctrl+minus")
    until(lambda: scale() == 1.1, "smaller")
    shown.press("ctrl+0")
    until(lambda: scale() == 1.0, "as it is")


@pytest.mark.parametrize("ending", ["Quit", "Close window"])
def test_quit_and_close_end_the_app(desk: DesktopApp, ending: str) -> None:
    shown = desk.open()
    choose(shown, "File", ending)
    assert shown.process.wait(20) == 0
    until(lambda: not desk.servers(), "the server has gone")


def import_by(ask: Callable[[ShownWindow], object], opened: Opened, path: Path) -> None:
    _, shown, page = opened
    ask(shown)
    shown.answer("Open", path)
    page.locator("#import-confirm").click()  # what it would do is shown first
    expect(page.locator("#done")).to_contain_text("Imported")


def test_import_asks_for_a_file_and_can_be_undone(opened: Opened, tmp_path: Path) -> None:
    desk, _, page = opened
    path = tmp_path / "keys.json"
    path.write_text('{"a": 12345678901234567890,\n"b": [1.50, {"c": null}],\n"not..a..key": 1}')
    import_by(lambda shown: choose(shown, "File", "Import…"), opened, path)
    expect(page.locator("#done")).to_contain_text("2 changes; 1 line rejected, line 3")
    assert desk.command("get", "a") == "12345678901234567890\n"
    assert desk.value("b") == [1.5, {"c": None}]
    page.locator("#done").get_by_text("Undo").click()
    until(lambda: desk.value("a") is None, "it is undone")


def test_import_by_its_key_takes_commands(opened: Opened, tmp_path: Path) -> None:
    desk, _, page = opened
    path = tmp_path / "commands.ndjson"
    path.write_text('{"type": "toggle", "key": "lamp.on"}\n')
    page.locator("#query").click()  # also where a text is written
    import_by(lambda shown: shown.press("ctrl+o"), opened, path)
    assert desk.value("lamp.on") is True


def test_export_asks_for_a_place(opened: Opened, tmp_path: Path) -> None:
    _, shown, _ = opened
    choose(shown, "File", "JSON…")
    saved = tmp_path / "saved.json"
    shown.answer("Save", saved)
    until(lambda: saved.exists() and saved.read_text(), "the file is written")
    assert json.loads(saved.read_text()) == {"lamp.name": "desk", "lamp.on": False}


def test_about_says_which_version_and_where_the_data_is(opened: Opened) -> None:
    desk, shown, page = opened
    choose(shown, "Help", "About Signalbox")
    about = page.locator("#this")
    expect(about).to_be_visible()
    expect(about).to_contain_text(desk.endpoint()["version"])
    expect(about).to_contain_text(str(desk.data_dir))
    expect(about).to_contain_text("SQLite")
    expect(page.locator("#licences")).to_contain_text("its own licence")
    shown.press("Escape")
    expect(about).not_to_be_visible()


def program(folder: Path, name: str, script: str) -> str:
    """A PATH on which there is only a program of that name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_log_and_data_folder_are_shown_by_the_systems_viewer(
    desk: DesktopApp, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    path = program(tmp_path / "bin", "xdg-open", f'echo "$1" >> "{seen}"')
    shown = desk.open(PATH=path)
    choose(shown, "File", "Show log")
    choose(shown, "File", "Show data folder")
    wanted = [str(desk.data_dir / "log" / "server.log"), str(desk.data_dir)]
    until(lambda: seen.exists() and seen.read_text().split() == wanted, "both are shown")


@pytest.mark.parametrize("there", [True, False])
def test_without_a_viewer_the_page_says_where_it_is(
    desk: DesktopApp, tmp_path: Path, there: bool
) -> None:
    port = free_port()
    path = program(tmp_path / "bin", "xdg-open" if there else "else", "exit 3")
    shown = desk.open(QTWEBENGINE_REMOTE_DEBUGGING=str(port), PATH=path)
    with page_of(port) as page:
        choose(shown, "File", "Show data folder")
        expect(page.locator("#done")).to_contain_text(f"Look at {desk.data_dir}")


def bar_colour(shown: ShownWindow) -> str:
    """Of the menu bar, right of its menus."""
    pixel = ["-crop", "1x1+600+10", "-depth", "8", "-format", "%[hex:p{0,0}]", "info:-"]
    return shown.output("import", "-window", shown.id, *pixel).lower()


def test_menu_bar_has_the_colours_of_the_page_in_each_theme(opened: Opened) -> None:
    desk, shown, _ = opened
    for theme, colour in (("light", "f6f6f4"), ("dark", "161615"), ("light", "f6f6f4")):
        set_theme: dict[str, Any] = {"type": "set", "key": "_signalbox.theme", "value": theme}
        desk.ask("/commands", set_theme)
        until(lambda colour=colour: bar_colour(shown) == colour, f"it is {theme}")  # type: ignore[misc]


def test_every_entry_sends_a_name_that_the_page_has() -> None:
    palette = (Path(__file__).parent.parent / "ui" / "static" / "palette.js").read_text()
    commands: list[str] = []

    class Actions:
        run_page_command = staticmethod(commands.append)
        zoom = toggle_full_screen = close = quit = staticmethod(print)
        open_another_window = show_log = show_data_folder = staticmethod(print)

    def act(menu: Menu) -> None:
        for item in menu.items:
            if isinstance(item, Menu):
                act(item)
            elif item is not None:
                item.action()

    for menu in menus.menu_bar(Actions, Actions):
        act(menu)
    assert len(commands) == 9
    own = {"Find"}
    assert all(f'["{command}"' in palette for command in commands if command not in own), commands
