"""Values that `set` reads from stdin or a file, defaults of `get`, and `--json` in front."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Shell
from support.raw_http import serving


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data_dir = tmp_path_factory.mktemp("cli") / "store"
    with serving(data_dir):
        yield Shell(data_dir)


def value(shell: Shell) -> object:
    """What the key `t` holds."""
    return json.loads(shell.ok("get", "t", "--json"))["value"]


@pytest.mark.parametrize(
    ("content", "options", "kept"),
    [
        (b"hello\n", [], "hello"),
        (b"hello\r\n", [], "hello"),
        (b"two\nlines\n\n", [], "two\nlines\n"),
        (b"ends with\r", [], "ends with\r"),
        (b"", [], ""),
        (b"42\n", [], 42),
        (b'{"a": [1]}\n', [], {"a": [1]}),
        (b' "x"\n', ["--json-value"], "x"),
        (b"1.10\n", ["--raw"], "1.10\n"),
        (b"@no file", [], "@no file"),
    ],
)
def test_set_takes_the_value_from_stdin_or_a_file(
    shell: Shell, tmp_path: Path, content: bytes, options: list[str], kept: object
) -> None:
    shell.ok("set", "t", "-", *options, stdin=content)
    assert value(shell) == kept
    shell.ok("rm", "t")
    (tmp_path / "value").write_bytes(content)
    shell.ok("set", "t", f"@{tmp_path}/value", *options)
    assert value(shell) == kept


@pytest.mark.parametrize("text", ["-", "@home", "@", "@-", "5"])
def test_with_text_a_value_is_never_read_from_anywhere(shell: Shell, text: str) -> None:
    shell.ok("set", "t", text, "--text", stdin=b"not this")
    assert value(shell) == text


@pytest.mark.parametrize("text", ["-", "@home"])
def test_a_json_text_is_never_read_from_anywhere(shell: Shell, text: str) -> None:
    shell.ok("set", "t", json.dumps(text), stdin=b"not this")
    assert value(shell) == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["@/no/such/file"], "VALUE '@/no/such/file' names the file '/no/such/file': there is no"),
        (["plain", "--raw"], "VALUE is 'plain'; with --raw allowed are - and @FILE."),
        (["@/bin/sh"], "What VALUE @/bin/sh holds is not text in UTF-8."),
        (["@/dev/zero"], "is above the 16,777,216 bytes allowed."),
        (["@/"], "VALUE '@/' names the file '/': it is a folder; --text sets the text itself."),
    ],
)
def test_a_file_that_holds_no_value_is_refused(shell: Shell, words: list[str], told: str) -> None:
    done = shell("set", "t", *words)
    assert (done.status, done.out) == (2, "")
    assert told in done.err


def test_what_get_prints_can_be_set_again(shell: Shell) -> None:
    for text in ("", "one", "two\nlines\n", " \t"):
        shell.ok("set", "a", json.dumps(text))
        shell.ok("set", "t", "-", stdin=shell.ok("get", "a").encode())
        assert value(shell) == text


@pytest.mark.parametrize(
    ("default", "printed"),
    [("5", "5\n"), ("-5", "-5\n"), ("some text", "some text\n"), ("", "\n"), ("[1]", "[1]\n")],
)
def test_get_prints_the_default_where_there_is_no_key(
    shell: Shell, default: str, printed: str
) -> None:
    assert shell.ok("get", "missing", "--default", default) == printed


def test_get_prints_a_key_that_exists_and_a_default_as_json(shell: Shell) -> None:
    shell.ok("set", "a", "1")
    assert shell.ok("get", "a", "--default", "2") == "1\n"
    assert shell.ok("get", "missing", "--default", "2", "--json") == (
        '{"key": "missing", "value": 2}\n'
    )
    assert shell.ok("get", "a", "--at", "0", "--default", "2") == "2\n"


def test_json_may_stand_before_the_subcommand(shell: Shell) -> None:
    shell.ok("set", "a", "1")
    after = shell.ok("get", "a", "--json")
    assert shell.ok("--json", "get", "a") == after
    assert shell.ok("--data-dir", str(shell.data_dir), "--json", "get", "a") == after
    assert shell.ok("--json", "get", "a", "--json") == after


@pytest.mark.parametrize("name", ["export", "run"])
def test_json_before_a_subcommand_that_prints_none_is_refused(shell: Shell, name: str) -> None:
    done = shell("--json", name, "a")
    assert (done.status, done.out) == (2, "")
    assert f"There is no option --json of {name}." in done.err


def test_json_alone_opens_no_window(shell: Shell) -> None:
    done = shell.as_process("--json")
    assert (done.status, done.out) == (2, "")
