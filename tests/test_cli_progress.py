"""Progress on a terminal: on stderr alone, removed at the end; what is printed stays the same."""

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from support.command_line import PROGRAM, Shell
from support.harness import ROOT
from support.raw_http import Client, serving

KEYS: Final = 3_000
CURSOR_SHOWN: Final = "\x1b[?25h"
LINE_CLEARED: Final = "\x1b[2K"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data_dir = tmp_path_factory.mktemp("progress") / "store"
    with serving(data_dir) as server:
        body = "".join(f'{{"type":"set","key":"k.{n}","value":{n}}}\n' for n in range(KEYS))
        with Client(server) as client:
            client.load(body.encode())
        yield Shell(data_dir)


def with_terminal_for_errors(shell: Shell, *arguments: str) -> tuple[str, str]:
    """What a subcommand prints into a pipe, and what it shows on a terminal as its stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={**shell.env, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    out, _ = process.communicate()
    shown = bytearray()
    with os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):
        while data := terminal.read(65_536):  # the last reader of a closed one gets EIO
            shown += data
    assert process.returncode == 0
    return out.decode(), shown.decode()


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("export", "Exporting"),
        ("export k.** --format csv --at now", "Exporting"),
        ("export --history", "Exporting"),
        ("diff 0 now", "Comparing"),
        ("diff 0 now --json", "Comparing"),
    ],
)
def test_it_is_shown_while_something_is_printed_elsewhere(
    shell: Shell, words: str, title: str
) -> None:
    out, shown = with_terminal_for_errors(shell, *words.split())
    assert out == shell.ok(*words.split())
    assert title in shown
    assert shown.rstrip("\r\n").endswith(LINE_CLEARED)
    assert CURSOR_SHOWN in shown


def test_a_backup_shows_how_far_it_is(shell: Shell, tmp_path: Path) -> None:
    out, shown = with_terminal_for_errors(shell, "backup", str(tmp_path / "copy.db"))
    assert out.startswith(f"{tmp_path}/copy.db: ")
    assert "Copying" in shown
    assert shown.rstrip("\r\n").endswith(LINE_CLEARED)


def test_what_is_printed_on_the_same_terminal_has_no_bar_in_it(shell: Shell) -> None:
    for words, line in (("export k.1", '"key":"k.1"'), ("diff 0 now k.1", "+ k.1")):
        shown = shell.on_terminal(*words.split()).out
        _, _, printed = shown.rpartition(LINE_CLEARED)
        assert line in printed
        assert "Exporting" not in printed
        assert "Comparing" not in printed
