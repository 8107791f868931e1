"""`undo`, `redo` and `restore` on the command line: what they do, tell, ask and refuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox.server.model.decide import MAX_TRANSACTION_BYTES
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


def columns(text: str, *numbers: int) -> list[list[str]]:
    """These columns of what is printed into a pipe."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [[row[number] for number in numbers] for row in rows]


def delete(box: Server, key: str, **fields: Any) -> None:
    assert box.post({"type": "delete", "key": key, **fields}).status == 200


class TestUndo:
    def test_what_the_command_line_did_last_is_undone_and_done_again(
        self, box: Server, shell: Shell
    ) -> None:
        shell.ok("set", "a", "1")
        shell.ok("set", "a", "2")
        box.set("other", 1)
        told = shell.ok("undo")
        assert told.startswith("undone: set a by cli, 20")
        assert told.endswith("\nrevision 4\n")
        assert shell.ok("get", "a") == "1\n"
        assert shell.ok("redo").startswith("done again: set a by cli, 20")
        assert shell.ok("get", "a") == "2\n"
        shell.ok("undo")
        assert shell("undo", "--json").json()["changes"] == 1
        assert shell.ok("ls") == "other\t1\n"
        done = shell("undo")
        assert (done.status, done.out) == (1, "")
        assert "nothing" in done.err

    def test_it_works_across_restarts(self, tmp_path: Path) -> None:
        shell = Shell(tmp_path / "alone")
        for key in ("a.x", "a.y"):
            shell.ok("set", key, "1")
        before = shell.ok("export")
        shell.ok("rm", "a.")
        assert shell.ok("ls") == ""
        shell.ok("undo")
        assert shell.ok("export") == before

    def test_another_ones_or_a_named_command(self, box: Server, shell: Shell) -> None:
        box.set("a", 1, actor="backup.sh", id="first")
        box.set("b", 1, actor="backup.sh")
        assert "by backup.sh" in shell.ok("undo", "--actor", "backup.sh")
        assert shell.ok("ls") == "a\t1\n"
        shell.ok("undo", "--of", "first")
        assert shell.ok("ls") == ""
        shell.ok("redo", "--of", "first")
        assert shell.ok("ls") == "a\t1\n"
        assert shell("undo", "--of", "nobody-knows").status == 3

    def conflict(self, box: Server, shell: Shell) -> None:
        """Three keys in one command, two of which somebody has changed since."""
        box.set("c.x", 0, actor="before")
        shell.ok("import", "-", "--format", "lines", stdin=b"c.x = 1\nc.y = 1\nc.z = 1\n")
        box.set("c.x", "theirs", actor="other")
        delete(box, "c.y", actor="somebody")

    def test_a_conflict_lists_each_key(self, box: Server, shell: Shell) -> None:
        self.conflict(box, shell)
        done = shell("undo")
        assert done.status == 1
        assert done.out == (
            "c.x: now theirs, by other, revision 3\n"
            "  undo would make it 0\n"
            "c.y: now (deleted), by somebody, revision 4\n"
            "  undo would make it (deleted)\n"
        )
        assert "2 keys have been changed since; nothing was undone." in done.err
        told = shell("undo", "--json").json()
        assert (told["code"], told["keys"]) == ("conflict", ["c.x", "c.y"])
        first, second = told["conflicts"]
        assert (first["now"], first["back"], first["actor"]) == ("theirs", 0, "other")
        assert "now" not in second
        assert "back" not in second
        assert shell.ok("ls") == "c.x\ttheirs\nc.z\t1\n"

    def test_each_key_is_kept_or_replaced(self, box: Server, shell: Shell) -> None:
        self.conflict(box, shell)
        shell.ok("undo", "--keep", "c.y", "--replace", "c.x=3")
        assert shell.ok("ls") == "c.x\t0\n"
        box.set("c.z", "again", actor="somebody")
        done = shell("redo")
        assert done.status == 1
        assert "c.z: now again, by somebody, revision 6\n  redo would make it 1\n" in done.out
        shell.ok("redo", "--keep", "c.z")
        assert shell.ok("ls") == "c.x\ttheirs\nc.z\tagain\n"

    def test_what_a_conflict_tells_is_of_the_command_that_is_meant(
        self, box: Server, shell: Shell
    ) -> None:
        """The last is undone already, so the one before it is in question."""
        for value in "123":
            shell.ok("set", "a", value)
        shell.ok("undo")
        shell.ok("redo")
        shell.ok("undo")
        box.set("a", "theirs", actor="other")
        assert "undo would make it 1\n" in shell("undo").out
        *_, first = shell("history", "a", "--json").lines()
        assert "undo would make it (deleted)\n" in shell("undo", "--of", first["id"]).out

    @pytest.mark.parametrize("replace", ["a", "a=", "=1", "a=x", "a=-1"])
    def test_a_replacement_names_a_revision(self, shell: Shell, replace: str) -> None:
        done = shell("undo", "--replace", replace)
        assert (done.status, done.out) == (2, "")

    def test_a_key_may_contain_the_sign(self, box: Server, shell: Shell) -> None:
        shell.ok("set", "a=b", "1")
        revision = box.set("a=b", 2)["revision"]
        shell.ok("undo", "--replace", f"a=b={revision}")
        assert shell.ok("ls") == ""

    def test_an_import_too_large_for_one_transaction_is_undone_in_parts(
        self, box: Server, shell: Shell
    ) -> None:
        def values() -> set[str]:
            state = box.get("/queries/export?format=json").json()
            return {value[:1] for value in state.values()}

        keys, size = [f"k{n:02}" for n in range(100)], MAX_TRANSACTION_BYTES // 90
        with Client(box) as client:
            for identity, letter in (("before", "a"), ("large", "b")):
                sets = ({"type": "set", "key": key, "value": letter * size} for key in keys)
                *_, summary = client.load(lines(*sets), id=identity, actor="loader")
        assert summary["batches"] > 1
        told = shell.ok("undo", "--of", "large").splitlines()
        assert len(told) == summary["batches"] + len(["revision"])
        assert values() == {"a"}
        shell.ok("redo", "--of", "large")
        assert values() == {"b"}
        box.set("k00", "theirs", actor="other")
        assert "k00: now theirs, by other" in shell("undo", "--of", "large").out
        shell.ok("undo", "--of", "large", "--keep", "k00")
        assert values() == {"a", "t"}
        assert shell.ok("get", "k00") == "theirs\n"


