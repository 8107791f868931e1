"""The recipes of the README run as they stand there, by a shell and by Python."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.command_line import Shell
from support.harness import ROOT, SECONDS, Server

BLOCKS: Final = re.findall(
    r"```(?:sh|python)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
)
BIN: Final = Path(sys.executable).parent


class Place:
    """An empty home with its store, and the environment of somebody who works there."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home, self.server = home, server
        self.shell = Shell(server.data_dir)
        self.env = {
            **self.shell.env,
            "HOME": str(home),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def sh(self, begins: str, err: str = "") -> str:
        """What the block that begins so prints; its last command must succeed."""
        done = subprocess.run(
            ["sh", "-c", block(begins)],
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS * 3,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, err)
        return done.stdout

    @contextmanager
    def python(self, begins: str) -> Iterator[subprocess.Popen[str]]:
        """The block that begins so, while it runs."""
        script = self.home / "script.py"
        script.write_text(block(begins))
        with subprocess.Popen(
            [sys.executable, script], env=self.env, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def block(begins: str) -> str:
    (found,) = (text for text in BLOCKS if text.startswith(begins))
    return str(found)


def line_with(text: str, process: subprocess.Popen[str]) -> str:
    """The first line from now on that has `text`."""
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


@pytest.fixture
def place(tmp_path: Path, server: Callable[..., Server]) -> Place:
    home = tmp_path / "home"
    home.mkdir()
    return Place(home, server())


def test_a_training_loop_is_steered_and_stopped(place: Place) -> None:
    with place.python("# train.py") as loop:
        line_with("lr 0.01", loop)
        place.server.set("train.lr", 0.2)
        assert line_with("lr 0.2 ", loop).startswith("step ")
        place.server.set("train.stop", True)
        assert loop.wait(SECONDS) == 0
    assert place.server.value("train.loss") < 80


def test_a_backup_tells_how_it_goes(place: Place) -> None:
    (place.home / "notes").mkdir()
    (place.home / "notes" / "one.md").touch()
    said = place.sh("signalbox run backup")
    assert said.splitlines()[:3] == ["notes/", "notes/one.md", "ok"]
    assert place.server.value("backup.last_line") == "notes/one.md"
    assert (place.home / "notes.tar.gz").exists()


def test_lamps_follow_whoever_switches_them(place: Place) -> None:
    with place.python("# lamps.py") as lamps:
        assert place.sh("signalbox set home/desk/lamp").count("revision ") == 3
        seen = [line_with("home/desk/lamp", lamps).split()[1] for _ in range(3)]
    assert seen == ["on", "off", "on"]


def test_ci_waits_until_a_key_says_that_all_is_green(place: Place) -> None:
    (place.home / "Makefile").write_text("test:\n\t@echo tested\n")
    deploy = place.home / "deploy.sh"
    deploy.write_text("#!/bin/sh\necho deployed\n")
    deploy.chmod(0o700)
    assert "deployed" in place.sh("signalbox set build.status").splitlines()
    (place.home / "Makefile").write_text("test:\n\t@exit 1\n")
    job, wait, ask = block("signalbox set build.status").splitlines()[1:]
    for line, status in ((job, 2), (wait.replace("600", "1"), 5), (ask, 1)):
        done = subprocess.run(["sh", "-c", line], cwd=place.home, env=place.env, check=False)
        assert done.returncode == status, line
    assert place.server.value("build.status") == "failed"


def test_the_past_is_compared_restored_and_exported(place: Place) -> None:
    place.server.set("home/desk/lamp", False)
    place.server.set("home/desk/lamp", True)
    said = place.sh(
        "signalbox diff", "signalbox: Nothing was there then: the first change came later.\n"
    )
    assert "home/desk/lamp" in said
    assert (place.home / "then.ndjson").read_text() == ""
    assert place.server.value("home/desk/lamp") is True
