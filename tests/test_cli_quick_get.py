"""`get KEY` in a script is answered without loading the command line, and no differently."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from signalbox.desktop.quick_get import print_value
from support.command_line import CommandResult, Shell
from support.harness import Server
from support.raw_http import serving

VALUES: Final = [
    "text",
    '""',
    r'"two\nlines\ttab"',
    r'"\u001b[31mred"',
    '"Zoë 温度 😀"',
    "1",
    "-0.5",
    "true",
    "null",
    '{"a": [1, {"ü": null}]}',
    "1" + 5_000 * "0",
]
"""As `set` takes them."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("quick") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:20])
def test_it_prints_what_the_command_line_prints(shell: Shell, value: str) -> None:
    shell.ok("set", "k", value)
    assert shell.as_process("get", "k") == shell("get", "k")


def test_what_could_not_be_printed_is_not_left_to_the_command_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would ask once more, and print once more what may have been printed in part."""
    shell.ok("set", "k", "1")
    with suppress(OSError), Path("/dev/full").open("w") as full:  # nor can the rest be written
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(OSError, match="No space left"):
            print_value({"--data-dir": str(shell.data_dir)}, ["get", "k"])


def test_the_command_line_is_not_loaded_for_it(shell: Shell) -> None:
    shell.ok("set", "a.b", "1")
    for words in (["get", "a.b"], ["--data-dir", str(shell.data_dir), "get", "a.b"]):
        done = shell.as_process(*words, env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert done.out == "1\n"
        assert "signalbox.desktop.quick_get" in done.err
        assert "click" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["get", "missing"],
        ["get", "a*"],
        ["get", "--json"],
        ["get", "-5"],
        ["get", "k", "more"],
        ["get"],
        ["--json", "get", "missing"],
        ["--data-dir", "/no/such/folder", "get", "k"],
        ["--data-dir", "", "get", "k"],
        ["--engine", "memory", "get", "k"],
    ],
)
def test_all_else_is_left_to_the_command_line(shell: Shell, words: list[str]) -> None:
    assert shell.as_process(*words) == shell(*words)


def test_without_a_server_one_is_started_as_ever(shell: Shell) -> None:
    other = Shell(shell.data_dir.parent / "other")
    with serving(other.data_dir) as server:
        server.set("k", "kept")
    assert other.as_process("get", "k") == CommandResult(0, "kept\n", "")
