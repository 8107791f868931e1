"""Where no window can be shown: why is said, and where a browser finds the page."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from desk import Desk, desk, display, until
from harness import SECONDS

__all__ = ["desk", "display"]

NOTHING = "/nowhere"
"""A PATH on which there is no program that could show a message."""


def test_without_display_serves_and_prints_an_address_to_log_in(desk: Desk) -> None:
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("Open ").strip()
    code = url.partition("#code=")[2]
    body = json.dumps({"code": code}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{desk.endpoint()['url']}/redeem", body, headers)
    with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
        assert "<nav" in json.load(answer)["page"]
    assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in desk.stderr()
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


@pytest.mark.parametrize("display_name", [":9999", "nowhere:1"])
def test_display_that_does_not_answer_is_named(desk: Desk, display_name: str) -> None:
    process = desk.start(DISPLAY=display_name)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://")
    assert f"The display {display_name} does not answer." in desk.stderr()
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0


def test_broken_qt_names_the_debian_packages(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "PySide6"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    (broken / "QtWebEngineWidgets.abi3.so").write_bytes(b"not a library")
    process = desk.start(PYTHONPATH=str(broken.parent), PATH=NOTHING)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://")
    assert "sudo apt-get install libegl1" in desk.stderr()
    assert "Traceback" not in desk.stderr()
    before = desk.endpoint()
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: desk.endpoint()["pid"] != before["pid"], "another server")
    process.terminate()
    assert process.wait(SECONDS) == 0
    until(lambda: not desk.servers(), "the server has gone")


def test_output_that_cannot_be_written_ends_it_with_one_sentence(desk: Desk) -> None:
    desk.stdout = os.open("/dev/full", os.O_WRONLY)
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    os.close(desk.stdout)
    assert process.wait(SECONDS) == 1
    assert desk.stderr().splitlines()[-1].startswith("signalbox: Not all could be printed: ")
    assert "Traceback" not in desk.stderr()
    until(lambda: not desk.servers(), "the server has gone")


def test_signal_while_the_first_server_starts_ends_at_once(desk: Desk, tmp_path: Path) -> None:
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


def test_signal_while_the_server_is_replaced_leaves_no_process(desk: Desk) -> None:
    process = desk.start(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://")
    os.kill(desk.endpoint()["pid"], signal.SIGKILL)
    until(lambda: desk.servers() != [], "another server is starting")
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert desk.servers() == []


def test_web_view_that_does_not_start_is_named(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "qtpy.py").write_text("raise ImportError('it is broken')")
    process = desk.start(PYTHONPATH=str(tmp_path / "broken"), PATH=NOTHING)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Open http://")
    assert "The web view does not start: " in desk.stderr()


def test_data_directory_that_cannot_be_used_is_named_without_a_traceback(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desk.data_dir = tmp_path / "file" / "data"
    assert desk.start(PATH=NOTHING).wait(SECONDS) == 4
    assert desk.stderr().startswith(
        f"signalbox: The data directory {desk.data_dir} cannot be used: "
    )
    assert desk.stderr().count("\n") == 1


def test_store_that_cannot_be_opened_says_why(desk: Desk) -> None:
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


def test_without_a_terminal_a_message_says_what_to_install(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "PySide6"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    (broken / "QtWebEngineWidgets.abi3.so").write_bytes(b"not a library")
    seen = tmp_path / "seen"
    path = box(tmp_path / "bin", seen)
    assert desk.start(PYTHONPATH=str(broken.parent), PATH=path).wait(SECONDS) == 4
    assert "sudo apt-get install libegl1" in seen.read_text()
    assert "--title=Signalbox" in seen.read_text()
    assert "Traceback" not in desk.stderr()
    until(lambda: not desk.servers(), "the server has gone")


def test_without_a_terminal_a_message_says_why_the_store_cannot_be_used(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desk.data_dir = tmp_path / "file" / "data"
    seen = tmp_path / "seen"
    assert desk.start(PATH=box(tmp_path / "bin", seen)).wait(SECONDS) == 4
    assert f"The data directory {desk.data_dir} cannot be used: " in seen.read_text()
