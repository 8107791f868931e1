"""History on the command line: moments, differences, and lists of keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import Client, lines, serving


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


NUMBERS: Final = range(2_500)
"""More than a page has."""


def columns(text: str, *numbers: int) -> list[list[str]]:
    """These columns of what is printed into a pipe."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [[row[number] for number in numbers] for row in rows]


def delete(box: Server, key: str, **fields: Any) -> None:
    assert box.post({"type": "delete", "key": key, **fields}).status == 200


class TestHistory:
    def test_it_is_newest_first_with_the_difference_of_numbers(
        self, box: Server, shell: Shell
    ) -> None:
        for value in (1, 5, 4.5, 4.7, "text", 7, True, 8, 10**30, None):
            box.set("n", value, actor="tester")
        delete(box, "n", actor="tester")
        assert columns(shell.ok("history", "n"), 0, 2, 3, 4) == [
            ["11", "tester", "(deleted)", ""],
            ["10", "tester", "null", ""],
            ["9", "tester", str(10**30), f"+{10**30 - 8}"],
            ["8", "tester", "8", ""],
            ["7", "tester", "true", ""],
            ["6", "tester", "7", ""],
            ["5", "tester", "text", ""],
            ["4", "tester", "4.7", "+0.2"],
            ["3", "tester", "4.5", "-0.5"],
            ["2", "tester", "5", "+4"],
            ["1", "tester", "1", ""],
        ]

    def test_a_part_of_it(self, box: Server, shell: Shell) -> None:
        for value in range(5):
            box.set("n", value)
        part = shell.ok("history", "n", "--before", "5", "--limit", "2")
        assert columns(part, 0, 4) == [["4", "+1"], ["3", "+1"]]
        found = shell("history", "n", "--json").lines()
        assert [one["revision"] for one in found] == [5, 4, 3, 2, 1]
        assert set(found[0]) == {"revision", "at", "actor", "id", "type", "value"}

    def test_it_goes_through_all_pages(self, box: Server, shell: Shell) -> None:
        with Client(box) as client:
            for _ in range(1_100):
                client.send("add", key="n")
        rows = columns(shell.ok("history", "n"), 0, 3)
        assert rows == [[str(n), str(n)] for n in range(1_100, 0, -1)]

    def test_of_what_is_no_key_there_is_none(self, shell: Shell) -> None:
        assert shell("history", "a..b").status == 1


class TestMoments:
    def test_what_is_shown_is_as_it_was(self, box: Server, shell: Shell) -> None:
        box.set("a.x", 1)
        box.set("a.y", 2)
        box.set("a.x", 3)
        delete(box, "a.y")
        assert shell.ok("get", "a.x", "--at", "2") == "1\n"
        assert shell("get", "a.y", "--at", "4").status == 3
        assert shell("get", "a.y", "--at", "1").status == 3
        assert shell.ok("ls", "--at", "2") == "a.x\t1\na.y\t2\n"
        assert shell.ok("tree", "a", "--at", "3") == "x\t1\ny\t1\n"
        assert shell.ok("export", "--at", "1", "--format", "json") == '{\n"a.x": 1\n}\n'
        assert shell.ok("ls", "--at", "now") == shell.ok("ls") == "a.x\t3\n"

    @pytest.mark.parametrize("words", ["ls", "tree", "export", "export --history"])
    @pytest.mark.parametrize("at", ["0", "1999-12-31"])
    def test_before_the_first_change_it_says_why_nothing_is_printed(
        self, box: Server, shell: Shell, words: str, at: str
    ) -> None:
        box.set("a", 1)
        done = shell(*words.split(), "--at", at)
        said = "signalbox: Nothing was there then: the first change came later.\n"
        assert done == (0, "", said)

    def test_a_key_that_never_was_has_no_history(self, box: Server, shell: Shell) -> None:
        never = 'signalbox: There is no key "a.x", and never was as far back as the history goes.\n'
        assert shell("history", "a.x") == shell("history", "a.x", "--json") == (3, "", never)
        box.set("a.x", 1)
        shell.ok("rm", "a.x")
        assert shell.ok("history", "a.x").count("\n") == 2
        assert shell.ok("history", "a.x", "--before", "1") == ""

    def test_what_is_not_there_is_quoted(self, box: Server, shell: Shell) -> None:
        for words in (["get", "a.b"], ["rm", "a.b"], ["rm", "a."], ["mv", "a.b", "c"]):
            done = shell(*words)
            assert (done.status, done.out) == (3, "")
            assert f'There is no key "{words[1]}"' in done.err
        box.set("a", 1)
        assert 'There was no key "a" then.' in shell("get", "a", "--at", "0").err

    def test_a_time_is_the_last_revision_not_later(self, box: Server, shell: Shell) -> None:
        for number in (1, 2, 3):
            box.set("n", number)
        for revision, at, value in columns(shell.ok("history", "n"), 0, 1, 3):
            told = shell("get", "n", "--at", at, "--json").json()
            assert (told["revision"], str(told["value"])) == (int(revision), value)
        assert shell("get", "n", "--at", "2001-01-01T10:00").status == 3
        assert shell.ok("get", "n", "--at", "2999-01-01") == "3\n"

    @pytest.mark.parametrize("moment", ["yesterday", "-1", "1.5", "", "2026-13-01"])
    def test_what_is_no_moment_is_a_wrong_use(self, shell: Shell, moment: str) -> None:
        done = shell("ls", f"--at={moment}")
        assert (done.status, done.out) == (2, "")
        assert "ISO 8601" in done.err

    def test_what_is_not_there_yet_is_refused(self, shell: Shell) -> None:
        assert shell("ls", "--at", "7").status == 1

    def test_a_history_is_exported_a_transaction_a_line(self, box: Server, shell: Shell) -> None:
        box.set("a", 1, actor="tester", id="one")
        delete(box, "a")
        box.set("b", 1)
        first, second = shell("export", "a", "--history", "--at", "3").lines()
        assert (first["id"], first["actor"], first["changes"]) == (
            "one",
            "tester",
            [{"key": "a", "value": 1}],
        )
        assert second["changes"] == [{"key": "a", "deleted": True}]
        assert shell("export", "--history", "--format", "csv").status == 2


