"""A run of tests that is killed leaves nothing behind, and what it starts heeds every signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from desk import is_running, until
from harness import ROOT

PATIENT: Final = 60.0
"""Seconds for a run of tests that begins within a run of tests."""
EVERYTHING: Final = """
import subprocess, sys
from desk import Desk, screen
from harness import Server
from nats_server import NatsServer

def test_it(tmp_path, browser):
    browser.new_page()
    with screen() as display:
        NatsServer(tmp_path / "nats")
        Server(tmp_path / "store")
        Desk(tmp_path / "window", display).open()
        wait_for_ever()
"""
A_BROKER: Final = """
from redis_server import RedisServer

def test_it(tmp_path):
    RedisServer(tmp_path / "redis")
    wait_for_ever()
"""
WAIT: Final = """
import json, os, threading
import psutil

def wait_for_ever():
    own = psutil.Process()
    there = [(one.pid, one.name()) for one in own.children(recursive=True)]
    with open("new", "w") as file:
        json.dump({"worker": os.getpid(), "there": there}, file)
    os.rename("new", "there")
    threading.Event().wait()
"""


def run(folder: Path, text: str, *options: str, **how: Any) -> subprocess.Popen[bytes]:
    """Pytest on one file of tests, with the plugins of these."""
    (folder / "test_it.py").write_text(WAIT + text)
    needed = ("support.processes", *(("page_window", "desk") if text == EVERYTHING else ()))
    plugins = [f"-p{name}" for name in needed]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *plugins, *options, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        stdout=subprocess.DEVNULL,
        **how,
    )


@contextmanager
def waiting(
    folder: Path, text: str, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], int, dict[psutil.Process, str]]]:
    """A run whose test waits: the run, the pid of who does the test, and what that has started."""
    process = run(folder, text, *options)
    try:
        until((folder / "there").exists, "the test waits", PATIENT)
        found = json.loads((folder / "there").read_text())
        yield process, found["worker"], {psutil.Process(pid): name for pid, name in found["there"]}
    finally:
        process.kill()
        process.wait()


def await_end(there: dict[psutil.Process, str]) -> None:
    until(lambda: not any(map(is_running, there)), f"nothing of {set(there.values())} runs")


def test_a_killed_run_leaves_no_broker_server_screen_browser_or_window(tmp_path: Path) -> None:
    with waiting(tmp_path, EVERYTHING) as (process, _, there):
        assert {"nats-server", "Xvfb", "chromium"} <= set(there.values())
        assert sum(name.startswith(("python", "signalbox")) for name in there.values()) >= 3
        process.kill()
        await_end(there)


@pytest.mark.parametrize("is_worker", [True, False], ids=["worker", "what started it"])
def test_each_of_several_processes_takes_along_what_it_started(
    tmp_path: Path, is_worker: bool
) -> None:
    with waiting(tmp_path, A_BROKER, "-n1", "--maxfail=1") as (process, worker, there):
        assert "valkey-server" in set(there.values())
        os.kill(worker if is_worker else process.pid, signal.SIGKILL)
        await_end(there)


IGNORED: Final = """
import signal, subprocess, sys

def test_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        child.send_signal(signal.{})
        assert child.wait() == {}
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", -2), ("SIGHUP", -1)])
def test_a_signal_that_the_run_was_told_to_ignore_reaches_what_it_starts(
    tmp_path: Path, name: str, status: int
) -> None:
    """As in the background of a shell, and below nohup."""

    def ignore() -> None:
        signal.signal(signal.Signals[name], signal.SIG_IGN)

    with run(tmp_path, IGNORED.format(name, status), preexec_fn=ignore) as process:
        assert process.wait(PATIENT) == 0