class TestRestore:
    @pytest.fixture(autouse=True)
    def past(self, box: Server) -> None:
        box.set("a.x", 1)
        box.set("b.x", 1)
        box.set("a.x", 2)
        box.set("a.y", 2)
        delete(box, "b.x")

    def test_a_match_or_everything_becomes_what_it_was(self, shell: Shell) -> None:
        assert shell.ok("restore", "2", "a.*") == "revision 6\n"
        assert shell.ok("ls") == "a.x\t1\n"
        assert shell.ok("restore", "2") == "revision 7\n"
        assert shell.ok("ls") == "a.x\t1\nb.x\t1\n"
        assert shell.ok("restore", "2") == "unchanged at revision 7\n"
        assert shell.ok("undo").startswith("undone: restore b.x by cli")
        assert shell.ok("ls") == "a.x\t1\n"

    def test_what_is_below_a_prefix_may_stay(self, shell: Shell) -> None:
        shell.ok("restore", "2", "--without", "a.")
        assert shell.ok("ls") == "a.x\t2\na.y\t2\nb.x\t1\n"

    def test_a_time_is_a_moment_as_well(self, shell: Shell) -> None:
        [at] = columns(shell.ok("history", "b.x", "--before", "3"), 1)[0]
        told = shell("restore", at, "--json").json()
        assert told["changes"] == 3
        assert shell.ok("ls") == "a.x\t1\nb.x\t1\n"

    def test_a_dry_run_lists_what_would_change(self, shell: Shell) -> None:
        listed = "- a.x\t2\n+ a.x\t1\n- a.y\t2\t(would be deleted)\n+ b.x\t1\n"
        told = "3 keys would be as in revision 2\n"
        assert shell.ok("restore", "2", "--dry-run") == listed + told
        assert shell.ok("restore", "2", "--dry-run", "--without", "a.") == (
            "+ b.x\t1\n1 key would be as in revision 2\n"
        )
        found = shell("restore", "2", "a.y", "--dry-run", "--json").json()
        assert (found["dry_run"], found["changes"], found["revision"]) == (True, 1, None)
        assert found["items"] == [{"key": "a.y", "before": 2}]
        assert "effects" not in found
        assert shell.ok("restore", "now", "--dry-run").startswith("Nothing would change")
        assert shell.ok("ls") == "a.x\t2\na.y\t2\n"

    def test_a_terminal_asks_after_it_has_shown_what_would_change(self, shell: Shell) -> None:
        for typed, status, kept in (
            (b"n\n", 1, "a.x\t2\na.y\t2\n"),
            (b"y\n", 0, "a.x\t1\nb.x\t1\n"),
        ):
            done = shell.on_terminal("restore", "2", typed=typed)
            assert done.status == status
            assert "+ a.x\t1" in done.out
            assert "3 keys would be as in revision 2\nRestore this?" in done.out
            assert shell.ok("ls") == kept
        done = shell.on_terminal("restore", "5", "--yes")
        assert (done.status, done.out) == (0, "revision 7\n")

    def test_what_is_no_moment_or_prefix_is_refused(self, shell: Shell) -> None:
        assert shell("restore", "yesterday").status == 2
        done = shell("restore", "99")
        assert (done.status, "There is no revision 99 yet" in done.err) == (1, True)
        assert shell("restore", "1", "--without", "a").status == 1
        assert shell("restore", "1", "a\u00a0b").status == 1
