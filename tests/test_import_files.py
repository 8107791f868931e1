"""Files of every format through the import: what is exported comes back, nothing is swallowed."""

import json
from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.values import MAX_BYTES
from support.format_reading import ANY_VALUE
from support.harness import Server
from support.import_upload import OCTETS, TYPES, refused_lines, upload
from support.raw_http import Client, memory, serving

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("files") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        made.send("delete_prefix", prefix="t.")
        yield made


@pytest.fixture(scope="module")
def shared(box: Server) -> Iterator[Client]:
    """For many examples in a row."""
    with Client(box) as made:
        yield made


def raw_set(client: Client, key: str, raw: str) -> None:
    command = f'{{"type":"set","key":{json.dumps(key)},"value":{raw}}}'
    answer = client.ask("POST", "/commands", command.encode(), {"Content-Type": TYPES["json"]})
    assert answer.status == 200, answer


KEY = st.text("aB1_='+-@:é;,#{}[]\"\\$°温", min_size=1, max_size=8).map("t.{}".format)
NAME = st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True)


@settings(deadline=None, max_examples=25)
@given(state=st.dictionaries(KEY, ANY_VALUE, min_size=1, max_size=8))
def test_what_is_exported_comes_back_equal(shared: Client, state: dict[str, Any]) -> None:
    for kind in ("ndjson", "json", "csv"):
        shared.send("delete_prefix", prefix="t.")
        for key, value in state.items():
            raw_set(shared, key, json.dumps(value))
        exported = shared.get("export", match="t.**", format=kind).body
        plain = shared.get("export", match="t.**").body
        shared.send("delete_prefix", prefix="t.")
        summary = upload(shared, exported, kind)[-1]
        assert (summary["status"], summary["rejected"], summary["format"]) == ("accepted", 0, kind)
        assert shared.get("export", match="t.**").body == plain


@settings(deadline=None, max_examples=25)
@given(state=st.dictionaries(NAME, ANY_VALUE, min_size=1, max_size=8))
def test_what_is_exported_for_a_shell_comes_back_equal(
    shared: Client, state: dict[str, Any]
) -> None:
    for key in [*shared.state("*")]:
        shared.send("delete", key=key)
    for key, value in state.items():
        raw_set(shared, key, json.dumps(value))
    exported = shared.get("export", match="*", format="env").body
    plain = shared.get("export", match="*").body
    for key in state:
        shared.send("delete", key=key)
    summary = upload(shared, exported)[-1]
    assert (summary["status"], summary["rejected"], summary["format"]) == ("accepted", 0, "env")
    assert shared.get("export", match="*").body == plain


def test_keys_that_a_spreadsheet_would_run_come_back(client: Client) -> None:
    odd = ["=a", "'=a", "''+b", "-c", "@d", "'e", '"f"', "g,h;i", "Küche Licht", "#j"]
    for key in odd:
        raw_set(client, key, "1")
    exported = client.get("export", match="*", format="csv").body
    before = client.state("*")
    assert set(odd) <= before.keys()
    for key in before:
        client.send("delete", key=key)
    assert upload(client, exported, "csv")[-1]["rejected"] == 0
    assert client.state("*") == before
    for key in odd:
        client.send("delete", key=key)


@pytest.mark.parametrize("kind", ["ndjson", "env", "json", "csv"])
def test_an_empty_store_comes_back(client: Client, kind: str) -> None:
    exported = client.get("export", match="t.**", format=kind).body
    summary = upload(client, exported, kind, format=kind)[-1]
    assert (summary["status"], summary["lines"]) == ("accepted", 0)


