"""Subcommands that need the store alone: after another command, beside a server or a window."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

import signalbox
from signalbox import client
from signalbox.desktop import single_instance
from support.command_line import Shell
from support.frozen_processes import freeze, thaw
from support.raw_http import serving

STILL_THERE: Final = 1.0
"""Seconds for which the server of the first command is certainly not gone."""


@contextmanager
def ending(data_dir: Path) -> Iterator[None]:
    """In the block a server that nobody uses any more ends, but not at once."""
    _, process = signalbox.start_server(data_dir)
    assert process is not None
    assert process.stdin is not None
    process.send_signal(signal.SIGSTOP)
    process.stdin.close()
    later = threading.Timer(STILL_THERE, process.send_signal, [signal.SIGCONT])
    later.start()
    try:
        yield
    finally:
        later.join()
        process.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "store")


@pytest.mark.parametrize(
    "command", [["rebuild"], ["token", "--rotate"], ["migrate", "--to", "sqlite:{}/copy"]]
)
def test_a_command_that_needs_the_store_alone_waits(
    shell: Shell, tmp_path: Path, command: list[str]
) -> None:
    with ending(shell.data_dir):
        shell.ok(*(word.format(tmp_path) for word in command))


def test_serve_waits(shell: Shell, tmp_path: Path) -> None:
    with serving(tmp_path / "other"):
        pass  # from now on a server starts at once
    with ending(shell.data_dir), serving(shell.data_dir) as server:
        server.set("k", 1)
    assert shell.ok("get", "k") == "1\n"


@pytest.mark.parametrize("command", [["rebuild"], ["token", "--rotate"]])
def test_a_server_that_is_used_is_still_refused(shell: Shell, command: list[str]) -> None:
    with serving(shell.data_dir) as server:
        done = shell(*command)
    assert (done.status, done.out) == (4, "")
    assert f"(process {server.pid}) is using {shell.data_dir} already: end it first." in done.err


@pytest.mark.parametrize("command", [["rebuild"], ["token", "--rotate"]])
def test_beside_a_window_it_says_to_close_that(shell: Shell, command: list[str]) -> None:
    with serving(shell.data_dir):
        window = single_instance.lock_or_raise_window(shell.data_dir)
        assert window is not None
        with window:
            done = shell(*command)
    assert done.err == f"signalbox: A window of {shell.data_dir} is open: close it first.\n"


def test_the_number_of_a_process_that_has_ended_is_not_reported(shell: Shell) -> None:
    with serving(shell.data_dir) as server:
        file = shell.data_dir / "endpoint.json"
        file.write_text(file.read_text().replace(f'"pid": {server.pid}', '"pid": 999999999'))
        done = shell("rebuild")
    assert "Another Signalbox server is using" in done.err


def test_the_number_of_a_later_process_is_not_reported(shell: Shell) -> None:
    with serving(shell.data_dir) as server:
        began = psutil.Process(server.pid).create_time()
        os.utime(shell.data_dir / "endpoint.json", (began - 60, began - 60))
        done = shell("rebuild")
    assert "Another Signalbox server is using" in done.err


def test_a_server_that_hangs_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SERVER_TIMEOUT", 0.5)
    with serving(shell.data_dir) as server:
        freeze(server.pid)
        try:
            started = shell("get", "k")
            found = shell("token", "--login")
            window = single_instance.lock_or_raise_window(shell.data_dir)
            assert window is not None
            with window, pytest.raises(single_instance.NoAnswer, match=rf"process {server.pid}"):
                single_instance.lock_or_raise_window(shell.data_dir, timeout=0.1)
        finally:
            thaw(server.pid)
    said = f"signalbox: The server (process {server.pid}) does not answer. Wait until it does, or "
    for done in (started, found):
        assert (done.status, done.out) == (4, "")
        assert done.err.startswith(said)
