"""Units of the window without a window: geometry, slots, folders, menus, checks of the display."""

import os
import re
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from signalbox import client
from signalbox.desktop import paths, single_instance
from signalbox.desktop.child_env import environment
from signalbox.desktop.display import (
    CHROMIUM_FLAGS,
    NO_SANDBOX,
    CannotShow,
    disable_sandbox_for_root,
    needs_x11,
    require_display,
)
from signalbox.desktop.server_process import open_log
from signalbox.desktop.window.geometry import (
    KEY,
    MIN_HEIGHT,
    MIN_WIDTH,
    Geometry,
    Screen,
    cascaded,
    initial_geometry,
)
from signalbox.desktop.window.menus import split_shortcut
from signalbox.desktop.window.qt_menus import COLOUR_NAMES, COLOURS
from signalbox.desktop.window.webview_window import BACKGROUNDS, resolvable_url
from signalbox.desktop.window.window_slot import WindowSlot
from signalbox.server.login_address import address_lines
from signalbox.server.model.app_settings import check_setting
from signalbox.server.model.errors import Invalid
from support.harness import ROOT

LEFT, RIGHT = Screen(0, 0, 1920, 1080), Screen(1920, 0, 1280, 1024)


@pytest.mark.parametrize(
    ("stored", "fitted"),
    [
        (Geometry(100, 50, 900, 700), Geometry(100, 50, 900, 700)),
        (Geometry(2000, 50, 900, 700), Geometry(2000, 50, 900, 700)),
        (Geometry(-500, -90, 900, 700), Geometry(0, 0, 900, 700)),
        (Geometry(1900, 900, 900, 700), Geometry(1920, 324, 900, 700)),
        (Geometry(5000, 5000, 900, 700), Geometry(1020, 380, 900, 700)),
        (Geometry(0, 0, 9000, 7000, maximized=True), Geometry(0, 0, 1920, 1080, maximized=True)),
        (Geometry(10, 10, 1, 1), Geometry(10, 10, MIN_WIDTH, MIN_HEIGHT)),
    ],
)
def test_place_is_fitted_wholly_onto_the_screen_that_shows_most_of_it(
    stored: Geometry, fitted: Geometry
) -> None:
    assert stored.fitted([LEFT, RIGHT]) == fitted


def test_first_place_is_in_the_middle_and_leaves_room_on_a_small_screen() -> None:
    assert initial_geometry(LEFT) == Geometry(320, 140, 1280, 800)
    assert initial_geometry(Screen(0, 0, 800, 600)) == Geometry(40, 30, 720, 540)


def test_place_survives_its_key() -> None:
    place = Geometry(1, 2, 900, 700, maximized=True)
    assert Geometry.from_value(place.as_value()) == place
    assert Geometry.from_value(None) is None


def test_background_is_that_of_the_page() -> None:
    css = (ROOT / "ui" / "static" / "base.css").read_text()
    found = re.search(r"--bg: light-dark\((#\w+), (#\w+)\)", css)
    assert found is not None
    assert (BACKGROUNDS["light"], BACKGROUNDS["dark"]) == found.groups()


def test_data_directory_is_the_one_given_and_only_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(tmp_path / "variable"))
    assert paths.make_data_dir() == tmp_path / "variable"
    folder = paths.make_data_dir(str(tmp_path / "given"))
    assert folder == tmp_path / "given"
    log = paths.log_file(folder)
    assert log == folder / "log" / "server.log"
    open_log(log).close()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, log.parent, log)] == [
        0o700,
        0o700,
        0o600,
    ]


def test_default_store_keeps_its_log_where_the_platform_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGNALBOX_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = paths.make_data_dir()
    assert folder == tmp_path / "data" / "signalbox"
    assert paths.log_file(folder) == tmp_path / "state" / "signalbox" / "log" / "server.log"


def test_a_log_that_is_no_file_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "server.log")
    with pytest.raises(client.NotRunning, match=r"server\.log is a pipe, a socket or a device"):
        open_log(tmp_path / "server.log")


def test_a_window_s_lock_that_is_no_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "window.lock").mkdir()
    with pytest.raises(client.NotRunning, match=r"window\.lock is a folder"):
        single_instance.lock_or_raise_window(tmp_path)


def test_root_is_told_that_the_engine_has_no_sandbox_for_it() -> None:
    environ: dict[str, str] = {}
    said = disable_sandbox_for_root(environ)
    if os.geteuid() == 0:
        assert said is not None
        assert environ == {NO_SANDBOX: "1"}
        assert disable_sandbox_for_root(environ) is None, "whoever chose it knows"
    else:
        assert said is None
        assert environ == {}
    assert disable_sandbox_for_root({CHROMIUM_FLAGS: "--no-sandbox"}) is None


