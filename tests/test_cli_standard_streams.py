"""Standard streams that are closed, full or not read, and programs that leave a child."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import PROGRAM, CommandResult, Shell
from support.desktop_window import until
from support.harness import ROOT, SECONDS, Server
from support.raw_http import Client, serving


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("streams") / "store") as server:
        with Client(server) as client:
            client.send("set", key="a", value="x" * 100)
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


def in_sh(box: Server, line: str, *arguments: str) -> CommandResult:
    """A subcommand in a shell's `line`, where it stands for `$@`."""
    done = subprocess.run(
        ["sh", "-c", line, "sh", *PROGRAM, *arguments],
        cwd=ROOT,
        env=Shell(box.data_dir).env,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return CommandResult(done.returncode, done.stdout, done.stderr)


PRINTING = [["get", "a"], ["ls"], ["export"], ["history", "a"], ["status", "--json"], ["--help"],
            ["set", "full", "1"]]  # fmt: skip


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_full_stdout_is_reported_in_one_sentence(box: Server, arguments: list[str]) -> None:
    done = in_sh(box, '"$@" >/dev/full', *arguments)
    said = "signalbox: Not all could be printed: what stdout is written to is full.\n"
    assert (done.status, done.err) == (1, said)


def test_a_full_stderr_changes_no_exit_status(box: Server) -> None:
    assert in_sh(box, '"$@" 2>/dev/full', "get", "nothing").status == 3
    assert in_sh(box, '"$@" 2>/dev/full', "bogus").status == 2


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_closed_stdout_takes_nothing_and_nothing_is_said(
    box: Server, arguments: list[str]
) -> None:
    assert in_sh(box, '"$@" >&-', *arguments) == CommandResult(0, "", "")


def test_a_reader_that_has_enough_is_no_error(box: Server, client: Client) -> None:
    body = "".join(f'{{"type":"set","key":"many.{n}","value":{n}}}\n' for n in range(30_000))
    client.load(body.encode())
    assert in_sh(box, '"$@" | head -n 1', "ls", "many.*") == CommandResult(0, "many.0\t0\n", "")


def test_a_closed_stdin_is_an_empty_one(box: Server) -> None:
    assert in_sh(box, '"$@" <&-', "import", "-").out.startswith("0 lines accepted")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_run_tells_the_end_whatever_is_closed(box: Server, client: Client, closed: str) -> None:
    program = ["--", "sh", "-c", "echo hi; echo lo >&2; exit 3"]
    assert in_sh(box, f'"$@" {closed}', "run", "closed", *program).status == 3
    state = client.state("closed.*")
    assert (state["closed.status"], state["closed.exit_code"]) == ("failed", 3)
    assert state["closed.last_line"] in ("hi", "lo")


def test_run_keeps_what_a_full_disk_does_not_take(box: Server, client: Client) -> None:
    done = in_sh(box, '"$@" >/dev/full', "run", "words", "--", "sh", "-c", "echo last words")
    assert done.status == 0
    assert done.err.count("\n") == 1
    assert client.value("words.last_line") == "last words"
    assert client.value("words.status") == "ok"


def test_run_tells_the_end_at_once_and_ends_with_the_pipe(
    box: Server, client: Client, tmp_path: Path
) -> None:
    """The child in the background holds the pipe until it is ended."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    child = f"echo started; (cat {gate}; echo late) &"
    command = [*PROGRAM, "run", "deploy", "--", "sh", "-c", child]
    env = Shell(box.data_dir).env
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as process:
        until(lambda: client.state("deploy.*").get("deploy.status") == "ok", "the end is told")
        state = client.state("deploy.*")
        assert (state["deploy.exit_code"], state["deploy.last_line"]) == (0, "started")
        assert process.poll() is None
        gate.write_text("let go\n")
        out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, b"started\nlet go\nlate\n")
    assert client.value("deploy.last_line") == "late"
    assert client.value("deploy.seconds") == state["deploy.seconds"]


def test_while_only_a_child_is_left_run_can_be_ended(
    box: Server, client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = [*PROGRAM, "run", "left", "--", "sh", "-c", f"cat {gate} &"]
    with subprocess.Popen(command, cwd=ROOT, env=Shell(box.data_dir).env) as process:
        until(lambda: client.state("left.*").get("left.status") == "ok", "the end is told")
        process.terminate()
        assert process.wait(SECONDS) == -15
    gate.write_text("")
