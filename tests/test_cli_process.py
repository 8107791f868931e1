"""Every subcommand once as a process of its own, since the other tests run them in theirs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from signalbox.desktop import cli
from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving

BESIDE_A_SERVER: Final = {
    "get": (["a"], "1\n"),
    "set": (["new", "-5"], r"revision \d+\n"),
    "rm": (["gone"], r"deleted 1, revision \d+\n"),
    "add": (["n", "2"], r"revision \d+\n"),
    "toggle": (["on"], r"revision \d+\n"),
    "merge": (["box", '{"x": 1}'], r"revision \d+\n"),
    "mv": (["old", "moved"], r"revision \d+\n"),
    "ls": (["a"], "a\t1\n"),
    "tree": (["c."], "x\t1\n"),
    "log": (["--limit", "1", "--json"], r'\{"id": .*\}\n'),
    "describe": (["a"], "value\t1\nallowed\t1\n"),
    "check": ([], ""),
    "rule": (["ls"], ""),
    "status": (["--json"], r'\{"version": .*\}\n'),
    "watch": (["a", "--count", "1"], "a\t1\n"),
    "history": (["a", "--json"], r'\{.*"value": 1.*\}\n'),
    "diff": (["1", "2", "--json"], r"(\{.*\}\n)+"),
    "undo": ([], r"undone: .* by cli, .*\nrevision \d+\n"),
    "redo": ([], r"done again: .* by cli, .*\nrevision \d+\n"),
    "restore": (["1", "a", "--dry-run"], "Nothing would change: it is as in revision 1\n"),
    "import": (["-", "--format", "lines"], "1 line accepted, 0 rejected.*\n"),
    "export": (["a", "--format", "json"], r'\{\n"a": 1\n\}\n'),
    "replay": (["-", "--speed", "0"], "0 transactions sent, .*\n"),
    "run": (["job", "--", sys.executable, "-c", "print(1)"], "1\n"),
    "compact": (
        ["--dry-run"],
        "0 changes in 0 transactions would go; for each prefix, .*\nprefix\t.*\n.*\n",
    ),
}
"""What is given and what is said, as an expression; the store is that of `filled`."""
ALONE: Final = {
    "completion": (["bash"], "# Completion of signalbox in bash"),
    "backup": (["{folder}/copy.db"], r".*copy\.db: [\d,]+ bytes\n"),
    "verify": ([], "sound: revision 1, 1 key\n"),
    "rebuild": ([], "sound: revision 1, 1 key\n"),
    "token": ([], r"read   \S+\nwrite  \S+\n"),
    "path": ([], r".*signalbox\.db\n"),
    "migrate": (["--to", "sqlite:{folder}/moved"], "1 revision copied .*\n"),
}
ELSEWHERE: Final = {"serve"}  # by every test that has a server


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("process") / "store") as server:
        keys = {"a": 1, "gone": 1, "n": 1, "on": True, "box": {}, "old": 1, "c.x": 1}
        for key, value in keys.items():
            server.set(key, value)
        server.set("by.us", 1, actor="cli")
        yield server


def test_every_subcommand_is_tried() -> None:
    assert {*BESIDE_A_SERVER, *ALONE, *ELSEWHERE} == set(cli.SUBCOMMANDS)


@pytest.mark.parametrize("name", BESIDE_A_SERVER)
def test_a_process_does_it_on_a_server_that_runs(filled: Server, name: str) -> None:
    arguments, said = BESIDE_A_SERVER[name]
    stdin = b"imported = 1\n" if name == "import" else b""
    if name == "redo":
        Shell(filled.data_dir).ok("undo")
    done = Shell(filled.data_dir).as_process(name, *arguments, stdin=stdin)
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(said, done.out)


@pytest.mark.parametrize("name", ALONE)
def test_a_process_does_it_on_the_file(tmp_path: Path, name: str) -> None:
    arguments, said = ALONE[name]
    shell = Shell(tmp_path / "store")
    with serving(shell.data_dir) as server:
        server.set("a", 1)
    done = shell.as_process(name, *(each.format(folder=tmp_path) for each in arguments))
    assert (done.status, done.err) == (0, "")
    assert re.match(said, done.out)
