"""The command line in pipes: what every subcommand prints, and its exit status."""

import json
from collections.abc import Iterator

import pytest

from support.command_line import Shell
from support.raw_http import serving


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data_dir = tmp_path_factory.mktemp("cli") / "store"
    with serving(data_dir):
        yield Shell(data_dir)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("-5", -5),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ('"quoted"', "quoted"),
        ("plain", "plain"),
        ("-x y", "-x y"),
        ("", ""),
        ("NaN", "NaN"),
        ("two\nlines\u2028three", "two\nlines\u2028three"),
        ("1e999", "1e999"),
    ],
)
def test_set_takes_json_where_it_is_json_and_text_elsewhere(
    shell: Shell, given: str, kept: object
) -> None:
    shell.ok("set", "t", given)
    item = json.loads(shell.ok("get", "t", "--json"))
    assert (item["value"], item["actor"]) == (kept, "cli")


def test_set_says_which_of_both_it_is(shell: Shell) -> None:
    shell.ok("set", "t", "5", "--text")
    assert shell.ok("get", "t", "--json").count('"value": "5"') == 1
    shell.ok("set", "--json-value", "t", "[1]")
    assert shell.ok("get", "t") == "[1]\n"
    done = shell("set", "t", "plain", "--json-value")
    assert (done.status, done.out) == (2, "")
    assert "'plain' is not JSON" in done.err
