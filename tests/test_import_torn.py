"""Imports that trickle, break off, are cut by the server's end, or are sent again."""

import json
import socket
from pathlib import Path

import pytest

from support.harness import Server
from support.import_upload import chunked_import, revision, set_commands
from support.nodes import until
from support.raw_http import NDJSON, Client, chunk, head, lines, plain_socket, read_answer, serving


def test_a_slow_import_that_was_cut_goes_on_where_it_was_when_sent_again(
    engine_server: Server, engine_client: Client
) -> None:
    """Batches end where the sender paused; sent again at once, they end there again."""
    pieces = [
        lines(*({"type": "add", "key": f"cut.{n % 5}"} for n in range(part))) for part in (3, 40, 7)
    ]
    with (
        engine_server.stream(match="cut.**") as stream,
        chunked_import(engine_server, "id=cut") as plain,
    ):
        stream.until("caught-up")
        for piece in pieces:
            plain.sendall(chunk(piece))
            stream.until("change")
    rest = lines(*({"type": "add", "key": "cut.end"} for _ in range(25)))
    summary = engine_client.load(b"".join(pieces) + rest, id="cut")[-1]
    assert (summary["status"], summary["lines"]) == ("accepted", 75)
    assert (summary["accepted"], summary["duplicates"]) == (25, 50)
    assert sum(engine_client.state("cut.*").values()) == 75


def test_an_import_that_breaks_off_keeps_what_it_had_applied(
    engine_server: Server, engine_client: Client
) -> None:
    with engine_server.stream(match="broken.*") as stream:
        stream.until("caught-up")
        with chunked_import(engine_server, "id=broken") as plain:
            plain.sendall(chunk(b'{"type":"add","key":"broken.n"}\n'))
            stream.until("change")
            plain.sendall(b"500\r\n" + b'{"type":"add","key":"broken.n"}\n{"type":')
        engine_client.send("add", key="broken.last")
        stream.until("change")
    until(lambda: engine_client.get("status").json()["connections"] == 1)  # the import is over
    assert engine_client.value("broken.n") in {1, 2}
    assert engine_client.send("set", key="k", value="alive").status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_an_atomic_import_that_breaks_off_does_nothing(
    engine_server: Server, engine_client: Client, framing: str
) -> None:
    before = revision(engine_client)
    body = lines(*set_commands("atomic.cut", 50))
    kind = f"Content-Type: {NDJSON['Content-Type']}"
    with engine_server.stream(acks=True) as stream, plain_socket(engine_server) as plain:
        stream.until("caught-up")
        plain.sendall(head(engine_server, "POST /commands/import?atomic=1&id=torn", kind, framing))
        plain.sendall(body if "Length" in framing else chunk(body))
        plain.shutdown(socket.SHUT_WR)
        ack = stream.until("ack")[-1].data
        summary = json.loads(read_answer(plain).body.splitlines()[-1])
    assert (ack["id"], ack["status"], ack["code"]) == ("torn-1", "rejected", "malformed")
    assert (summary["status"], summary["code"]) == ("rejected", "malformed")
    assert (summary["accepted"], summary["revision"], revision(engine_client)) == (
        0,
        before,
        before,
    )


def test_a_refused_atomic_import_is_an_attempt_with_one_outcome(engine_client: Client) -> None:
    body = lines(*set_commands("whole", 700)) + b'{"type":"set","key":"a..b","value":1}\n'
    first = engine_client.load(body, atomic=1, id="whole")[-1]
    record = engine_client.get("attempts/whole-1").json()
    assert (record["status"], record["code"]) == ("rejected", "invalid")
    assert record["message"] == first["message"]
    assert engine_client.load(body, atomic=1, id="whole")[-1] == first
    other = engine_client.load(body + b"\n" + body, atomic=1, id="whole")[-1]
    assert (other["status"], other["code"]) == ("rejected", "id_reused")


def test_lines_that_trickle_are_applied_meanwhile(
    engine_server: Server, engine_client: Client
) -> None:
    with (
        engine_server.stream(match="trickle.n") as stream,
        chunked_import(engine_server, "id=trickle") as plain,
    ):
        stream.until("caught-up")
        last = ""
        while not last:
            plain.sendall(chunk(b'{"type":"add","key":"trickle.n"}\n'))
            last = str(engine_client.get("state", match="trickle.n").json()["total"] or "")
        assert stream.until("change")


def test_a_server_that_ends_writes_what_it_has_and_says_how_to_go_on(tmp_path: Path) -> None:
    with serving(tmp_path / "ending") as engine_server:
        with (
            engine_server.stream(match="ending.n") as stream,
            chunked_import(engine_server, "id=ending") as plain,
        ):
            stream.until("caught-up")
            plain.sendall(chunk(b'{"type":"add","key":"ending.n"}\n'))
            stream.until("change")
            plain.sendall(chunk(b'{"type":"add","key":"ending.n"}\n{"type":"add","key":"ending'))
            engine_server.process.terminate()
            summary = json.loads(read_answer(plain).body.splitlines()[-1])
        assert (summary["status"], summary["code"]) == ("rejected", "unavailable")
        assert summary["accepted"] == 2
