"""Rules on the command line: made, listed, removed, asked and exported."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving

RULES = "_signalbox.rules."


LAMP = (
    *("rule", "set", "lamp", "lamp.*", "--type", "boolean", "--on", "true"),
    *("--requires", "fuse.{1}=true", "--says", "Put the fuse in first."),
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that use keys and rules of their own."""
    with serving(tmp_path_factory.mktemp("rules") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Iterator[Shell]:
    """A command line on a store without rules."""
    yield Shell(box.data_dir)
    box.post({"type": "delete_prefix", "prefix": RULES})


@pytest.mark.parametrize(
    ("words", "record"),
    [
        ("r a", {"match": "a"}),
        ("r a.* b", {"match": ["a.*", "b"]}),
        (
            "r a --type number --min 0 --max 2.5 --step 0.5 --unit °C --title T --description D",
            {
                "match": "a",
                "schema": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": 2.5,
                    "multipleOf": 0.5,
                    "unit": "°C",
                    "title": "T",
                    "description": "D",
                },
            },
        ),
        ("r a --min -5", {"match": "a", "schema": {"minimum": -5}}),
        ("r a --choices off,1,true", {"match": "a", "schema": {"enum": ["off", 1, True]}}),
        ("r a --requires b=true", {"match": "a", "requires": {"b": {"const": True}}}),
        ("r a --requires b=null", {"match": "a", "requires": {"b": None}}),
        ("r a --requires b=c=5", {"match": "a", "requires": {"b=c": {"const": 5}}}),
        ('r a --requires b="x=1"', {"match": "a", "requires": {"b": {"const": "x=1"}}}),
        (
            'r a --requires b={"const":"="} --requires c=[1]',
            {"match": "a", "requires": {"b": {"const": "="}, "c": {"const": [1]}}},
        ),
        (
            "r l.* --on true --requires f.{1}=true --holds --says Wait.",
            {
                "match": "l.*",
                "requires": {"f.{1}": {"const": True}},
                "on": {"const": True},
                "holds": True,
                "says": "Wait.",
            },
        ),
        ("r a --on {}", {"match": "a", "on": {}}),
        (
            "r a --actor ada --actor *@desk --no-delete",
            {"match": "a", "actors": ["ada", "*@desk"], "delete": False},
        ),
    ],
)
def test_options_make_a_rule(shell: Shell, words: str, record: dict[str, Any]) -> None:
    assert shell.ok("rule", "set", *words.split()).startswith("revision ")
    assert json.loads(shell.ok("rule", "show", "r", "--json")) == record


def test_a_rule_is_listed_shown_and_removed(shell: Shell) -> None:
    shell.ok(*LAMP)
    shell.ok("rule", "set", "level", "a", "b.*", "--min", "0")
    lamp = json.loads(shell.ok("rule", "show", "lamp"))
    assert lamp["says"] == "Put the fuse in first."
    rows = [line.split("\t") for line in shell.ok("rule", "ls").splitlines()]
    asks = json.dumps({name: said for name, said in lamp.items() if name != "match"})
    assert rows == [["lamp", "lamp.*", asks], ["level", "a, b.*", '{"schema": {"minimum": 0}}']]
    listed = [json.loads(line) for line in shell.ok("--json", "rule", "ls").splitlines()]
    assert listed[0] == {"name": "lamp", "record": lamp}
    assert shell.ok("rule", "rm", "lamp").startswith("revision ")
    for words in (("rm", "lamp"), ("show", "lamp")):
        done = shell("rule", *words)
        assert (done.status, done.err) == (3, "signalbox: There is no rule lamp.\n")


