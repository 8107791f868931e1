"""Completion of words: what a shell is told, by real shells, and never by starting anything."""

import os
import pty
import re
import shutil
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from signalbox.desktop.completion import bash_quoted, last_word
from signalbox.desktop.completion_scripts import SCRIPTS
from support.command_line import PROGRAM, Shell
from support.frozen_processes import freeze, thaw
from support.harness import ROOT, Server
from support.raw_http import serving

VALUES: Final = {
    "build.status": "found build",
    "build.step.one": "found one",
    "build-x": "found dash",
    "zigbee:lamp": "found colon",
    "Living Room.temp (°C)": "found space",
    "it$s": "found dollar",
    "o'k": "found quote",
    "a,b": "found comma",
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("completion") / "store") as server:
        for key, value in VALUES.items():
            server.set(key, value, actor="ada")
        server.set("last", 1, actor="ci@host")
        for name in ("oven", "door.left", "door.right"):
            server.set(f"_signalbox.rules.{name}", {"match": "oven"}, actor="ada")
        server.set("last", 2, actor="ci@host")
        yield server


PATIENT: Final = {"SIGNALBOX_COMPLETION_SECONDS": "20"}
"""For tests on a busy machine."""


def completions(
    data_dir: Path, line: str, shell: str = "fish", wait: Mapping[str, str] = PATIENT
) -> list[str]:
    """What a shell is told about a line up to the cursor."""
    env = {"_SIGNALBOX_COMPLETE": f"{shell}_complete", "COMP_LINE": f"signalbox {line}", **wait}
    done = Shell(data_dir).as_process(env=env)
    assert (done.status, done.err) == (0, "")
    return [found.split("\t")[0] for found in done.out.splitlines() if found]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("get bui", ["part,build.", "plain,build-x"]),
        ("get build.", ["plain,build.status", "part,build.step."]),
        ("get build.step.o", ["plain,build.step.one"]),
        ("get 'Liv", ["part,Living Room."]),
        ("get nothing", []),
        ("get build.status ", []),
        ("--json set zig", ["plain,zigbee:lamp"]),
        ("ls build.", ["plain,build.**", "plain,build.status", "part,build.step."]),
        ("ls build.*", []),
        ("tree build.", ["part,build.step."]),
        ("undo --keep las", ["plain,last"]),
        ("undo --keep=las", ["plain,last"]),
        ("get _signalbox.th", []),
        ("log --actor ", ["plain,ci@host", "plain,ada"]),
        ("log --actor a", ["plain,ada"]),
        ("log --status ", ["plain,accepted", "plain,rejected"]),
        ("export --fo", ["plain,--format"]),
        ("get --bogus x", []),
        ("completion z", ["plain,zsh"]),
        ("rule s", ["plain,set", "plain,show"]),
        ("rule show o", ["plain,oven"]),
        ("rule rm ", ["part,door.", "plain,oven"]),
        ("rule set door.", ["plain,door.left", "plain,door.right"]),
        ("rule set x y --type b", ["plain,boolean"]),
        ("check --rule o", ["plain,oven"]),
        ("describe build.s", ["plain,build.status", "part,build.step."]),
        ("ve", ["plain,verify"]),
        ("--re", ["plain,--require-durable"]),
        ("serve --po", ["plain,--port"]),
        ("backup x", ["file,x"]),
        ("import x", ["file,x"]),
        ("--data-dir x", ["dir,x"]),
        ("get a --data-dir x", ["dir,x"]),
        ("run job -- x", ["file,x"]),
    ],
)
def test_a_word_is_completed_by_what_there_is(box: Server, line: str, found: list[str]) -> None:
    assert completions(box.data_dir, line) == found


def test_every_subcommand_is_completed_with_its_help(box: Server) -> None:
    out = Shell(box.data_dir).as_process(
        env={"_SIGNALBOX_COMPLETE": "zsh_complete", "COMP_LINE": "signalbox "}
    )
    assert "plain\nget\nPrint the value of KEY.\n" in out.out


