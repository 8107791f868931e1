"""Where no window can be shown: why is said, and where a browser finds the page."""

import json
import os
import signal
import stat
import subprocess
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from support.desktop_window import PROGRAM, DesktopApp, until
from support.harness import SECONDS

NOTHING = "/nowhere"
"""A PATH on which there is no program that could show a message."""


def redeemed(desk: DesktopApp, url: str) -> str:
    """The page that an address opens."""
    body = json.dumps({"code": url.partition("#code=")[2]}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{desk.endpoint()['url']}/redeem", body, headers)
    with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
        return str(json.load(answer)["page"])


def printed(process: subprocess.Popen[str]) -> str:
    """The address that it prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Open http://")
    return line.removeprefix("Open ").strip()


def broken_qt(folder: Path) -> str:
    """A PYTHONPATH with a Qt that does not load."""
    package = folder / "broken" / "PySide6"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "QtWebEngineWidgets.abi3.so").write_bytes(b"not a library")
    return str(package.parent)


def test_without_display_serves_and_prints_an_address_to_log_in(desk: DesktopApp) -> None:
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert "<nav" in redeemed(desk, printed(process))
    assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in desk.stderr()
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


@pytest.mark.parametrize("display_name", [":9999", "nowhere:1"])
def test_display_that_does_not_answer_is_named(desk: DesktopApp, display_name: str) -> None:
    process = desk.start(DISPLAY=display_name)
    assert printed(process)
    assert f"The display {display_name} does not answer." in desk.stderr()
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0


def test_broken_qt_names_the_debian_packages(desk: DesktopApp, tmp_path: Path) -> None:
    process = desk.start(PYTHONPATH=broken_qt(tmp_path), PATH=NOTHING)
    assert printed(process)
    assert "sudo apt-get install libegl1" in desk.stderr()
    assert "Traceback" not in desk.stderr()
    before = desk.endpoint()
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: desk.endpoint()["pid"] != before["pid"], "another server")
    process.terminate()
    assert process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")


def test_output_that_cannot_be_written_ends_it_with_one_sentence(desk: DesktopApp) -> None:
    desk.stdout = os.open("/dev/full", os.O_WRONLY)
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    os.close(desk.stdout)
    assert process.wait(SECONDS) == 1
    assert desk.stderr().splitlines()[-1].startswith("signalbox: Not all could be printed: ")
    assert "Traceback" not in desk.stderr()
    until(lambda: not desk.servers(), "the server has gone")


def test_signal_while_the_first_server_starts_ends_at_once(
    desk: DesktopApp, tmp_path: Path
) -> None:
    """The server waits for a pipe into which nobody writes."""
    os.mkfifo(pipe := tmp_path / "pipe")
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif 'signalbox.server' in sys.orig_argv: open({str(pipe)!r})\n"
    )
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None, PYTHONPATH=str(tmp_path))
    until(lambda: desk.servers() != [], "a server is starting")
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


def test_signal_while_the_server_is_replaced_leaves_no_process(desk: DesktopApp) -> None:
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert printed(process)
    os.kill(desk.endpoint()["pid"], signal.SIGKILL)
    until(lambda: desk.servers() != [], "another server is starting")
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


def test_page_opens_in_the_browser_by_a_file_that_only_its_owner_reads(
    desk: DesktopApp, tmp_path: Path, browser: BrowserContext
) -> None:
    path = box(tmp_path / "bin", tmp_path / "shown")
    opener, opened = tmp_path / "bin" / "xdg-open", tmp_path / "opened.html"
    opener.write_text(f'#!/bin/sh\n/bin/cp -p "$1" "{opened}"\n')
    opener.chmod(0o755)
    process = desk.start(PYTHONPATH=broken_qt(tmp_path), PATH=path)
    other = printed(process)
    assert stat.S_IMODE(opened.stat().st_mode) == 0o600
    page = browser.new_page()
    page.goto(opened.as_uri())
    page.wait_for_selector("nav", timeout=SECONDS * 1000)
    assert "<nav" in redeemed(desk, other), "another address"
    assert "opens in the browser" in desk.stderr()
    assert not (tmp_path / "shown").exists(), "no message box besides"
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert not (desk.data_dir / "open.html").exists()


def test_without_the_extra_for_the_window_it_is_named(desk: DesktopApp, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.lower().startswith(("pywebview", "webview", "pyside6", "qtpy")):
            (site / package.name).symlink_to(package)
    desk.program = tmp_path / "venv" / "bin" / "signalbox"
    script = PROGRAM.read_text().splitlines(keepends=True)
    desk.program.write_text("".join([f"#!{desk.program.with_name('python')}\n", *script[1:]]))
    desk.program.chmod(0o755)
    process = desk.start(PATH=NOTHING)
    assert "<nav" in redeemed(desk, printed(process))
    why, *_ = desk.stderr().splitlines()
    assert "install Signalbox again with its extra [window]." in why
    process.terminate()
    assert process.wait(SECONDS) == 0


def test_web_view_that_does_not_start_is_named(desk: DesktopApp, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "qtpy.py").write_text("raise ImportError('it is broken')")
    process = desk.start(PYTHONPATH=str(tmp_path / "broken"), PATH=NOTHING)
    assert printed(process)
    assert "The web view does not start: " in desk.stderr()


def test_data_directory_that_cannot_be_used_is_named_without_a_traceback(
    desk: DesktopApp, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desk.data_dir = tmp_path / "file" / "data"
    assert desk.start(PATH=NOTHING).wait(SECONDS) == 4
    assert desk.stderr().startswith(
        f"signalbox: The data directory {desk.data_dir} cannot be used: "
    )
    assert desk.stderr().count("\n") == 1


def test_store_that_cannot_be_opened_says_why(desk: DesktopApp) -> None:
    desk.data_dir.mkdir()
    (desk.data_dir / "signalbox.db").write_bytes(b"this is no database" * 100)
    assert desk.start(PATH=NOTHING).wait(SECONDS) == 4
    file = desk.data_dir / "signalbox.db"
    assert desk.stderr().startswith(f"signalbox: The store {file} is damaged")
    assert desk.stderr().count("\n") == 1


def box(folder: Path, seen: Path) -> str:
    """A PATH whose only program shows messages: it writes down what."""
    folder.mkdir()
    zenity = folder / "zenity"
    zenity.write_text(f'#!/bin/sh\nfor each; do echo "$each"; done > "{seen}"\n')
    zenity.chmod(0o755)
    return str(folder)


def test_without_a_terminal_a_message_says_what_to_install(
    desk: DesktopApp, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    path = box(tmp_path / "bin", seen)
    assert desk.start(PYTHONPATH=broken_qt(tmp_path), PATH=path).wait(SECONDS) == 4
    assert "sudo apt-get install libegl1" in seen.read_text()
    assert "--title=Signalbox" in seen.read_text()
    assert "Traceback" not in desk.stderr()
    until(lambda: not desk.servers(), "the server has gone")


def test_without_a_terminal_a_message_says_why_the_store_cannot_be_used(
    desk: DesktopApp, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desk.data_dir = tmp_path / "file" / "data"
    seen = tmp_path / "seen"
    assert desk.start(PATH=box(tmp_path / "bin", seen)).wait(SECONDS) == 4
    assert f"The data directory {desk.data_dir} cannot be used: " in seen.read_text()
