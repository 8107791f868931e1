"""What owns the store alone follows a command whose own server is only just ending."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import signalbox
from support.command_line import Shell
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


def test_a_server_that_is_used_is_still_refused(shell: Shell) -> None:
    with serving(shell.data_dir):
        done = shell("rebuild")
    assert (done.status, done.out) == (4, "")
    assert f"Another Signalbox server is using {shell.data_dir} already." in done.err
