"""`run`: a program's life as keys, and the program as if nobody were beside it."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Shell
from support.harness import SECONDS, Server
from support.raw_http import Client, serving


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("run") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def kept(box: Server, name: str) -> dict[str, object]:
    with Client(box) as client:
        return {
            key.removeprefix(f"{name}."): value for key, value in client.state(f"{name}.*").items()
        }


def test_a_program_that_succeeds_is_ok(box: Server, shell: Shell) -> None:
    done = shell("run", "good", *python("print('one'); print('two')"))
    assert (done.status, done.out, done.err) == (0, "one\ntwo\n", "")
    state = kept(box, "good")
    assert (state["status"], state["exit_code"], state["last_line"]) == ("ok", 0, "two")
    assert isinstance(state["seconds"], float)
    assert str(state["started"]).endswith("Z")


def test_a_program_that_fails_has_failed_and_its_status_is_ours(box: Server, shell: Shell) -> None:
    done = shell("run", "bad", *python("import sys; print('why', file=sys.stderr); sys.exit(7)"))
    assert (done.status, done.out, done.err) == (7, "", "why\n")
    state = kept(box, "bad")
    assert (state["status"], state["exit_code"], state["last_line"]) == ("failed", 7, "why")


def test_a_program_that_is_not_there_is_reported_as_by_a_shell(box: Server, shell: Shell) -> None:
    done = shell("run", "none", "--", "/no/such/program")
    assert done.status == 127
    assert "/no/such/program" in done.err
    assert kept(box, "none")["exit_code"] == 127


def test_what_it_writes_passes_byte_for_byte_and_its_stdin_is_ours(shell: Shell) -> None:
    copy = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    with shell.started("run", "copy", *python(copy)) as process:
        out, _ = process.communicate(bytes(range(256)) * 1000, timeout=SECONDS)
    assert out == bytes(range(256)) * 1000


def test_while_it_runs_its_keys_tell_so(box: Server, shell: Shell) -> None:
    waits = "print('ready', flush=True); input(); print('done')"
    with (
        box.stream(match="live.*") as stream,
        shell.started("run", "live", *python(waits)) as process,
    ):
        seen: dict[str, object] = {}
        while seen.get("live.last_line") != "ready":
            for event in stream.until("change"):
                for change in event.data.get("changes", []):
                    seen[change["key"]] = change["value"]
        assert (seen["live.status"], seen["live.exit_code"]) == ("running", None)
        process.communicate(b"\n", timeout=SECONDS)
    assert kept(box, "live")["status"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_us_is_for_the_program(
    box: Server, shell: Shell, number: signal.Signals
) -> None:
    name = number.name.lower()
    waits = "print('ready', flush=True); import time; time.sleep(60)"
    with shell.started("run", name, *python(waits)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
    state = kept(box, name)
    assert (state["status"], state["exit_code"]) == ("failed", 128 + number)


def test_without_a_server_it_runs_all_the_same_and_is_remembered(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "alone")
    assert shell("run", "job", *python("print('x')")).out == "x\n"
    assert json.loads(shell.ok("get", "job.status", "--json"))["value"] == "ok"


def test_a_name_that_is_no_key_is_refused_before_anything_runs(
    shell: Shell, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    done = shell("run", "a..b", *python(f"open({str(marker)!r}, 'w')"))
    assert done.status == 1
    assert not marker.exists()


def test_words_that_are_not_utf8_are_kept_as_far_as_they_can_be(box: Server, shell: Shell) -> None:
    done = shell("run", "odd", "--", os.fsdecode(b"/nowhere/k\xfcche"))
    state = kept(box, "odd")
    assert (done.status, state["status"], state["exit_code"]) == (127, "failed", 127)
    assert str(state["last_line"]).startswith(
        "/nowhere/k\N{REPLACEMENT CHARACTER}che cannot be started"
    )
    assert done.err == f"signalbox: {state['last_line']}\n"
    with shell.started("run", "odd", "--", "printf", r"k\374che\n") as process:
        assert process.communicate(timeout=SECONDS) == (b"k\xfcche\n", b"")
    state = kept(box, "odd")
    assert (state["status"], state["last_line"]) == ("ok", "k\N{REPLACEMENT CHARACTER}che")


def test_a_report_that_fails_is_printed_and_the_program_goes_on(tmp_path: Path) -> None:
    server = Server(tmp_path / "store")
    store = str(server.data_dir / "signalbox.db")
    code = f"import os; os.rename({store!r}, {store + '.away'!r}); print('on')"
    done = Shell(server.data_dir)("run", "job", *python(code))
    server.kill()
    assert (done.status, done.out) == (0, "on\n")
    assert re.fullmatch(r"signalbox: .* was removed or replaced.*\.\n", done.err)