def test_the_store_that_the_line_names_is_asked(box: Server, tmp_path: Path) -> None:
    for line in (f"--data-dir {box.data_dir} get las", f"get --data-dir {box.data_dir} las"):
        assert completions(tmp_path / "other", line) == ["plain,last"]


def test_without_a_server_none_is_started_and_nothing_created(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for line in ("get a", "set a", f"get --data-dir {tmp_path}/third a", "log --actor "):
        assert completions(folder, line) == []
    assert list(tmp_path.iterdir()) == []
    with serving(folder) as server:
        server.set("a", 1)
    before = sorted(folder.iterdir())
    assert completions(folder, "get a") == []
    assert sorted(folder.iterdir()) == before


def test_no_file_of_the_line_is_opened(box: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for a writer
    assert completions(box.data_dir, f"import {tmp_path}/pipe --for") == ["plain,--format"]


def test_a_server_that_does_not_answer_is_not_waited_for(box: Server) -> None:
    freeze(box.process.pid)
    try:
        assert completions(box.data_dir, "get bui", wait={}) == []
    finally:
        thaw(box.process.pid)
    assert completions(box.data_dir, "get las") == ["plain,last"]


@pytest.mark.parametrize("words", [[], ["serve"], ["get", "last"]])
def test_with_the_variable_set_no_window_opens_and_nothing_runs(
    box: Server, words: list[str]
) -> None:
    for instruction in ("bash_complete", "nonsense"):
        done = Shell(box.data_dir).as_process(*words, env={"_SIGNALBOX_COMPLETE": instruction})
        assert "found" not in done.out
        assert done.status == (1 if instruction == "nonsense" else 0)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("a b", 2),
        ("a ", 2),
        ("a 'b c", 2),
        ('a "b c" d', 8),
        ("a b\\ c", 2),
        ("", 0),
        ("a '\\' b", 6),
    ],
)
def test_the_last_word_begins_behind_the_last_space_that_is_no_part_of_one(
    line: str, start: int
) -> None:
    assert last_word(line) == start


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_reads_a_quoted_key_as_the_key(quote: str) -> None:
    keys = [*VALUES, "a`b", 'a"b', "~a", "#a", "a!b", "{a,b}", "a\\b", "$(a)", "温度"]
    words = " ".join(quote + bash_quoted(key, quote) + quote for key in keys)
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == keys


SHELLS: Final = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source script"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source ./script"),
    "fish": (["fish", "-N", "-i"], "source script"),
}
"""How each is started, and reads the script."""
TYPED: Final = {
    "signalbox get zigbee:la\t": "zigbee:lamp",
    "signalbox get zigbee:\t": "zigbee:lamp",
    "signalbox get Liv\tte\t": "Living Room.temp (°C)",
    "signalbox get 'Liv\tte\t": "Living Room.temp (°C)",
    'signalbox get "it\t': "it$s",
    "signalbox get 'it\t": "it$s",
    "signalbox ge\tbuild.\ta\t": "build.status",
    "signalbox get o\t": "o'k",
    "signalbox get a\t": "a,b",
}


@pytest.mark.parametrize("name", [name for name in SHELLS if shutil.which(name)])
def test_a_real_shell_completes_a_line_that_then_runs(
    box: Server, tmp_path: Path, name: str
) -> None:
    program = tmp_path / "signalbox"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o700)
    (tmp_path / "script").write_text(SCRIPTS[name])
    command, init = SHELLS[name]
    lines = [init, *TYPED, "exit"]
    out = in_terminal(command, lines, tmp_path, Shell(box.data_dir).env | PATIENT)
    assert re.findall(r"found \w+", out) == [VALUES[key] for key in TYPED.values()]


def in_terminal(command: list[str], lines: list[str], folder: Path, env: dict[str, str]) -> str:
    """What an interactive shell in `folder` prints where somebody types these lines."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    env = env | {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "xterm"}
    process = subprocess.Popen(
        ["setsid", "--ctty", *command],
        cwd=folder,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    out = bytearray()
    os.write(ours, "".join(f"{line}\n" for line in lines).encode())
    with process, os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):
        while data := terminal.read(65_536):
            out += data
    return out.decode()
