"""What retention has removed, on the command line and in the client: said, never left to guess."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import signalbox
from signalbox.client import Box
from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving

REMOVED = "signalbox: Retention has removed older changes below t.; what needs them is left out.\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Revisions 1 to 6 for `t.a` and `k` in turn; nothing old is kept below `t.`."""
    with serving(tmp_path / "store") as one:
        for number in (1, 2, 3):
            one.set("t.a", number)
            one.set("k", number)
        one.set("_signalbox.retention.t", {"max_age": "0s"})
        Shell(one.data_dir).ok("compact")
        yield one


@pytest.fixture
def shell(server: Server) -> Shell:
    return Shell(server.data_dir)


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    with signalbox.connect("tester", url=server.url, token=server.write_token) as one:
        yield one


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["ls", "--at", "4"], "k\t2\n"),
        (["tree", "--at", "4"], "k\t1\n"),
        (["diff", "4", "6"], "- k\t2\n+ k\t3\n1 key differs from revision 4 to 6\n"),
        (["export", "--at", "4", "--format", "json"], '{\n"k": 2\n}\n'),
    ],
)
def test_an_answer_says_what_it_lacks(shell: Shell, arguments: list[str], out: str) -> None:
    assert shell(*arguments) == (0, out, REMOVED)


def test_what_lacks_nothing_says_nothing(shell: Shell) -> None:
    assert shell.ok("ls", "k", "--at", "4") == "k\t2\n"
    assert shell.ok("diff", "4", "6", "k").startswith("- k\t2\n")
    assert shell.ok("ls", "--at", "now") == "k\t3\nt.a\t3\n"
    assert shell.ok("history", "k").count("\n") == 3


def test_a_history_says_that_there_was_more(shell: Shell) -> None:
    done = shell("history", "t.a")
    assert (done.status, done.out.split("\t")[0], done.err) == (0, "5", REMOVED)
    done = shell("export", "t.**", "--history")
    assert (done.status, done.out.count("\n"), done.err) == (0, 1, REMOVED)
    *_, summary = shell("diff", "4", "6", "--json").lines()
    assert summary == {"from": 4, "to": 6, "total": 1, "compacted": ["t."]}


def test_one_key_is_refused(shell: Shell) -> None:
    done = shell("get", "t.a", "--at", "4")
    assert (done.status, done.out) == (1, "")
    assert "t." in done.err


def test_what_cannot_be_restored_is_refused_unless_it_is_left_out(shell: Shell) -> None:
    told = (
        "signalbox: Retention has removed what the keys below t. were at revision 4.\n"
        "signalbox: To restore all else: --without t.\n"
    )
    for options in ([], ["--yes"], ["--dry-run"], ["--yes", "--json"]):
        assert shell("restore", "4", *options) == (1, "", told)
    asked = shell.on_terminal("restore", "4")
    assert (asked.status, asked.out) == (1, told)
    left_out = ("restore", "4", "--without", "t.")
    told = shell.ok(*left_out, "--dry-run")
    assert told == "- k\t3\n+ k\t2\n1 key would be as in revision 4\n"
    shell.ok(*left_out)
    assert shell.ok("ls") == "k\t2\nt.a\t3\n"


def test_compact_says_what_would_go_and_what_has_gone(server: Server, shell: Shell) -> None:
    server.set("t.a", 4)
    revision = server.set("t.a", 5)["revision"]
    for options, tense in ((["--dry-run"], "would go"), ([], "have gone")):
        first, titles, root, below = shell.ok("compact", *options).splitlines()
        assert first == (
            f"2 changes in 2 transactions {tense}; "
            "for each prefix, from which revision on all changes are kept:"
        )
        assert titles == "prefix\tkept for\tchanges\twhole from revision\tof"
        assert root.split("\t")[:3] == ["**", "365d", "0"]
        assert below.split("\t")[:4] == ["t.", "0s", "2", str(revision)]
    report = shell("compact", "--dry-run", "--json").json()
    assert (report["dry_run"], report["changes"], report["transactions"]) == (True, 0, 0)
    assert f"retention t.\t0s, whole from revision {revision}\n" in shell.ok("status")
    assert shell.ok("verify").startswith("sound")


def test_a_stretch_that_is_not_whole_is_replayed_with_a_word(shell: Shell, tmp_path: Path) -> None:
    with serving(tmp_path / "target") as target:
        into = ("--into", str(target.data_dir), "--speed", "0")
        done = shell("replay", "--from", "0", *into)
        assert (done.status, done.err) == (0, REMOVED)
        assert Shell(target.data_dir).ok("ls") == "k\t3\nt.a\t3\n"
        assert shell.ok("replay", "--from", "6", *into).startswith("0 transactions sent")


def test_the_client_raises_where_an_answer_would_lack_something(box: Box) -> None:
    assert dict(box.items("k", at=4)) == {"k": 2}
    assert [one.after for one in box.diff(4, 6, "k")] == [3]
    for asked in (
        lambda: box.get("t.a", at=4),
        lambda: list(box.items(at=4)),
        lambda: list(box.diff(4)),
        lambda: box.restore(4),
    ):
        with pytest.raises(signalbox.Rejected) as caught:
            asked()
        assert (caught.value.status, caught.value.code) == (410, "compacted")
    assert [version.value for version in box.history("t.a")] == [3]


def test_the_client_compacts(box: Box) -> None:
    box["t.a"] = 4
    box["t.a"] = 5
    assert box.compact(dry_run=True)["changes"] == 2
    assert box.compact()["changes"] == 2
    assert box.compact()["changes"] == 0
