"""Import and export on the command line: round trips of every format, refused lines."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from signalbox.server import settings
from support.command_line import Shell
from support.desktop_window import until
from support.harness import Server
from support.raw_http import serving

TREASURE: dict[str, Any] = {
    "text": "two\nlines, \"quoted\" and ünïcode \u2028 'x' $HOME",
    "text.number": "007",
    "text.empty": "",
    "formula": "=1+1",
    "n.int": 10**30,
    "n.float": -0.5,
    "b.yes": True,
    "b.no": False,
    "nothing": None,
    "deep": {"a": [1, {"b": None}], "ü": "\u0000"},
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data_dir = tmp_path_factory.mktemp("transfer") / "store"
    with serving(data_dir):
        yield Shell(data_dir)


@pytest.fixture
def shell(shared: Shell) -> Shell:
    """The shared store, empty."""
    shared("rm", "t.")
    return shared


def load(shell: Shell, text: str, kind: str, *options: str) -> Any:
    return shell("import", "-", "--format", kind, *options, stdin=text.encode())


def held(shell: Shell, match: str = "t.**") -> dict[str, Any]:
    """Keys and values without the prefix `t.`."""
    values = json.loads(shell.ok("export", match, "--format", "json"))
    return {key.removeprefix("t."): value for key, value in values.items()}


@pytest.mark.parametrize("kind", ["ndjson", "json", "csv"])
def test_what_is_exported_is_imported_equal(shell: Shell, kind: str, tmp_path: Path) -> None:
    given = {f"t.{key}": value for key, value in TREASURE.items()}
    file = tmp_path / "first.json"
    file.write_text(json.dumps(given))
    assert shell.ok("import", str(file)).startswith("10 lines accepted, 0 rejected")
    assert held(shell) == TREASURE
    exported = tmp_path / f"exported.{kind}"
    exported.write_text(shell.ok("export", "t.**", "--format", kind), newline="")
    shell.ok("rm", "t.")
    assert held(shell) == {}
    shell.ok("import", str(exported))
    assert held(shell) == TREASURE


def test_what_is_exported_for_a_shell_is_read_by_one(shell: Shell) -> None:
    shell.ok("set", "t.greeting", 'it\'s "two"\nlines; $HOME')
    shell.ok("set", "t.count", "3")
    exported = shell.ok("export", "t.**", "--format", "env")
    script = exported + 'printf "%s|%s" "$T_GREETING" "$T_COUNT"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'it\'s "two"\nlines; $HOME|3'


def test_a_shells_variables_are_imported(shell: Shell) -> None:
    text = '# a comment\nexport t.a=\'x\ny\' \n\nt.b=007\nt.c=7\nt.d="say \\"hi\\""\nt.e=\n'
    assert load(shell, text, "env").status == 0
    assert held(shell) == {"a": "x\ny", "b": "007", "c": 7, "d": 'say "hi"', "e": ""}


def test_lines_take_what_prints_back_identically_for_a_number(shell: Shell) -> None:
    text = "t.a = 1\nt.b=1.50\nt.c = 1e3\nt.d = -0\nt.e = 007\nt.f = x = y\nt.g = \nt.h = 2.5\n"
    assert load(shell, text, "lines").status == 0
    assert held(shell) == {
        "a": 1,
        "b": "1.50",
        "c": "1e3",
        "d": "-0",
        "e": "007",
        "f": "x = y",
        "g": "",
        "h": 2.5,
    }


def test_bad_lines_are_reported_by_their_numbers_and_the_others_done(shell: Shell) -> None:
    text = "t.a = 1\n\nno equals sign\nbad..key = 2\nt.b = 3\n"
    done = load(shell, text, "lines")
    assert done.status == 1
    assert [line.split(":")[1] for line in done.err.splitlines()] == [" line 3", " line 4"]
    assert '"bad..key"' in done.err
    assert held(shell) == {"a": 1, "b": 3}
    assert load(shell, text, "lines", "--json").json() == {
        "accepted": 2,
        "rejected": 2,
        "changes": 0,
        "revision": json.loads(shell.ok("status", "--json"))["revision"],
    }


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("ndjson", '{"type":"set","key":"t.a","value":1}\n\n{"type":"set","key":"t.b"}\n', 3),
        ("ndjson", '{"type":"set","key":"t.a","value":1}\nno json\n', 2),
        ("csv", "key,value\nt.a,1\nt.b,[no json\n", 3),
        ("csv", 'value,key\n"[1,\n2]",t.a\n1,a..b\n', 4),
        ("json", '{"t.a": 1,\n"a..b": 2}', 2),
        ("json", '{"t.a": 1,\n\n"t.a": 2}', 3),
        ("env", "t.a=1\nt.b='never closed\n", 2),
    ],
)
def test_every_format_tells_the_line(shell: Shell, kind: str, text: str, line: int) -> None:
    done = load(shell, text, kind)
    assert done.status == 1
    assert f"line {line}:" in done.err
    assert list(held(shell)) == ["a"]


@pytest.mark.parametrize("text", ["", "[1]", '{"t.a": 1', '{"t.a": 1} x', "{,}", '{"a" 1}', "nul"])
def test_a_file_that_is_no_json_object_is_refused(shell: Shell, text: str) -> None:
    """The beginning of a file is imported before its end is known, and the message says so."""
    done = load(shell, text, "json")
    assert done.status == 1
    assert "signalbox: " in done.err
    assert done.out.startswith(("0 lines accepted", "1 line accepted")[text.endswith("x")])


def test_a_file_that_is_no_text_is_refused_with_what_is_expected(
    shell: Shell, tmp_path: Path
) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 5_000_000)
    done = shell("import", str(picture))
    assert (done.status, done.out.split(",")[0]) == (1, "0 lines accepted")
    assert "is a picture; expected is a text" in done.err
    assert "is empty" in shell("import", "-").err


def test_a_file_of_another_encoding_is_read_where_that_is_named(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / ".env.local"
    file.write_bytes("t.a=1\nt.b=Küche\nt.c=3\n".encode("latin-1"))
    done = shell("import", str(file))
    assert (done.status, held(shell)) == (1, {"a": 1, "c": 3})
    assert "line 2: Byte 6 of the line is 0xfc, which is not UTF-8" in done.err
    shell.ok("import", str(file), "--encoding", "latin-1")
    assert held(shell) == {"a": 1, "b": "Küche", "c": 3}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"type":"add","key":"t.n","by":5}\n', {"n": 5}),
        ('{"t.n": 5}', {"n": 5}),
        ("key,value\nt.n,5\n", {"n": 5}),
        ("t.n = 5\n", {"n": 5}),
        ("\ufefft.n = 5\n", {"n": 5}),
    ],
)
def test_the_format_is_seen_from_what_is_there(
    shell: Shell, text: str, kept: dict[str, Any]
) -> None:
    shell.ok("import", "-", stdin=text.encode())
    assert held(shell) == kept


def test_all_that_the_kernel_tells_comes_back_equal(shell: Shell, tmp_path: Path) -> None:
    """`sysctl -a`: a thousand dotted keys, some lines without a value, some that are no keys."""
    if not shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        pytest.fail("These tests need sysctl (Debian: procps).")
    env_path = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    told = subprocess.run(["sysctl", "-a"], capture_output=True, env=env_path, check=False).stdout
    before = held(shell, "**")
    done = shell("import", "-", "--format", "lines", stdin=told)
    assert done.status in (0, 1)
    refused = {int(line.split("line ")[1].split(":")[0]) for line in done.err.splitlines()}
    lines = told.decode(errors="replace").splitlines()
    taken = {}
    for number, line in enumerate(lines, start=1):
        name, equals, value = line.partition(" = ")
        if number not in refused and line.strip():
            assert equals
            taken[name] = value
    assert len(taken) > 300
    kept = {key: value for key, value in held(shell, "**").items() if key not in before}
    assert kept.keys() == taken.keys()
    assert {key: str(value) for key, value in kept.items()} == {
        key: value.strip() for key, value in taken.items()
    }
    file = tmp_path / "kernel.ndjson"
    file.write_text(shell.ok("export", "kernel.**"))
    with serving(tmp_path / "other"):
        other = Shell(tmp_path / "other")
        other.ok("import", str(file))
        assert other.ok("export") == file.read_text()


def test_a_terminal_shows_a_bar_and_the_same_words(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("".join(f"t.k{number} = {number}\n" for number in range(20_000)))
    done = shell.on_terminal("import", str(file))
    assert done.status == 0
    assert "20,000 lines accepted, 0 rejected, 20,000 keys changed" in done.out
    assert "Importing" in done.out
    assert "Importing" not in shell.ok("import", str(file))


def test_a_pause_that_is_too_long_is_reported_with_what_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "BODY_SECONDS", 0.4)
    os.mkfifo(pipe := tmp_path / "pipe")

    def is_given_up() -> bool:
        ours = psutil.Process().net_connections("tcp")
        return any(one.status == psutil.CONN_CLOSE_WAIT for one in ours if one.raddr[1:] == (port,))

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            file.write(b"t.a = 1\n")
            until(is_given_up, "the server has hung up")
            file.write(b"t.b = 2\n")

    server = Server(tmp_path / "store", limits={"signalbox.server.settings.BODY_SECONDS": 0.4})
    port, writing = server.port, threading.Thread(target=write)
    writing.start()
    try:
        done = Shell(server.data_dir)("import", str(pipe), "--format", "lines")
        assert (done.status, done.out) == (4, "")
        told = r"FILE paused for \d+ seconds, .* for 0\.4\. Before that 1 key changed\.$"
        assert re.search(told, done.err)
        assert server.value("t.a") == 1
    finally:
        writing.join()
        server.kill()


def test_a_file_that_is_not_there_is_a_wrong_use(shell: Shell) -> None:
    done = shell("import", "/nowhere/at/all.json")
    assert (done.status, done.out) == (2, "")
    assert "all.json" in done.err


def test_one_of_anything_is_counted_as_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "one")
    told = shell.ok("import", "-", "--format", "lines", stdin=b"t.one = 1\n")
    assert told == "1 line accepted, 0 rejected, 1 key changed\n"
    history = shell.ok("export", "--history").encode()
    other = Shell(tmp_path / "other")
    assert other.ok("import", "-", "--dry-run", stdin=history[: history.index(b"\n") + 1]).endswith(
        " 0 are there, 1 change\n"
    )


def test_a_member_without_a_value_is_reported(shell: Shell) -> None:
    done = shell("import", "-", "--format", "json", stdin=b'{"t.b": }')
    assert done.err == 'signalbox: line 1: The key "t.b" has no value.\n'
