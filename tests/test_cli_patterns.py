"""Patterns, prefixes and moments on the command line that begin with `-`."""

from collections.abc import Iterator

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with serving(tmp_path_factory.mktemp("patterns") / "store") as server:
        fill(server)
        yield Shell(server.data_dir)


def fill(server: Server) -> None:
    server.set("-temp.a", 1)
    server.set("other", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls", "-temp.*"], "-temp.a\t1\n"),
        (["ls", "--", "-temp.*"], "-temp.a\t1\n"),
        (["tree", "-temp"], "a\t1\n"),
        (["watch", "-temp.*", "--count", "1"], "-temp.a\t1\n"),
        (["export", "-temp.*", "--format=env"], "_TEMP_A=1\n"),
        (["diff", "0", "1", "-temp.*"], "+ -temp.a\t1\n1 key differs from revision 0 to 1\n"),
        (["restore", "2", "-temp.*"], "unchanged at revision 2\n"),
    ],
)
def test_a_pattern_may_begin_with_a_dash(shell: Shell, arguments: list[str], said: str) -> None:
    assert shell.ok(*arguments) == said


@pytest.mark.parametrize("name", ["ls", "tree", "watch", "export", "diff", "restore"])
def test_a_mistyped_option_is_reported_and_help_is_given(shell: Shell, name: str) -> None:
    moments = {"diff": ["0", "1"], "restore": ["2"]}.get(name, [])
    done = shell(name, *moments, "--jsno")
    assert (done.status, "There is no option --jsno" in done.err) == (2, True)
    assert shell.ok(name, "--help").startswith(f"Usage: signalbox {name}")


def test_what_is_no_moment_is_reported_as_such(shell: Shell) -> None:
    done = shell("diff", "-5", "now")
    assert (done.status, "No such option" in done.err, "-5" in done.err) == (2, False, True)