def test_a_rule_is_read_from_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text('{"match": "a", "schema": {"maximum": 3}}\n')
    shell.ok("rule", "set", "file", "--json", str(file))
    shown = shell.ok("rule", "show", "file")
    done = shell("--json", "rule", "set", "again", "--json", "-", stdin=shown.encode())
    assert done.json()["changed"] is True
    assert shell.ok("rule", "show", "again") == shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r"], "MATCH is missing."),
        (["r", "a", "--min", "x"], "--min is 'x'; allowed is a number."),
        (["r", "a", "--max", "true"], "--max is 'true'; allowed is a number."),
        (["r", "a", "--type", "text"], "--type is 'text'; allowed are null, boolean, integer, "),
        (["r", "a", "--requires", "b"], "--requires is 'b'; allowed is KEY=JSON, such as "),
        (["r", "a", "--requires", "=5"], "--requires is '=5'; allowed is KEY=JSON, such as "),
        (["r", "a", "--requires", "b=c"], "--requires is 'b=c'; allowed is KEY=JSON, such as "),
        (["r", "a", "--on", "yes"], "'yes' is not JSON: "),
        (["r", "a", "--json", "-"], "--json has the whole rule: leave out MATCH and "),
        (["r", "--min", "0", "--json", "-"], "--json has the whole rule: leave out MATCH and "),
        (["r", "a", "--json-value"], "There is no option --json-value; allowed are --type, "),
    ],
)
def test_wrong_usage_is_explained(shell: Shell, words: list[str], said: str) -> None:
    done = shell("rule", "set", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_a_rule_that_the_server_refuses_is_explained(shell: Shell) -> None:
    done = shell("rule", "set", "r", "_signalbox.theme")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("signalbox: The rule r cannot be used: /match is ")
    assert "there are ls, " in shell("rule", "list").err


def test_a_dry_run_says_which_keys_would_break_it(shell: Shell, box: Server) -> None:
    for number in range(4):
        box.set(f"dry.{number}", number)
    revision = box.get("/queries/status").json()["revision"]
    out = shell.ok("rule", "set", "dry", "dry.*", "--max", "1", "--dry-run")
    assert out == f"2 keys would break it, at revision {revision}\ndry.2\ndry.3\n"
    assert shell("rule", "show", "dry").status == 3


def test_a_key_is_described(shell: Shell, box: Server) -> None:
    shell.ok(*LAMP)
    box.set("lamp.hall", False)
    *_, rule, off, on = shell.ok("describe", "lamp.hall").splitlines()
    assert rule.startswith('rule lamp\t{"match": "lamp.*"')
    assert off == "allowed\tfalse"
    assert on == "refused\ttrue: Put the fuse in first. fuse.hall does not exist; it must be true."
    out = shell.ok("describe", "lamp.hall", "--value", "5", "--json")
    assert json.loads(out)["values"][0]["refusal"]["code"] == "rule"
    shell.ok("rule", "set", "owner", "mine", "--actor", "ada")
    assert "allowed\t1" in shell.ok("describe", "mine", "--value", "1", "--actor", "ada")
    assert "refused\t1: mine may be changed by ada; this was cli." in shell.ok(
        "describe", "mine", "--value", "1"
    )
    assert shell.ok("describe", "nothing") == ""


def test_keys_that_break_a_rule_are_listed_with_exit_status_1(shell: Shell, box: Server) -> None:
    for key, value in (("check.a", 1), ("check.b", "old"), ("check.c", 99)):
        box.set(key, value)
    assert shell.ok("check") == ""
    revision = box.get("/queries/status").json()["revision"]
    shell.ok("rule", "set", "number", "check.*", "--type", "number")
    shell.ok("rule", "set", "small", "check.*", "--max", "9")
    done = shell("check")
    assert (done.status, done.err) == (1, "")
    assert [line.split("\t")[:2] for line in done.out.splitlines()] == [
        ["check.b", "number"],
        ["check.c", "small"],
    ]
    assert shell("check", "check.b", "--json").json()["message"] == (
        'check.b cannot be "old"; it must be a number.'
    )
    assert shell("check", "--rule", "small", "--limit", "1").out.startswith("check.c\tsmall\t")
    assert shell.ok("check", "check.a") == ""
    assert shell.ok("check", "--at", str(revision)) == ""
    done = shell("check", "--rule", "none")
    assert (done.status, done.err) == (3, 'signalbox: There is no rule "none".\n')


def test_rules_are_exported_with_the_settings_behind_the_keys(shell: Shell, box: Server) -> None:
    box.set("export.a", "old")
    box.set("_signalbox.theme", "dark")
    box.set("_signalbox.window.raise", 1)
    box.set("_signalbox.retention.export", {"max_age": "2d"})
    shell.ok("rule", "set", "export", "export.**", "--type", "number")
    lines = [
        json.loads(line) for line in shell.ok("export", "export.**", "--settings").splitlines()
    ]
    assert [line["key"] for line in lines] == [
        "export.a",
        "_signalbox.retention.export",
        "_signalbox.rules.export",
        "_signalbox.theme",
    ]
    assert "_signalbox." not in shell.ok("export", "export.**")
    for kind in ("json", "csv", "env"):
        assert "rules" in shell.ok("export", "--settings", "--format", kind).lower()
    at = box.get("/queries/status").json()["revision"] - 1
    assert "rules" not in shell.ok("export", "--settings", "--at", str(at))
    assert shell("export", "--settings", "--history").status == 2
    done = shell("export", "_signalbox.**", "--settings")
    assert (done.status, "has them already" in done.err) == (1, True)


def test_an_export_with_rules_is_imported_whole(shell: Shell, box: Server, tmp_path: Path) -> None:
    box.set("again.a", "old")
    shell.ok("rule", "set", "again", "again.**", "--type", "number")
    exported = shell.ok("export", "again.**", "--settings")
    with serving(tmp_path / "other") as other:
        copy = Shell(other.data_dir)
        copy.ok("import", "-", stdin=exported.encode())
        assert copy.ok("export", "again.**", "--settings") == exported
        assert copy("check").status == 1
