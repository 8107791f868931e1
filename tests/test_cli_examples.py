"""The examples of the help: every subcommand has some, and each is a command line that is taken."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from signalbox.desktop import cli
from signalbox.desktop.examples import EXAMPLES, PROGRAM
from support.command_line import Shell
from support.raw_http import serving

LINES: Final = [*PROGRAM, *(line for lines in EXAMPLES.values() for line in lines)]
FILES: Final = ("keys.csv", "history.ndjson", "oven-range.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data_dir = tmp_path_factory.mktemp("examples") / "store"
    with serving(data_dir):
        yield data_dir


def words_of(line: str) -> list[str]:
    """The words of `signalbox` in a line of a shell, without its redirections and pipes."""
    command = line[line.index("signalbox") :].removesuffix(')"')
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split = True
    _, *words = lexer
    ends = (at for at, word in enumerate(words) if word in ("|", ">", "<"))
    return words[: next(ends, len(words))]


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_taken(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(store))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).touch()
    group = cli.command()
    words = words_of(line)
    if not words:
        return
    with group.make_context("signalbox", words) as context:
        rest = [*context._protected_args, *context.args]  # noqa: SLF001 - the words that are left
        chosen, subcommand, rest = group.resolve_command(context, rest)
        assert subcommand is not None
        with subcommand.make_context(chosen, rest, parent=context):
            pass


def test_every_subcommand_has_examples_and_no_other() -> None:
    assert sorted(EXAMPLES) == sorted(cli.SUBCOMMANDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_of_a_subcommand_shows_them_unbroken(tmp_path: Path, name: str) -> None:
    shell = Shell(tmp_path)
    out = shell.as_process("serve", "--help").out if name == "serve" else shell.ok(name, "--help")
    assert {line.strip() for line in out.splitlines()} >= {*EXAMPLES[name]}
