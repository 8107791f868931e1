"""Words on the command line that are not taken: which, and what is allowed, in our words."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from signalbox.server.model.errors import StoreError
from signalbox.server.settings import TABLE, read_settings
from support.command_line import Shell
from support.harness import ROOT

ODD_NUMBERS: Final = ("1_0", " 80", "80 ", "+5", "0x10", "\uff15", "\u0665", "nan", "inf", "-1")
"""What Python's own readers take as a number, or nearly so, and no person writes."""
MOMENTS: Final = "allowed are a revision, now, and a time in ISO 8601 such as 2026-11-23T12:39."


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("get", "KEY is missing."),
        ("set k", "VALUE is missing."),
        ("run", "NAME is missing."),
        ("rm", "KEY|PREFIX. is missing."),
        ("get --at", "The option --at needs a value."),
        ("export --history=1", "The option --history takes no value."),
        ("path x y", "'x y' is too much; allowed are options alone."),
        ("toggle a b", "'b' is too much; allowed are KEY."),
        (
            "nothing",
            "There is no subcommand nothing; there are add, backup, check, compact,",
        ),
        (
            "--jsno",
            "There is no option --jsno; allowed are --data-dir, --engine,",
        ),
        (
            "import --jsno x",
            "There is no option --jsno; allowed are --format, --encoding,",
        ),
        ("watch --count x", "--count is 'x'; allowed is an integer from 1."),
        ("watch --count 0", "--count is '0'; allowed is an integer from 1."),
        ("log --limit -1", "--limit is '-1'; allowed is an integer from 1."),
        ("log --limit ²", "--limit is '²'; allowed is an integer from 1."),
        ("log --status foo", "--status is 'foo'; allowed are accepted, rejected."),
        ("ls --type text", "--type is 'text'; allowed are null, boolean, number, string, array,"),
        ("import --format xml x", "--format is 'xml'; allowed are ndjson, json, csv, env, lines."),
        ("set k 1 --expect ²", "--expect is '²'; allowed are a revision, absent and present."),
        ("set k 1 --expect ٣", "--expect is '٣'; allowed are a revision, absent and present."),
        ("undo --replace k=²", "--replace is 'k=²'; needed is KEY=REV, a key's revision now."),
        ("replay --speed inf x", "--speed is 'inf'; allowed are 0 and numbers above it."),
        ("replay --speed fast x", "--speed is 'fast'; allowed are 0 and numbers above it."),
        ("replay --speed nan x", "--speed is 'nan'; allowed are 0 and numbers above it."),
        ("get --at noon k", f"--at is 'noon'; {MOMENTS}"),
        ("get --at 12:39 k", f"--at is '12:39'; {MOMENTS}"),
        ("diff 1 yesterday", f"TO is 'yesterday'; {MOMENTS}"),
        ("replay", "Needed is FILE, or --into with or"),
        ("replay --from 1", "Needed is FILE, or --into with or"),
        ("replay --from 1 --into x -", "Needed is FILE, or --into with or"),
    ],
)
def test_an_invalid_word_is_reported_with_what_is_allowed(
    tmp_path: Path, words: str, told: str
) -> None:
    done = Shell(tmp_path / "store")(*words.split())
    assert (done.status, done.out) == (2, "")
    assert f"Error: {told}" in done.err, done.err


def test_a_folder_that_no_store_can_be_in_is_reported_with_the_option(tmp_path: Path) -> None:
    for words in (["--to", "x"], ["--to", "sqlite", "--from", "x"]):
        done = Shell(tmp_path / "store")("migrate", *words)
        assert f"Error: The option {words[-2]}: the engine is 'x'; allowed are " in done.err
        assert done.err.endswith("stream=NAME.\n")


ODD: Final = os.fsdecode(b"k\xff")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("get ODD", "KEY"),
        ("ls ODD*", "MATCH"),
        ("ls --search ODD", "--search"),
        ("tree ODD.", "PREFIX"),
        ("history ODD", "KEY"),
        ("watch ODD --count 1", "MATCH"),
        ("watch --until ODD", "--until"),
        ("export ODD", "MATCH"),
        ("diff 0 now ODD", "MATCH"),
        ("diff 0 ODD", "TO"),
        ("log --actor ODD", "--actor"),
        ("log --limit ODD", "--limit"),
        ("set ODD 1", "KEY"),
        ("set a ODD --text", "VALUE"),
        ("set a 1 --expect ODD", "--expect"),
        ("rm ODD.", "KEY|PREFIX."),
        ("mv a ODD", "NEW"),
        ("merge a ODD", "JSON"),
        ("restore 1 --without ODD", "--without"),
        ("undo --keep ODD", "--keep"),
        ("run ODD -- true", "NAME"),
        ("--engine ODD get a", "--engine"),
    ],
)
def test_a_word_that_is_not_utf8_is_refused_by_its_name(
    tmp_path: Path, words: str, name: str
) -> None:
    done = Shell(tmp_path / "store")(*words.replace("ODD", ODD).split())
    assert (done.status, done.out) == (2, "")
    assert f"Error: {name} is {ODD!r}"[:-2] in done.err
    assert "Traceback" not in done.err
    assert "; allowed " in done.err


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "store")
    (tmp_path / f"{ODD}.csv").write_text("key,value\na,1\n")
    assert shell("import", str(tmp_path / f"{ODD}.csv")).status == 0
    assert shell.ok("get", "a") == "1\n"
    program = tmp_path / ODD
    program.write_text("#!/bin/sh\ncat >$0.seen\n")
    program.chmod(0o700)
    shell.ok("watch", "--count", "1", "--exec", str(program))
    assert json.loads((tmp_path / f"{ODD}.seen").read_text())["value"] == 1


