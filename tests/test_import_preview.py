"""A preview of an import: what it would do at one revision, with nothing written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Shell
from support.harness import Server
from support.import_upload import refused_lines, upload
from support.raw_http import Client, lines, memory, serving

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("preview") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        made.send("delete_prefix", prefix="t.")
        for key, value in {"t.same": 1, "t.other": "x", "t.p.a": 1, "t.p.b": 2}.items():
            made.send("set", key=key, value=value)
        yield made


def found(summary: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(summary[name] for name in ("new", "changed", "equal", "deleted", "rejected"))


def revision(client: Client) -> int:
    return int(client.get("status").json()["revision"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("csv", "key,value\nt.same,1.0\nt.other,y\nt.new,5\nt.bad,[\nt.new,6\n"),
        ("env", "t.same=1\nt.other=y\nt.new=5\nt.bad='\nt.more=7"),
        ("json", '{"t.same":1,\n"t.other":"y",\n"t.new":5,\n"t.bad":nul,\n"t.new":7}'),
        ("lines", "t.same = 1\nt.other = y\nt.new = 5\nbad\nt.new = 6"),
    ],
)
def test_it_says_what_is_new_changed_equal_and_refused_and_writes_nothing(
    client: Client, kind: str, body: str
) -> None:
    before, state = revision(client), client.state("t.**")
    answer = upload(client, body.encode(), format=kind, dry_run=1, id="preview")
    summary = answer[-1]
    assert (summary["dry_run"], summary["revision"], summary["format"]) == (True, before, kind)
    assert summary["new"] == (2 if kind == "env" else 1)
    assert (summary["changed"], summary["equal"], summary["deleted"]) == (1, 1, 0)
    line = {"csv": 5, "json": 4}.get(kind, 4)
    assert line in refused_lines(answer)
    assert (revision(client), client.state("t.**")) == (before, state)
    assert client.get("attempts/preview-1").status == 404
    done = upload(client, body.encode(), format=kind, id=f"done-{kind}")
    assert refused_lines(done) == refused_lines(answer)
    assert done[-1]["accepted"] == summary["accepted"]


def test_commands_of_every_kind_see_those_before_them(client: Client) -> None:
    body = lines(
        {"type": "delete_prefix", "prefix": "t.p."},
        {"type": "set", "key": "t.p.a", "value": 1},
        {"type": "add", "key": "t.n", "by": 2},
        {"type": "toggle", "key": "t.other"},
        {"type": "rename", "key": "t.n", "to": "t.p.n"},
        {"type": "set", "key": "t.same", "value": 2},
        {"type": "set", "key": "t.same", "value": 1},
        {"type": "set", "key": "t.p.n", "value": 3, "expect": "absent"},
        {"type": "undo"},
        {"type": "batch", "commands": [{"type": "set", "key": "t.z", "value": 1}]},
        {"type": "delete_prefix", "prefix": "t.z."},
    )
    answer = upload(client, body, "ndjson", dry_run=1)
    assert refused_lines(answer) == [4, 8, 9]
    assert found(answer[-1]) == (2, 0, 2, 1, 3)
    before = client.state("t.**")
    upload(client, body, "ndjson")
    after = client.state("t.**")
    assert len(after.keys() - before.keys()) == 2
    assert before.keys() - after.keys() == {"t.p.b"}


@pytest.mark.parametrize("body", ["[1]", '{"t.a": 1', "", "{} x"])
def test_a_file_that_cannot_be_read_is_said(client: Client, body: str) -> None:
    summary = upload(client, body.encode(), "json", dry_run=1)[-1]
    assert (summary["status"], summary["code"]) == ("rejected", "malformed")
    assert client.get("state/t.a").status == 404


def test_an_atomic_one_is_refused_with_its_first_bad_line(client: Client) -> None:
    summary = upload(client, b"t.a = 1\nno\nt.b = 2\n", format="lines", dry_run=1, atomic=1)[-1]
    assert (summary["status"], summary["code"]) == ("rejected", "malformed")
    assert summary["message"].startswith("Line 2: ")
    many = b"".join(b"t.%d = 1\n" % number for number in range(100_001))
    summary = upload(client, many, format="lines", dry_run=1, atomic=1)[-1]
    assert (summary["status"], summary["limit"]) == ("rejected", 100_000)
    assert "100001 changes" in summary["message"]


def test_an_atomic_one_that_fails_is_counted_to_its_end(client: Client) -> None:
    body = b'{"type":"add","key":"t.other"}\nno\n' + b'{"type":"set","key":"t.a","value":1}\n' * 3
    for given in (body, body.replace(b"no\n", b"")):
        answer = upload(client, given, "ndjson", dry_run=1, atomic=1)
        done = upload(client, given, "ndjson", atomic=1)
        names = ("status", "code", "message", "lines", "accepted", "rejected", "changes")
        assert [answer[-1][name] for name in names] == [done[-1][name] for name in names]
        assert refused_lines(answer) == refused_lines(done)
        assert found(answer[-1])[:-1] == (0, 0, 0, 0)


def test_an_atomic_one_whose_text_is_too_long_is_too_large_whatever_it_says(
    client: Client,
) -> None:
    body = b" " * (MIB - 1) + b"\n"
    for given in ({"dry_run": 1}, {}):
        answer = upload(client, body * 33, "ndjson", atomic=1, **given)
        assert answer[-1]["code"] == "too_large"


def test_a_history_is_counted(client: Client) -> None:
    recorded = client.get("export", history=1).body
    summary = upload(client, recorded, "ndjson", dry_run=1)[-1]
    assert (summary["format"], summary["status"]) == ("history", "accepted")
    assert (summary["accepted"], summary["duplicates"]) == (0, revision(client))
    deep = b'{"revision":1,"changes":' + b"[" * 3_000
    assert upload(client, deep, "ndjson", dry_run=1)[-1]["status"] == "rejected"


def test_a_large_file_takes_bounded_memory_and_others_are_served_meanwhile(
    box: Server, client: Client
) -> None:
    before, value = memory(box), "x" * 100_000
    body = (b't.%d = "%s"\n' % (number % 500, value.encode()) for number in range(700))
    with Client(box) as other:
        summary = upload(client, body, format="lines", dry_run=1)[-1]
        assert other.value("t.same") == 1
    assert (summary["new"], summary["accepted"]) == (500, 700)
    assert memory(box) - before < 40 * MIB


def test_the_command_line_shows_it(box: Server, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("key,value\nt.same,1\nt.other,y\nt.new,5\nt.bad,[\n")
    before = revision(client)
    shell = Shell(box.data_dir)
    done = shell("import", str(file), "--dry-run")
    assert done.out == "1 new, 1 changed, 0 deleted, 1 equal, 1 bad\n"
    assert (done.status, done.err.split(":")[1]) == (1, " line 5")
    assert shell("import", str(file), "--dry-run", "--json").json() == {
        "new": 1,
        "changed": 1,
        "deleted": 0,
        "equal": 1,
        "rejected": 1,
        "revision": before,
    }
    assert json.loads(shell.ok("status", "--json"))["revision"] == before
