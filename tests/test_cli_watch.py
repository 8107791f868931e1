"""`watch` on the command line: what is, what comes, and every way for it to end."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Shell
from support.harness import SECONDS, Server
from support.raw_http import serving


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as server:
        server.set("lamp.on", False)
        server.set("lamp.level", 70)
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


def said(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """The next lines that it prints, as they come."""
    assert process.stdout is not None
    return [process.stdout.readline().decode().removesuffix("\n") for _ in range(lines)]


def test_the_values_as_they_are_come_first_then_every_change(box: Server, shell: Shell) -> None:
    with shell.started("watch", "lamp.*") as watch:
        assert said(watch, 2) == ["lamp.level\t70", "lamp.on\tfalse"]
        box.set("lamp.on", True)
        box.set("other", 1)
        box.post({"type": "delete", "key": "lamp.level"})
        assert said(watch, 2) == ["lamp.on\ttrue", "lamp.level\t(deleted)"]


def test_until_ends_it_when_a_value_is_reached(box: Server, shell: Shell) -> None:
    with shell.started("watch", "--until", "true", "lamp.on") as watch:
        assert said(watch, 1) == ["lamp.on\tfalse"]
        box.set("lamp.on", 1)  # equal to nothing but itself
        box.set("lamp.on", True)
        assert said(watch, 2) == ["lamp.on\t1", "lamp.on\ttrue"]
        assert watch.wait(SECONDS) == 0


def test_until_ends_it_at_once_where_the_value_is_there(shell: Shell) -> None:
    assert shell.ok("watch", "lamp.level", "--until", "70.0") == "lamp.level\t70\n"


def test_count_ends_it_and_after_leaves_out_what_is(box: Server, shell: Shell) -> None:
    assert len(shell.ok("watch", "--count", "2").splitlines()) == 2
    revision = box.set("lamp.on", True)["revision"]
    box.set("lamp.level", 20)
    out = shell.ok("watch", "--after", str(revision), "--count", "1")
    assert out == "lamp.level\t20\n"


def test_as_json_a_line_has_all_that_is_known(box: Server, shell: Shell) -> None:
    with shell.started("watch", "lamp.*", "--json") as watch:
        current = [json.loads(line) for line in said(watch, 2)]
        assert [one["is_current"] for one in current] == [True, True]
        outcome = box.set("lamp.on", None, actor="tester")
        [line] = said(watch, 1)
    change: dict[str, Any] = json.loads(line)
    assert (change["key"], change["value"], change["deleted"]) == ("lamp.on", None, False)
    assert (change["revision"], change["actor"]) == (outcome["revision"], "tester")


def test_exec_gets_each_change_on_its_stdin_and_nothing_is_spliced_in(
    box: Server, shell: Shell, tmp_path: Path
) -> None:
    evil = "$(touch pwned); `touch pwned`"
    out = tmp_path / "changes"
    program = f"cat >> {out}; echo taken"
    with shell.started("watch", "lamp.on", "--count", "3", "--exec", program) as watch:
        assert said(watch, 1) == ["taken"]
        box.set("lamp.on", evil)
        box.set("lamp.on", "two\nlines")
        assert said(watch, 2) == ["taken", "taken"]
        assert watch.wait(SECONDS) == 0
    lines = out.read_text().split("\n")
    assert lines.pop() == "", "each change ends its line"
    assert [json.loads(line)["value"] for line in lines] == [False, evil, "two\nlines"]
    assert not list(tmp_path.rglob("pwned"))


def test_it_goes_on_with_a_server_that_was_killed_and_came_back(tmp_path: Path) -> None:
    data_dir = tmp_path / "store"
    first = Server(data_dir)
    first.set("n", 0)
    try:
        with Shell(data_dir).started("watch", "n") as watch:
            assert said(watch, 1) == ["n\t0"]
            first.set("n", 1)
            first.kill()
            with serving(data_dir) as second:
                second.set("n", 2)
                second.set("n", 3)
                assert said(watch, 3) == ["n\t1", "n\t2", "n\t3"]
    finally:
        first.kill()


def test_an_interrupt_ends_it_without_a_traceback(shell: Shell) -> None:
    with shell.started("watch") as watch:
        said(watch, 2)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(SECONDS) == 130
        assert watch.stderr is not None
        assert b"Traceback" not in watch.stderr.read()


def test_who_reads_no_more_ends_it_quietly(box: Server, shell: Shell) -> None:
    with shell.started("watch", "lamp.on") as watch:
        said(watch, 1)
        assert watch.stdout is not None
        watch.stdout.close()
        box.set("lamp.on", True)
        assert watch.wait(SECONDS) == 0
        assert watch.stderr is not None
        assert watch.stderr.read() == b""


def test_a_reader_that_has_ended_ends_it_without_another_change(shell: Shell) -> None:
    with shell.started("watch", "lamp.on") as watch:
        said(watch, 1)
        assert watch.stdout is not None
        watch.stdout.close()
        assert watch.wait(SECONDS) == 0
        assert watch.stderr is not None
        assert watch.stderr.read() == b""


def test_a_program_that_is_run_goes_on_where_nobody_reads(
    box: Server, shell: Shell, tmp_path: Path
) -> None:
    out = tmp_path / "changes"
    program = f"cat >>{out}; echo taken >&2"
    with shell.started("watch", "lamp.on", "--count", "2", "--exec", program) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        watch.stdout.close()
        assert watch.stderr.readline() == b"taken\n"
        box.set("lamp.on", True)
        assert watch.wait(SECONDS) == 0
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "status"),
    [([], 0), (["--until", "true"], 5), (["--count", "2"], 5), (["--count", "1"], 0)],
)
def test_timeout_ends_it_and_says_whether_it_waited_in_vain(
    shell: Shell, options: list[str], status: int
) -> None:
    done = shell("watch", "lamp.on", "--timeout", "0.2", *options)
    assert (done.status, done.err) == (status, "")
    assert done.out == "lamp.on\tfalse\n"


def test_until_takes_a_text_as_set_does(box: Server, shell: Shell) -> None:
    box.set("lamp.scene", "dinner time")
    assert shell.ok("watch", "lamp.scene", "--until", "dinner time") == "lamp.scene\tdinner time\n"


@pytest.mark.parametrize("arguments", [["a\u00a0b"], ["--count", "0"], ["--after", "x"]])
def test_what_cannot_be_watched_is_refused(shell: Shell, arguments: list[str]) -> None:
    done = shell("watch", *arguments)
    assert done.status in (1, 2)
    assert done.err