@pytest.mark.parametrize(
    ("body", "kind", "lines", "kept"),
    [
        (b"t.a=1 # don't\nt.b=k\xfcche\nt.c='open\nt.d=4\n", "env", [2, 3], {"t.a": 1, "t.d": 4}),
        (b"key;value\rt.a;1\rt.b;k\xfc\rt.c;TRUE\r", "csv", [3], {"t.a": 1, "t.c": True}),
        (b'{"t.a":1,"t.a":2,\n"t.b":{"k":1,"k":2},\n"t.c":"\\ud800",\n"t.d":4}', "json",
         [1, 2, 3], {"t.a": 1, "t.d": 4}),
        (b"\xef\xbb\xbft.a = 1\nno\nt.b = x\n", "lines", [2], {"t.a": 1, "t.b": "x"}),
        (b'\xef\xbb\xbf{"type":"add","key":"t.a"}\n\xfc\n{"type":"add","key":"t.a"}\n', "ndjson",
         [2], {"t.a": 2}),
    ],
    ids=["env", "csv", "json", "lines", "ndjson"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["format", "name"])
def test_every_fault_is_named_and_the_lines_behind_it_are_read(
    client: Client, body: bytes, kind: str, lines: list[int], kept: dict[str, Any], how: str
) -> None:
    told = {"format": kind} if how == "format" else {"name": f"x.{kind}".replace("lines", "txt")}
    answer = upload(client, body, **told)
    assert (refused_lines(answer), answer[-1]["format"]) == (lines, kind)
    assert (answer[-1]["status"], answer[-1]["rejected"]) == ("accepted", len(lines))
    assert client.state("t.**") == kept


def test_an_import_that_is_sent_again_does_nothing_twice_in_any_format(client: Client) -> None:
    body = b"key,value\n" + b"".join(b't.%d,"two\nlines"\n' % n for n in range(12_000))
    first = upload(client, body, "csv", id="csv-again")[-1]
    again = upload(client, body, "csv", id="csv-again")[-1]
    assert (first["accepted"], again["accepted"], again["duplicates"]) == (12_000, 0, 12_000)
    assert first["revision"] == again["revision"]


def test_what_is_sent_again_slowly_is_recognised(client: Client) -> None:
    lines = [b't.%d = "x"\n' % n for n in range(20)]

    def slowly() -> Iterator[bytes]:
        """With a pause in which another sender's lines would be applied."""
        yield b"".join(lines[:10])
        sleep(0.7)
        yield b"".join(lines[10:])

    first = upload(client, b"".join(lines), format="lines", id="slowly")[-1]
    again = upload(client, slowly(), format="lines", id="slowly")[-1]
    assert (first["accepted"], again["status"], again["duplicates"]) == (20, "accepted", 20)


def test_atomic_writes_nothing_of_a_file_that_breaks_off(client: Client) -> None:
    before = client.get("status").json()["revision"]
    for body in (b'{"t.a": 1, "t.b": ', b'{"t.a": 1, "t.b": 2', b'{"t.a": 1, "t.b": nul}'):
        summary = upload(client, body, "json", atomic=1)[-1]
        assert (summary["status"], summary["code"]) == ("rejected", "malformed")
    assert client.get("status").json()["revision"] == before


@pytest.mark.parametrize("kind", ["ndjson", "json", "csv", "env", "lines"])
def test_a_line_of_many_mebibytes_is_refused_in_bounded_memory(
    box: Server, client: Client, kind: str
) -> None:
    before, block = memory(box), b"x" * MIB
    starts = {"csv": b"key,value\n", "json": b'{"t.a":"'}
    body = (starts.get(kind, b"t.a='") if n == 0 else block for n in range(33))
    answer = upload(client, body, format=kind)
    assert answer[-1]["accepted"] == 0
    assert answer[-1]["status"] == "rejected" or refused_lines(answer)
    assert memory(box) - before < 24 * MIB
    assert client.state("t.**") == {}


def test_an_object_of_any_size_in_one_line_is_read_in_bounded_memory(
    box: Server, client: Client
) -> None:
    taken, value = [], "x" * (MAX_BYTES - 2)
    for count in (60, 240):
        parts = (f'"t.big":"{value}",'.encode() for _ in range(count))
        body = (part for group in ([b"{"], parts, [b'"t.last":1}']) for part in group)
        answer = upload(client, body, "json")
        assert len(refused_lines(answer)) == count - 1  # the same name again
        taken.append(memory(box))
    assert client.value("t.last") == 1
    assert taken[1] - taken[0] < 30 * MIB


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n\0", b"SQLite format 3\0", b"PK\x03\x04\0\0"])
def test_what_is_no_text_is_refused_with_what_is_expected(client: Client, start: bytes) -> None:
    for kind in ("", "env", "csv", "json", "ndjson", "lines"):
        told = {"format": kind} if kind else {}
        *rows, summary = upload(client, start + b"\n\0\xff=1" * 400_000, **told)
        assert (rows, summary["status"], summary["code"]) == ([], "rejected", "malformed")
        assert "expected is a text" in summary["message"]


@pytest.mark.parametrize("kind", ["text/plain", "text/csv; charset=latin-1", "image/png", ""])
def test_another_media_type_is_refused(client: Client, kind: str) -> None:
    answer = client.ask("POST", "/commands/import?format=env", b"A=1", {"Content-Type": kind})
    assert answer.status == 415
    assert OCTETS in answer.json()["message"]


@pytest.mark.parametrize("query", ["format=xml", "encoding=utf-7", "format=lines&format=csv"])
def test_a_parameter_that_makes_no_sense_is_named(client: Client, query: str) -> None:
    answer = client.ask("POST", f"/commands/import?{query}", b"", {"Content-Type": OCTETS})
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert query.split("=", maxsplit=1)[0] in answer.json()["message"]


def test_any_number_of_blank_bytes_may_stand_first(client: Client) -> None:
    blank = (b" " * 100_000 + b"\n") * 60
    done = upload(client, blank + b'{"type":"set","key":"t.a","value":1}\n', "ndjson")[-1]
    assert (done["status"], done["accepted"]) == ("accepted", 1)
