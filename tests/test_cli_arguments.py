"""Words on the command line: what is an option, what a value, which folder and whose undo."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import signalbox
from signalbox.desktop.arguments import ProgramCommand
from signalbox.desktop.commands.run import run
from support.command_line import PROGRAM, Shell
from support.harness import SECONDS, Server
from support.raw_http import Client, serving


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("arguments") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


@pytest.mark.parametrize(
    "text", ["-1h", "-3hours", "-hello", "-h", "-V", "--hello", "--help-me", "--data", "-x=1"]
)
def test_a_value_may_begin_with_a_dash(shell: Shell, client: Client, text: str) -> None:
    assert shell.ok("set", "offset", text, "--json").startswith("{")
    assert client.value("offset") == text


@pytest.mark.parametrize("value", [-5, -0.5, -1e-7])
def test_so_may_a_number(shell: Shell, client: Client, value: float) -> None:
    shell.ok("set", "number", str(value))
    assert client.value("number") == value
    shell.ok("add", "number", "-1")
    assert client.value("number") == value - 1


def test_behind_two_dashes_nothing_is_an_option(shell: Shell, client: Client) -> None:
    shell.ok("set", "--", "plain", "--json")
    assert client.value("plain") == "--json"
    shell.ok("set", "--", "--text", "--")
    assert client.value("--text") == "--"
    assert shell.ok("get", "--", "--text") == "--\n"


def test_a_key_may_begin_with_a_dash_but_a_mistyped_option_is_reported(
    shell: Shell, client: Client
) -> None:
    client.send("set", key="-h", value=1)
    assert shell.ok("get", "-h") == "1\n"
    assert shell.ok("mv", "-h", "-k").startswith("revision")
    assert shell("rm", "-k").status == 0
    for arguments in (["toggle", "--jsno"], ["get", "--at", "now", "--jsno", "a"], ["rm", "--yes"]):
        done = shell(*arguments)
        assert done.status == 2
        assert "There is no option --" in done.err
        assert "; allowed are --" in done.err


def test_what_is_no_number_is_refused_and_not_taken_for_help(shell: Shell, client: Client) -> None:
    client.send("set", key="c", value=5)
    assert shell("add", "c", "-1h").status == 2
    assert client.value("c") == 5


@pytest.mark.parametrize("name", ["get", "set", "rm", "add", "toggle", "merge", "mv", "run"])
def test_every_subcommand_still_helps(shell: Shell, name: str) -> None:
    assert shell.ok(name, "--help").startswith("Usage: signalbox " + name)


@pytest.mark.parametrize(
    ("words", "name", "program"),
    [
        (["job", "ls", "-ah", "/"], "job", ["ls", "-ah", "/"]),
        (["job", "--", "ls", "--help"], "job", ["ls", "--help"]),
        (["job", "ls", "--help"], "job", ["ls", "--help"]),
        (["job", "--data-dir", "D", "git", "log", "--", "x"], "job", ["git", "log", "--", "x"]),
        (["--data-dir=D", "job", "--", "--", "x"], "job", ["--", "x"]),
        (["--", "-job", "x", "--data-dir", "E"], "-job", ["x", "--data-dir", "E"]),
        (["--", "--job", "--data-dir", "E"], "--job", ["--data-dir", "E"]),
        (["--", "job", "--", "--x", "y"], "job", ["--x", "y"]),
        (["-job", "--", "--x"], "-job", ["--x"]),
    ],
)
def test_from_its_first_word_on_all_words_are_the_programs(
    words: list[str], name: str, program: list[str]
) -> None:
    assert isinstance(run, ProgramCommand)
    context = run.make_context("run", list(words), resilient_parsing=True)
    assert (context.params["name"], context.params["program"]) == (name, tuple(program))


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "x"],
        ["--jsno=1", "x", "ls"],
        ["--data-dir", "D", "--json", "x", "ls"],
        ["job", "--json", "ls"],
        ["job", "--data-dir=D", "--json", "ls"],
    ],
)
def test_an_option_that_run_does_not_know_is_refused(words: list[str]) -> None:
    name = next(word for word in words if word.startswith("--js")).partition("=")[0]
    with pytest.raises(click.UsageError) as refused:
        run.make_context("run", list(words))
    assert refused.value.message == (
        f"There is no option {name}; allowed are --data-dir, --help; put -- before "
        "words that begin with -."
    )


def test_then_nothing_runs(shell: Shell, client: Client) -> None:
    before = client.get("status").json()["revision"]
    assert shell("run", "--json", "x").status == 2
    assert client.get("status").json()["revision"] == before


def test_undo_after_run_undoes_what_the_person_did(shell: Shell, client: Client) -> None:
    shell.ok("set", "mine", "1")
    assert shell("run", "job", "--", sys.executable, "-c", "print('x')").status == 0
    assert client.get("state/job.status").json()["actor"] == "run"
    assert shell.ok("undo").startswith("undone: set mine by cli")
    assert client.value("job.status") == "ok"
    shell.ok("undo", "--actor", "run")
    assert client.value("job.status") == "running"


def test_every_global_option_may_stand_before_serve(tmp_path: Path) -> None:
    command = [*PROGRAM, "--data-dir", str(tmp_path / "s"), "--engine=memory", "serve", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        endpoint = json.loads(process.stdout.readline())
        try:
            with signalbox.Box(endpoint["url"], endpoint["read_token"]) as running:
                assert running.query("status")["engine"] == "Memory"
        finally:
            process.terminate()
        assert process.wait(SECONDS) == 0
    assert (tmp_path / "s").is_dir()


@pytest.mark.parametrize("arguments", [["get", "a"], ["set", "a", "1"], ["serve"], []])
def test_an_empty_data_dir_is_no_folder(tmp_path: Path, arguments: list[str]) -> None:
    done = Shell(tmp_path / "s")("--data-dir", "", *arguments)
    assert done.status in (2, 4)
    assert "empty" in done.err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "arguments",
    [["get", "a"], ["ls"], ["tree"], ["log"], ["status"], ["history", "a"], ["diff", "1", "now"],
     ["export"], ["watch"], ["verify"], ["backup", "file"], ["rebuild"], ["token"]],
)  # fmt: skip
def test_reading_makes_no_store_where_there_is_none(tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "typo"
    for words in (["--data-dir", str(folder), *arguments], [*arguments, "--data-dir", str(folder)]):
        done = Shell(tmp_path / "other")(*words)
        assert (done.status, done.err) == (4, f"signalbox: There is no store in {folder}.\n")
    assert not folder.exists()


def test_writing_makes_one(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "new")]
    shell = Shell(tmp_path / "other")
    shell.ok("set", "a", "1", *folder)
    assert shell.ok("get", "a", *folder) == "1\n"


# What lists print


def test_no_value_looks_like_a_further_line_or_column(shell: Shell, client: Client) -> None:
    text = "x\nm.b\tfalse\rm.c\\n"
    escaped = "x\\nm.b\\tfalse\\rm.c\\\\n"
    first = client.send("set", key="m.a", value="before").json()["revision"]
    client.send("set", key="m.a", value=text)
    client.send("set", key="m.z", value={"a\n": "\\"})
    assert shell.ok("ls", "m.*") == f'm.a\t{escaped}\nm.z\t{{"a\\n": "\\\\"}}\n'
    assert shell.ok("watch", "m.a", "--count", "1") == f"m.a\t{escaped}\n"
    assert shell.ok("history", "m.a", "--limit", "1").split("\t")[3] == escaped
    assert f"+ m.a\t{escaped}\n" in shell.ok("diff", str(first), "now", "m.a")
    assert f"- m.a\t{escaped}\n" in shell.ok("restore", str(first), "m.a", "--dry-run")
    assert shell.ok("get", "m.z") == '{"a\\n": "\\\\"}\n'


def test_no_attempt_looks_like_another_one(shell: Shell, client: Client) -> None:
    client.send("set\n2026\tcli", actor="forger")
    (line,) = shell.ok("log", "--actor", "forger").splitlines()
    assert line.split("\t")[2] == "set\\n2026\\tcli"


def test_get_alone_is_raw(shell: Shell, client: Client) -> None:
    text = "x\nm.b\tfalse\\n"
    client.send("set", key="raw", value=text)
    assert shell.ok("get", "raw") == text + "\n"
    assert shell.on_terminal("get", "raw").out.replace("\t", " ") == text.replace("\t", " ") + "\n"


@pytest.mark.parametrize("code", [0x61C, 0xAD, 0x2060, 0x180E, 0xFFF9, 0xE0041, 0x202E, 0x3164])
def test_a_terminal_shows_what_is_not_seen(shell: Shell, client: Client, code: int) -> None:
    client.send("set", key="seen", value=f"a{chr(code)}b")
    escape = chr(code).encode("unicode_escape").decode()
    for arguments in (["get", "seen"], ["ls", "seen"], ["history", "seen"]):
        out = shell.on_terminal(*arguments).out
        assert f"a{escape}b" in out
        assert chr(code) not in out


def test_a_terminal_keeps_what_scripts_and_emoji_are_joined_with(
    shell: Shell, client: Client
) -> None:
    for text in ("👩\u200d🔬", "क्\u200dष", "❤\ufe0f"):
        client.send("set", key="joined", value=text)
        assert text in shell.on_terminal("get", "joined").out


def test_an_option_in_a_message_can_be_pasted(shell: Shell, client: Client) -> None:
    client.send("set", key="_signalbox.retention.Living Room", value={"max_age": "0s"})
    for value in range(3):
        last = client.send("set", key="Living Room.x", value=value).json()["revision"]
    client.ask("POST", "/commands/compact")
    done = shell("restore", str(last - 2), "--dry-run")
    assert "To restore all else: --without 'Living Room.'\n" in done.err
    shell.ok("restore", str(last - 2), "--dry-run", "--without", "Living Room.")
    client.send("delete", key="_signalbox.retention.Living Room")


def test_objects_keep_the_order_of_their_names(shell: Shell, client: Client) -> None:
    text = '{"b": 1, "10": 2, "2": {"z": 1, "a": 2}, "a": 4}'
    shell.ok("set", "order", text)
    assert shell.ok("get", "order") == text + "\n"
    assert shell.ok("ls", "order") == f"order\t{text}\n"
    shell.ok("merge", "order", '{"c": 5, "10": 3}')
    changed = '{"b": 1, "10": 3, "2": {"z": 1, "a": 2}, "a": 4, "c": 5}'
    assert shell.ok("get", "order") == changed + "\n"


def test_what_can_be_no_key_is_not_in_a_box(box: Server) -> None:
    with signalbox.Box(box.url, box.write_token) as python:
        python["in.it"] = 1
        assert "in.it" in python
        for text in ("a b", "a  b", "", ".", "a..b", "a*", "\ud800", "a\n", 5, None):
            assert text not in python
