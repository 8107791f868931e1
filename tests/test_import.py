"""Import over HTTP: batches while the body is read, each line accounted for, sent again safely."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import StartServer
from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import Row
from signalbox.server.http.commands.import_row_reader import RowReader, body_error
from support.harness import SECONDS, Server
from support.import_upload import chunked_import, revision, set_commands
from support.raw_http import NDJSON, Client, chunk, lines, read_answer

MIB = 1024 * 1024


def rejected(answer: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return sorted((line["line"], line["code"]) for line in answer if line["type"] == "rejected")


def test_an_import_reports_progress_and_ends_with_a_summary(engine_client: Client) -> None:
    before = revision(engine_client)
    answer = engine_client.load(lines(*set_commands("many", 30_000)), id="many")
    assert {line["type"] for line in answer[:-1]} == {"progress"}
    summary = answer[-1]
    assert (summary["type"], summary["id"], summary["status"]) == ("summary", "many", "accepted")
    assert summary["lines"] == summary["accepted"] == summary["changes"] == 30_000
    assert summary["rejected"] == 0
    assert summary["revision"] == revision(engine_client) == before + summary["batches"]
    progress = [line["accepted"] for line in answer[:-1]]
    assert progress == sorted(progress)
    assert engine_client.get("tree", prefix="many.").json()["total"] == 30_000


def test_each_batch_is_one_transaction_and_one_attempt_of_its_actor(engine_client: Client) -> None:
    summary = engine_client.load(lines(*set_commands("actor", 10)), id="mine", actor="loader.py")[
        -1
    ]
    assert summary["batches"] == 1
    record = engine_client.get("attempts/mine-1").json()
    assert (record["actor"], record["changes"], record["type"]) == ("loader.py", 10, "import")
    assert engine_client.get("state/actor.000003").json()["actor"] == "loader.py"


def test_rejected_lines_are_numbered_and_the_others_done(engine_client: Client) -> None:
    text = b'{"type":"set","key":"text","value":"x"}'
    good = b'{"type":"add","key":"numbered"}'
    body = [good, b"", text, b"no json", good, b"  ", b'{"type":"toggle","key":"text"}', good]
    body += [b'{"type":"set","key":"a..b","value":1}', b"[1]", b'{"type":"set","key":"k"}', good]
    answer = engine_client.load(b"\r\n".join(body))
    assert rejected(answer) == [
        (4, "malformed"),
        (7, "type"),
        (9, "invalid"),
        (10, "malformed"),
        (11, "invalid"),
    ]
    assert (answer[-1]["lines"], answer[-1]["accepted"], answer[-1]["rejected"]) == (10, 5, 5)
    assert answer[-1]["status"] == "accepted"
    assert engine_client.value("numbered") == 4


@pytest.mark.parametrize("field", [{"id": "x"}, {"actor": "x"}, {"dry_run": True}])
def test_lines_carry_neither_id_nor_actor(engine_client: Client, field: dict[str, Any]) -> None:
    command = {"type": "set", "key": "never", "value": 1} | field
    assert rejected(engine_client.load(lines(command))) == [(1, "invalid")]
    assert engine_client.get("state/never").status == 404


def test_later_lines_see_earlier_ones_and_may_expect(engine_client: Client) -> None:
    commands: list[dict[str, Any]] = [
        {"type": "set", "key": "see.a", "value": 1, "expect": "absent"},
        {"type": "add", "key": "see.a", "expect": "present"},
        {"type": "set", "key": "see.a", "value": 9, "expect": "absent"},
        {"type": "rename", "key": "see.", "to": "seen."},
        {"type": "batch", "commands": [{"type": "toggle", "key": "seen.b"}]},
        {"type": "batch", "commands": [{"type": "set", "key": "half", "value": 1}, {"type": "x"}]},
        {"type": "delete_prefix", "prefix": "nothing."},
    ]
    answer = engine_client.load(lines(*commands))
    assert rejected(answer) == [(3, "conflict"), (6, "invalid")]
    assert engine_client.state("see*.**") == {"seen.a": 2, "seen.b": True}
    assert engine_client.get("state/half").status == 404


def test_a_line_of_one_mib_is_read_and_a_longer_one_reported_and_skipped(
    engine_client: Client,
) -> None:
    good = b'{"type":"add","key":"long.good"}\n'
    exactly = good[:-1] + b" " * (MIB - len(good) + 1) + b"\n"
    longer = good[:-1] + b" " * (MIB - len(good) + 2) + b"\n"
    huge = b'{"type":"set","key":"long.bad","value":"' + b"x" * (5 * MIB) + b'"}\n'
    answer = engine_client.load(exactly + longer + good + huge + good)
    assert rejected(answer) == [(2, "too_large"), (4, "too_large")]
    assert [line["limit"] for line in answer if line["type"] == "rejected"] == [MIB, MIB]
    assert engine_client.state("long.*") == {"long.good": 3}


def test_an_import_may_be_larger_than_any_other_body(engine_client: Client) -> None:
    value = "x" * 100_000
    summary = engine_client.load(lines(*set_commands("big", 300, value)))[-1]
    assert (summary["accepted"], summary["status"]) == (300, "accepted")
    assert engine_client.value("big.000299") == value


def test_atomic_is_one_transaction(engine_client: Client) -> None:
    before = revision(engine_client)
    summary = engine_client.load(lines(*set_commands("one", 25_000)), atomic=1)[-1]
    assert (summary["status"], summary["batches"], summary["changes"]) == ("accepted", 1, 25_000)
    assert revision(engine_client) == before + 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"no json\n", "malformed"),
        (b'{"type":"set","key":"a..b","value":1}\n', "invalid"),
        (b'{"type":"add","key":"atomic.000001"}\n', "type"),
        (b'{"type":"set","key":"k","value":"' + b"x" * MIB + b'"}\n', "too_large"),
    ],
    ids=range(4),
)
def test_atomic_does_nothing_where_one_line_is_refused(
    engine_client: Client, bad: bytes, code: str
) -> None:
    before = revision(engine_client)
    body = lines(*set_commands("atomic", 500, "text")) + bad + lines(*set_commands("after", 500))
    summary = engine_client.load(body, atomic=1)[-1]
    assert (summary["status"], summary["code"]) == ("rejected", code)
    assert "501" in summary["message"]
    assert (summary["accepted"], summary["changes"], revision(engine_client)) == (0, 0, before)
    assert engine_client.get("state", match="atomic.**").json()["total"] == 0


def test_atomic_that_is_larger_than_a_transaction_is_too_large(engine_client: Client) -> None:
    before = revision(engine_client)
    takes = engine_client.get("status").json()["limits"]["transaction_bytes"]
    for body in (
        lines(*set_commands("huge", 170, "x" * 100_000)),
        lines(*set_commands("huge", 100_001)),
    ):
        summary = engine_client.load(body, atomic=1)[-1]
        assert (summary["status"], summary["code"]) == ("rejected", "too_large")
        assert summary["limit"] in {takes, 100_000}
    assert revision(engine_client) == before


def test_the_same_import_again_changes_nothing_and_says_the_same(engine_client: Client) -> None:
    body = b"".join(b'{"type":"add","key":"again.%d"}\n' % (n % 7) for n in range(12_000))
    first = engine_client.load(body, id="again")[-1]
    state, before = engine_client.state("again.*"), revision(engine_client)
    again = engine_client.load(body, id="again")[-1]
    assert (engine_client.state("again.*"), revision(engine_client)) == (state, before)
    for name in ("status", "lines", "batches", "changes", "revision"):
        assert again[name] == first[name]
    assert (first["accepted"], first["duplicates"]) == (12_000, 0)
    assert (again["accepted"], again["duplicates"]) == (0, 12_000)


def test_sent_again_lines_that_were_refused_are_not_called_accepted(engine_client: Client) -> None:
    good, bad = {"type": "add", "key": "refused.n"}, {"type": "toggle", "key": "refused.n"}
    first = engine_client.load(lines(good, bad), id="refused")
    assert rejected(first) == [(2, "type")]
    again = engine_client.load(lines(good, bad), id="refused")[-1]
    assert (again["accepted"], again["rejected"], again["duplicates"]) == (0, 0, 2)


def test_another_import_under_the_same_id_is_refused(engine_client: Client) -> None:
    engine_client.load(lines(*set_commands("taken", 10)), id="taken")
    before = revision(engine_client)
    summary = engine_client.load(lines(*set_commands("other", 10)), id="taken")[-1]
    assert (summary["status"], summary["code"]) == ("rejected", "id_reused")
    assert revision(engine_client) == before


def summary_of(plain: socket.socket) -> dict[str, Any]:
    plain.sendall(b"0\r\n\r\n")
    found: dict[str, Any] = json.loads(read_answer(plain).body.splitlines()[-1])
    return found


def test_what_has_arrived_is_applied_while_the_sender_goes_on(
    engine_server: Server, engine_client: Client
) -> None:
    with (
        engine_server.stream(match="slow.n") as stream,
        chunked_import(engine_server, "id=slow") as plain,
    ):
        stream.until("caught-up")
        for count in range(1, 4):
            plain.sendall(chunk(b'{"type":"add","key":"slow.n"}\n{"type":"add"'))
            assert stream.until("change")[-1].data["changes"] == [{"key": "slow.n", "value": count}]
            plain.sendall(chunk(b',"key":"slow.half"}\n'))
        engine_client.send("set", key="slow.other", value="meanwhile")
        plain.shutdown(socket.SHUT_WR)
    with chunked_import(engine_server, "id=other") as plain:
        plain.sendall(chunk(b'{"type":"add","key":"slow.n"}'))
        assert summary_of(plain)["accepted"] == 1
    assert engine_client.value("slow.n") == 4


def test_two_imports_at_once_do_not_mix(engine_server: Server, engine_client: Client) -> None:
    with (
        chunked_import(engine_server, "id=left") as left,
        chunked_import(engine_server, "id=right") as right,
    ):
        for _ in range(20):
            left.sendall(
                chunk(b'{"type":"add","key":"both.left"}\n{"type":"add","key":"both.n"}\n')
            )
            right.sendall(chunk(b'{"type":"add","key":"both.n"}\n'))
        assert summary_of(left)["accepted"] == 40
        assert summary_of(right)["accepted"] == 20
    assert engine_client.state("both.*") == {"both.left": 20, "both.n": 40}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("id=a%20b", "id"),
        ("id=" + "x" * 49, "id"),
        ("actor=a/b", "actor"),
        ("atomic=2", "atomic"),
        ("dry_run=2", "dry_run"),
        ("id=a&id=b", "id"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(
    engine_client: Client, query: str, named: str
) -> None:
    answer = engine_client.ask("POST", f"/commands/import?{query}", b"", NDJSON)
    body = answer.json()
    assert (answer.status, body["code"], body["status"]) == (422, "invalid", "rejected")
    assert named in body["message"]


@pytest.mark.parametrize("body", [b"", b"\n\n \n", b"\r\n"])
def test_an_import_of_nothing_is_accepted(engine_client: Client, body: bytes) -> None:
    (*_, summary), before = engine_client.load(body), revision(engine_client)
    assert (summary["status"], summary["lines"], summary["batches"]) == ("accepted", 0, 0)
    assert revision(engine_client) == before


def test_an_export_is_imported_into_another_store_and_is_equal(
    engine_server: Server, server: StartServer, tmp_path: Path
) -> None:
    with Client(engine_server) as here, Client(server(data_dir=tmp_path / "other")) as there:
        exported = here.get("export").body
        summary = there.load(exported)[-1]
        assert (summary["rejected"], summary["status"]) == (0, "accepted")
        assert there.get("export").body == exported


class Breaking(ImportFile):
    """One whose reader fails behind its first row, as only a fault of ours could make it."""

    def read(self, blocks: Iterator[bytes]) -> Iterator[list[Row]]:
        del blocks
        yield [Row(1, b"{}")]
        raise KeyError("xyz")


def test_a_file_of_which_not_all_was_read_is_never_taken_for_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[bool] = []
    request: Any = SimpleNamespace(
        body=None, is_server_stopping=False, close_connection=lambda: closed.append(True)
    )
    reader = RowReader(request, Breaking("ndjson"))
    assert reader.next_rows(SECONDS) == [Row(1, b"{}")]
    assert reader.next_rows(SECONDS) is None
    error = body_error(reader)
    assert error is not None
    assert (error.code, closed) == ("internal", [True])
    assert "not read to its end" in error.message
    assert "xyz" not in error.message
    assert "xyz" in caplog.text  # for whoever mends it