class TestDiff:
    @pytest.fixture(autouse=True)
    def past(self, box: Server) -> None:
        box.set("a.x", 1)
        box.set("a.y", "text")
        box.set("a.x", 2)
        delete(box, "a.y")
        box.set("b", None)

    def test_it_is_listed_in_either_direction(self, shell: Shell) -> None:
        forth = "- a.x\t1\n+ a.x\t2\n- a.y\ttext\n+ b\tnull\n3 keys differ from revision 2 to 5\n"
        back = "- a.x\t2\n+ a.x\t1\n+ a.y\ttext\n- b\tnull\n3 keys differ from revision 5 to 2\n"
        assert shell.ok("diff", "2", "now") == shell.ok("diff", "2", "5") == forth
        assert shell.ok("diff", "now", "2") == back
        assert shell.ok("diff", "1", "5", "a.x").endswith("1 key differs from revision 1 to 5\n")
        assert shell.ok("diff", "3", "3") == "0 keys differ from revision 3 to 3\n"

    def test_its_ends_may_be_times(self, shell: Shell) -> None:
        [begin] = columns(shell.ok("history", "a.y", "--before", "4"), 1)[0]
        assert shell.ok("diff", begin, "2999-01-01") == shell.ok("diff", "2", "5")

    def test_for_programs_it_has_lines_and_a_total(self, shell: Shell) -> None:
        *found, total = (
            json.loads(one) for one in shell.ok("diff", "2", "5", "--json").split("\n")[:-1]
        )
        assert found == [
            {"key": "a.x", "before": 1, "after": 2},
            {"key": "a.y", "before": "text"},
            {"key": "b", "after": None},
        ]
        assert total == {"from": 2, "to": 5, "total": 3}

    def test_on_a_terminal_it_has_colours(self, box: Server, shell: Shell) -> None:
        box.set("evil", "\x1b[2J")
        out = shell.on_terminal("diff", "2", "now").out
        assert "\x1b[31m- a.x\t1\x1b[0m\n\x1b[32m+ a.x\t2\x1b[0m\n" in out
        assert "\x1b[2J" not in out

    def test_it_goes_through_all_pages(self, box: Server, shell: Shell) -> None:
        with Client(box) as client:
            client.load(
                lines(*({"type": "set", "key": f"k{n:04}", "value": n} for n in range(2_500)))
            )
        out = shell.ok("diff", "5", "now").splitlines()
        assert out[:-1] == [f"+ k{n:04}\t{n}" for n in NUMBERS]
        assert out[-1] == "2,500 keys differ from revision 5 to 6"


class TestLists:
    def test_keys_are_searched_sorted_and_counted_off(self, box: Server, shell: Shell) -> None:
        for key, value in (("a", 1), ("b", "Straße"), ("c", 2), ("a", 3)):
            box.set(key, value)
        assert shell.ok("ls", "--search", "STRASSE") == "b\tStraße\n"
        assert shell.ok("ls", "--type", "number") == "a\t3\nc\t2\n"
        assert shell.ok("ls", "--sort", "changed", "--limit", "2") == "a\t3\nc\t2\n"
        assert (
            shell.ok("ls", "--type", "number", "--at", "3", "--sort", "changed") == "c\t2\na\t1\n"
        )
        for wrong in (["--type", "text"], ["--sort", "value"], ["--limit", "0"]):
            assert shell("ls", *wrong).status == 2

    def test_attempts_are_picked_by_actor_and_outcome(self, box: Server, shell: Shell) -> None:
        for number in range(150):
            box.set("n", number, actor="loop")
        box.post({"type": "toggle", "key": "n", "actor": "other"})
        assert len(shell.ok("log").splitlines()) == 100
        assert len(shell.ok("log", "--actor", "loop", "--limit", "120").splitlines()) == 120
        assert columns(shell.ok("log", "--status", "rejected"), 1, 4) == [["other", "type"]]
        assert shell.ok("log", "--actor", "other", "--status", "accepted") == ""
        [newest] = (
            json.loads(line) for line in shell.ok("log", "--limit", "1", "--json").splitlines()
        )
        assert newest["actor"] == "other"
