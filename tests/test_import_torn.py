"""Imports that trickle, break off, are cut by the server's end, or are sent again."""

import json
import socket
from pathlib import Path

import pytest

from support.harness import Server
from support.nodes import until
from support.raw_http import NDJSON, Client, head, lines, plain_socket, read_answer, serving
from test_import import box, chunk, client, revision, sending, sets

__all__ = ["box", "client"]  # fixtures


def test_a_slow_import_that_was_cut_goes_on_where_it_was_when_sent_again(
    box: Server, client: Client
) -> None:
    """Batches end where the sender paused; sent again at once, they end there again."""
    pieces = [
        lines(*({"type": "add", "key": f"cut.{n % 5}"} for n in range(part))) for part in (3, 40, 7)
    ]
    with box.stream(match="cut.**") as stream, sending(box, "id=cut") as plain:
        stream.until("caught-up")
        for piece in pieces:
            plain.sendall(chunk(piece))
            stream.until("change")
    rest = lines(*({"type": "add", "key": "cut.end"} for _ in range(25)))
    summary = client.load(b"".join(pieces) + rest, id="cut")[-1]
    assert (summary["status"], summary["lines"]) == ("accepted", 75)
    assert (summary["accepted"], summary["duplicates"]) == (25, 50)
    assert sum(client.state("cut.*").values()) == 75


def test_an_import_that_breaks_off_keeps_what_it_had_applied(box: Server, client: Client) -> None:
    with box.stream(match="broken.*") as stream:
        stream.until("caught-up")
        with sending(box, "id=broken") as plain:
            plain.sendall(chunk(b'{"type":"add","key":"broken.n"}\n'))
            stream.until("change")
            plain.sendall(b"500\r\n" + b'{"type":"add","key":"broken.n"}\n{"type":')
        client.send("add", key="broken.last")
        stream.until("change")
    until(lambda: client.get("status").json()["connections"] == 1)  # the import is over
    assert client.value("broken.n") in {1, 2}
    assert client.send("set", key="k", value="alive").status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_an_atomic_import_that_breaks_off_does_nothing(
    box: Server, client: Client, framing: str
) -> None:
    before = revision(client)
    body = lines(*sets("atomic.cut", 50))
    kind = f"Content-Type: {NDJSON['Content-Type']}"
    with box.stream(acks=True) as stream, plain_socket(box) as plain:
        stream.until("caught-up")
        plain.sendall(head(box, "POST /commands/import?atomic=1&id=torn", kind, framing))
        plain.sendall(body if "Length" in framing else chunk(body))
        plain.shutdown(socket.SHUT_WR)
        ack = stream.until("ack")[-1].data
        summary = json.loads(read_answer(plain).body.splitlines()[-1])
    assert (ack["id"], ack["status"], ack["code"]) == ("torn-1", "rejected", "malformed")
    assert (summary["status"], summary["code"]) == ("rejected", "malformed")
    assert (summary["accepted"], summary["revision"], revision(client)) == (0, before, before)


def test_a_refused_atomic_import_is_an_attempt_with_one_outcome(client: Client) -> None:
    body = lines(*sets("whole", 700)) + b'{"type":"set","key":"a..b","value":1}\n'
    first = client.load(body, atomic=1, id="whole")[-1]
    record = client.get("attempts/whole-1").json()
    assert (record["status"], record["code"]) == ("rejected", "invalid")
    assert record["message"] == first["message"]
    assert client.load(body, atomic=1, id="whole")[-1] == first
    other = client.load(body + b"\n" + body, atomic=1, id="whole")[-1]
    assert (other["status"], other["code"]) == ("rejected", "id_reused")


def test_lines_that_trickle_are_applied_meanwhile(box: Server, client: Client) -> None:
    with box.stream(match="trickle.n") as stream, sending(box, "id=trickle") as plain:
        stream.until("caught-up")
        last = ""
        while not last:
            plain.sendall(chunk(b'{"type":"add","key":"trickle.n"}\n'))
            last = str(client.get("state", match="trickle.n").json()["total"] or "")
        assert stream.until("change")


def test_a_server_that_ends_writes_what_it_has_and_says_how_to_go_on(tmp_path: Path) -> None:
    with serving(tmp_path / "ending") as box:
        with box.stream(match="ending.n") as stream, sending(box, "id=ending") as plain:
            stream.until("caught-up")
            plain.sendall(chunk(b'{"type":"add","key":"ending.n"}\n'))
            stream.until("change")
            plain.sendall(chunk(b'{"type":"add","key":"ending.n"}\n{"type":"add","key":"ending'))
            box.process.terminate()
            summary = json.loads(read_answer(plain).body.splitlines()[-1])
        assert (summary["status"], summary["code"]) == ("rejected", "unavailable")
        assert summary["accepted"] == 2