def test_wayland_display_that_does_not_answer_is_named(tmp_path: Path) -> None:
    environ = {"WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(CannotShow, match=r"^The display wayland-7 does not answer\.$"):
        require_display(environ)


def test_second_start_gives_up_on_a_window_whose_server_does_not_answer(tmp_path: Path) -> None:
    first = single_instance.lock_or_raise_window(tmp_path)
    assert first is not None
    with first, pytest.raises(single_instance.NoAnswer, match="its server does not answer"):
        single_instance.lock_or_raise_window(tmp_path, timeout=0.1)
    second = single_instance.lock_or_raise_window(tmp_path)
    assert second is not None, "the first one has let go"
    with second:
        assert (tmp_path / single_instance.LOCK_FILE).stat().st_mode & 0o077 == 0


def test_libraries_of_x11_are_needed_only_where_qt_has_no_other_way() -> None:
    wayland = {"XDG_SESSION_TYPE": "wayland", "WAYLAND_DISPLAY": "wayland-0"}
    assert needs_x11({"DISPLAY": ":0"})
    assert not needs_x11({"DISPLAY": ":0", **wayland})
    assert not needs_x11({"QT_QPA_PLATFORM": "offscreen"})


def test_slots_are_taken_from_the_lowest_and_have_names_and_keys_of_their_own() -> None:
    assert WindowSlot.lowest_free([]) == WindowSlot(1)
    assert WindowSlot.lowest_free([WindowSlot(1), WindowSlot(3)]) == WindowSlot(2)
    assert (WindowSlot(1).name, WindowSlot(1).key) == ("app", KEY)
    assert (WindowSlot(2).name, WindowSlot(2).key) == ("app-2", f"{KEY}.2")


def test_each_node_of_a_store_remembers_its_own_windows_places() -> None:
    here = WindowSlot.lowest_free([], "ada-0123abcd")
    keys = [here.key, WindowSlot.lowest_free([here], "ada-0123abcd").key]
    assert keys == [f"{KEY}.ada-0123abcd", f"{KEY}.ada-0123abcd.2"]
    for key in keys:
        check_setting(key, Geometry(0, 0, 800, 600).as_value())
    for key in (f"{KEY}.ada", f"{KEY}.ada-0123abcd.1", f"{KEY}.ada-0123abcd.2.3"):
        with pytest.raises(Invalid, match="no setting"):
            check_setting(key, Geometry(0, 0, 800, 600).as_value())


def test_a_new_window_stands_below_the_others_and_wholly_on_a_screen() -> None:
    place = Geometry(100, 50, 900, 700, maximized=True)
    first = cascaded(place, [place], [LEFT])
    assert first == Geometry(132, 82, 900, 700)
    assert cascaded(place, [place, first], [LEFT]) == Geometry(164, 114, 900, 700)
    full = Geometry(0, 0, 1920, 1080)
    assert cascaded(full, [full], [LEFT]) == full


@pytest.mark.parametrize(
    ("key", "is_one"),
    [("2", True), ("17", True), ("999", True), ("1", False), ("0", False), ("02", False)],
)
def test_places_of_other_windows_are_settings_with_a_number(key: str, is_one: bool) -> None:
    value = initial_geometry(LEFT).as_value()
    with nullcontext() if is_one else pytest.raises(Invalid):
        check_setting(f"{KEY}.{key}", value)


def test_other_programs_get_their_own_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = {"LD_LIBRARY_PATH": "/bundle", "LD_LIBRARY_PATH_ORIG": "/theirs", "A": "b"}
    bundled["_PYI_ARCHIVE_FILE"] = "/bundle/signalbox"
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert environment(bundled) == {"LD_LIBRARY_PATH": "/theirs", "A": "b"}
    assert environment({"LD_LIBRARY_PATH": "/bundle"}) == {}
    monkeypatch.delattr("sys.frozen")
    assert environment({"LD_LIBRARY_PATH": "/mine"}) == {"LD_LIBRARY_PATH": "/mine"}


@pytest.mark.parametrize(("system", "host"), [("linux", "0a.localhost"), ("darwin", "127.0.0.1")])
def test_page_is_found_where_names_under_localhost_are_not_known(
    monkeypatch: pytest.MonkeyPatch, system: str, host: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    rest = ":8080/#code=a-b_c&window=app-2"
    assert resolvable_url(f"http://0a.localhost{rest}") == f"http://{host}{rest}"


def test_keys_of_the_menus_read_as_the_platforms_have_them() -> None:
    assert split_shortcut("Ctrl+N") == (["Ctrl"], "N")
    assert split_shortcut("Ctrl++") == (["Ctrl"], "+")
    assert split_shortcut("Ctrl+Shift+Z") == (["Ctrl", "Shift"], "Z")
    assert split_shortcut("F11") == ([], "F11")


def test_colours_of_the_menu_bar_are_the_pages() -> None:
    css = (ROOT / "ui" / "static" / "base.css").read_text()
    names = dict(zip(COLOUR_NAMES, ("bg", "raise", "line", "ink", "faint", "sel"), strict=True))
    for i, name in enumerate(COLOUR_NAMES):
        found = re.search(rf"--{names[name]}: light-dark\((#\w+), (#\w+)\)", css)
        assert found is not None
        assert (COLOURS["light"][i], COLOURS["dark"][i]) == found.groups()


def test_a_printed_address_has_another_line_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://0a.localhost:5000/#code=x"
    monkeypatch.setattr("sys.platform", "linux")
    assert address_lines(url) == url
    monkeypatch.setattr("sys.platform", "darwin")
    assert address_lines(url) == f"{url}\nIn Safari: http://127.0.0.1:5000/#code=x"