def test_a_store_or_a_backup_whose_path_is_not_utf8_is_not_called_damaged(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "store")
    shell.ok("set", "a", "1")
    folder = str(tmp_path / ODD)
    for words in (
        ["backup", folder],
        ["get", "a", "--data-dir", folder],
        ["--data-dir", folder, "path"],
    ):
        done = shell(*words)
        assert (done.status, done.out) == (4, "")
        assert f"{folder!r} is not UTF-8; SQLite " in done.err
    assert not Path(folder).exists()
    with pytest.raises(StoreError, match="whose path is UTF-8"):
        read_settings({"data_dir": folder}, {})


def test_so_does_the_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "signalbox", "serve", "--jsno"],
        cwd=ROOT,
        env={**os.environ, "SIGNALBOX_DATA_DIR": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no option --jsno; allowed are --data-dir, --port, --engine," in done.stderr


@pytest.mark.parametrize("name", ["port", "linger", "max_connections"])
@pytest.mark.parametrize("value", ODD_NUMBERS)
def test_a_number_of_a_setting_has_digits_of_ascii_alone(name: str, value: str) -> None:
    for given, environ in (({name: value}, {}), ({}, {f"SIGNALBOX_{name.upper()}": value})):
        with pytest.raises(StoreError, match=f"The setting {name} is .*; allowed "):
            read_settings(given, environ)


@pytest.mark.parametrize("value", ODD_NUMBERS)
def test_a_number_on_the_command_line_has_digits_of_ascii_alone(tmp_path: Path, value: str) -> None:
    shell = Shell(tmp_path)
    for words, name in (
        (["ls", "--limit", value], "--limit"),
        (["log", "--limit", value], "--limit"),
        (["watch", "--count", value], "--count"),
        (["history", "a", "--before", value], "--before"),
        (["replay", "--speed", value, "x"], "--speed"),
        (["set", "a", "1", "--expect", value], "--expect"),
        (["undo", "--replace", f"a={value}"], "--replace"),
        (["restore", value], "MOMENT"),
    ):
        done = shell(*words)
        assert (done.status, done.out) == (2, ""), words
        assert name in done.err, words


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("2", 2.0), ("0.5", 0.5), ("1e-3", 0.001)]
)
def test_seconds_may_have_a_fraction(value: str, seconds: float) -> None:
    assert read_settings({"linger": value}, {}).linger == seconds


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "x", "are 0 to 65535; 0 takes"),
        ("port", "70000", "are 0 to 65535; 0 takes"),
        ("require_durable", "maybe", "are 0, 1, false, true, no and yes"),
        ("linger", "-1", "are seconds from 0 on"),
        ("linger", "inf", "are seconds from 0 on"),
        ("linger", "nan", "are seconds from 0 on"),
        ("max_connections", "0", "is an integer from 1"),
        ("data_dir", "~nobody-of-that-name/x", "is a folder whose path is UTF-8; ~name must"),
    ],
)
def test_an_invalid_setting_is_reported_with_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    with pytest.raises(StoreError) as refused:
        read_settings({}, {f"SIGNALBOX_{name.upper()}": value})
    assert str(refused.value).startswith(f"The setting {name} is {value!r}; allowed {allowed}")


def test_a_home_that_nobody_has_is_reported() -> None:
    shell = Shell(Path("~nobody-of-that-name/x"))
    for words in (["get", "k"], ["path"], ["--data-dir", "~nobody-of-that-name", "path"]):
        done = shell(*words)
        assert (done.status, done.out) == (4, "")
        assert "is in the home of nobody here." in done.err


def test_every_setting_that_can_be_wrong_says_what_is_allowed() -> None:
    for setting in TABLE:
        with pytest.raises(StoreError, match=rf"^The setting {setting.name}[ :].*\.$"):
            read_settings({setting.name: "\0" if setting.name != "data_dir" else ""}, {})


@pytest.mark.parametrize("words", ["get", "ls", "tree", "export", "restore"])
def test_a_moment_is_called_so_and_explained_in_the_help(tmp_path: Path, words: str) -> None:
    told = " ".join(Shell(tmp_path).ok(words, "--help").split())
    assert "MOMENT" in told
    assert "a revision, a time in ISO 8601 or now" in told


def test_there_is_no_short_option(tmp_path: Path) -> None:
    for words in (["-h"], ["compact", "-h"]):
        done = Shell(tmp_path)(*words)
        assert (done.status, done.out) == (2, "")
        assert "There is no option -h; allowed are " in done.err
    assert "-h" not in Shell(tmp_path).ok("--help").split()


def test_the_help_has_each_description_whole(tmp_path: Path) -> None:
    _, _, commands = Shell(tmp_path).ok("--help").partition("Commands:")
    assert commands
    assert "..." not in commands
