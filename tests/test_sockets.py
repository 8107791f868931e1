"""Hostile connections over real sockets: lies about length, odd requests, too many, too slow."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import BinaryIO

import pytest

from support.harness import Server
from support.raw_http import (
    CHUNKED_HEADER,
    JSON_HEADER,
    SET_COMMAND,
    Client,
    chunk,
    exchange,
    head,
    plain_socket,
    post_bytes,
    read_answer,
    serving,
)

MIB = 1024 * 1024


def closes(plain: socket.socket) -> bool:
    """Whether the server has closed, or closes now; what it still says is read."""
    try:
        while plain.recv(65_536):
            pass
    except ConnectionError:
        return True
    return True


def test_a_body_may_be_chunked(answering_server: Server) -> None:
    body = chunk(SET_COMMAND[:7]) + chunk(SET_COMMAND[7:]) + b"0\r\n\r\n"
    assert post_bytes(answering_server, body, CHUNKED_HEADER).status == 200


def test_a_chunked_body_beyond_the_limit_is_refused(answering_server: Server) -> None:
    body = chunk(b" " * MIB) * 16 + chunk(SET_COMMAND) + b"0\r\n\r\n"
    answer = post_bytes(answering_server, body, CHUNKED_HEADER)
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["limit"] == 16 * MIB


@pytest.mark.parametrize("size", [b"zz", b"-1", b"", b"1 1", b"0x5"])
def test_a_chunk_of_no_size_is_refused(answering_server: Server, size: bytes) -> None:
    answer = post_bytes(
        answering_server, size + b"\r\n" + SET_COMMAND + b"\r\n0\r\n\r\n", CHUNKED_HEADER
    )
    assert 400 <= answer.status < 500


def test_a_body_that_ends_before_its_length_is_refused_and_does_nothing(
    answering_server: Server,
) -> None:
    for headers, body in (
        (["Content-Length: 500"], SET_COMMAND),
        ([CHUNKED_HEADER], chunk(SET_COMMAND)),
        ([CHUNKED_HEADER], b"50\r\n" + SET_COMMAND),
    ):
        with plain_socket(answering_server) as plain, Client(answering_server) as client:
            before = client.get("status").json()["revision"]
            plain.sendall(head(answering_server, "POST /commands", JSON_HEADER, *headers) + body)
            plain.shutdown(socket.SHUT_WR)
            assert closes(plain)
            assert client.get("status").json()["revision"] == before


def test_a_body_longer_than_its_length_is_cut_there(answering_server: Server) -> None:
    """What follows is the next request, and none."""
    with plain_socket(answering_server) as plain:
        length = f"Content-Length: {len(SET_COMMAND)}"
        plain.sendall(
            head(answering_server, "POST /commands", JSON_HEADER, length)
            + SET_COMMAND
            + b"extra\r\n\r\n"
        )
        assert read_answer(plain).status == 200
        assert closes(plain)


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "1,1", "1 1", ""])
def test_a_length_that_is_no_number_is_refused(answering_server: Server, length: str) -> None:
    answer = post_bytes(answering_server, SET_COMMAND, f"Content-Length: {length}")
    assert 400 <= answer.status < 500


def test_two_lengths_are_refused(answering_server: Server) -> None:
    """Who reads the one and who reads the other would see different requests."""
    answer = post_bytes(
        answering_server, SET_COMMAND, f"Content-Length: {len(SET_COMMAND)}", "Content-Length: 3"
    )
    assert answer.status == 400


def test_a_length_of_many_terabytes_is_refused_before_anything_is_read(
    answering_server: Server,
) -> None:
    answer = post_bytes(answering_server, b"", f"Content-Length: {2**44}")
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert str(2**44) in answer.json()["message"]


def test_a_client_that_asks_first_is_told_to_go_on(answering_server: Server) -> None:
    with plain_socket(answering_server) as plain:
        length = f"Content-Length: {len(SET_COMMAND)}"
        plain.sendall(
            head(answering_server, "POST /commands", JSON_HEADER, length, "Expect: 100-continue")
        )
        assert plain.recv(65_536).startswith(b"HTTP/1.1 100")
        plain.sendall(SET_COMMAND)
        assert read_answer(plain).status == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE",
        b"GET",
        b"GET /",
        b"GET / HTTP/9.9",
        b"GET / HTTP/1.1 extra",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1",
        b"PRI * HTTP/2.0",
        "GET /é HTTP/1.1".encode(),
    ],
    ids=range(10),
)
def test_what_is_no_request_is_refused(answering_server: Server, request_line: bytes) -> None:
    with plain_socket(answering_server) as plain:
        plain.sendall(request_line + b"\r\n\r\n")
        with suppress(OSError):  # the server may have closed already
            plain.shutdown(socket.SHUT_WR)
        said = plain.recv(65_536)
        assert said == b"" or 400 <= int(said.split(b" ")[1]) < 600
        assert said[9:12] != b"500"


@pytest.mark.parametrize(
    "headers",
    [
        ["X: " + "a" * 100_000],
        [f"X-{number}: a" for number in range(500)],
        ["No colon at all"],
        [": no name"],
        ["X: a\r\n folded"],
        ["Cookie: " + "a=b; " * 10_000],
        ["X: \udcff\udcfe"],
        ["Content-Type: \udcff"],
    ],
    ids=range(8),
)
def test_headers_of_any_kind_break_nothing(answering_server: Server, headers: list[str]) -> None:
    answer = exchange(answering_server, head(answering_server, "GET /queries/status", *headers))
    assert answer.status in {200, 400, 431}


@pytest.mark.parametrize(
    "path",
    [
        "//queries/status",
        "/queries/../queries/status",
        "/queries/state/%00",
        "/queries/state/%2E%2E%2Fetc",
        "/queries/state/" + "a" * 300,
        "/queries/state/a%0d%0aX-Injected:1",
        "/queries/status/",
        "/queries",
        "/QUERIES/STATUS",
        "/queries/attempts/%E2%80%A8",
    ],
)
def test_odd_paths_are_refused_in_json(answering_server: Server, path: str) -> None:
    answer = exchange(answering_server, head(answering_server, f"GET {path}"))
    assert answer.status in {404, 422}
    assert answer.json()["code"] in {"not_found", "invalid"}
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("path", ["/queries/state/%FF%FE", "/%C3", "/queries/history/a%C3%28"])
def test_a_path_that_is_not_utf8_is_malformed(answering_server: Server, path: str) -> None:
    answer = exchange(answering_server, head(answering_server, f"GET {path}"))
    assert (answer.status, answer.json()["code"]) == (400, "malformed")
    assert "The path is not UTF-8: byte " in answer.json()["message"]


METHODS = ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "post"]


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused_and_the_right_one_named(
    answering_server: Server, method: str
) -> None:
    for path, right in (
        ("/commands", "POST"),
        ("/commands/import", "POST"),
        ("/queries/state", "GET"),
        ("/queries/stream", "GET"),
    ):
        answer = exchange(
            answering_server, head(answering_server, f"{method} {path}", "Content-Length: 0")
        )
        assert (answer.status, answer.json()["code"]) == (405, "method")
        assert right in answer.headers["allow"]


def test_commands_take_no_get_and_queries_no_post(answering_server: Server) -> None:
    for request, right in (("GET /commands", "POST"), ("POST /queries/state", "GET")):
        answer = exchange(answering_server, head(answering_server, request, "Content-Length: 0"))
        assert (answer.status, answer.json()["code"]) == (405, "method")
        assert right in answer.headers["allow"]


PARAMETERS = [
    ("state?limit=0", "limit"),
    ("state?limit=1001", "limit"),
    ("state?limit=abc", "limit"),
    ("state?limit=9999999999999999999999", "limit"),
    ("state?limit=1.5", "limit"),
    ("state?limit=%D9%A1", "limit"),
    ("state?limit=1&limit=2", "limit"),
    ("state?limits=1", "limits"),
    ("state?sort=value", "sort"),
    ("state?type=int", "type"),
    ("state?match=a%09b", "match"),
    ("state?match=", "match"),
    ("state?match=%FF", "UTF-8"),
    ("state?sort=changed&after=x", "after"),
    ("state?sort=changed&after=%C2%B2:a", "after"),
    ("state?sort=changed&after=" + "9" * 19 + ":a", "after"),
    ("tree?prefix=a", "prefix"),
    ("tree?prefix=.", "prefix"),
    ("tree?sort=key", "sort"),
    ("attempts?status=done", "status"),
    ("attempts?before=x", "before"),
    ("attempts?before=%C2%B2.1", "before"),
    ("attempts?before=" + "9" * 19 + ".1", "before"),
    ("export?format=xml", "format"),
    ("export?match=a%C2%A0b", "match"),
    ("stream?after=x", "after"),
    ("stream?after=-1", "after"),
    ("stream?after=1.5", "after"),
    ("stream?after=%C2%B2", "after"),
    ("stream?after=" + "9" * 19, "after"),
    ("stream?acks=yes", "acks"),
    ("stream?from=1", "from"),
    ("status?verbose=1", "verbose"),
    ("metrics?x", "x"),
    ("state/k?at=x", "at"),
    ("state/k?moment=1", "moment"),
    ("state/a%20%20b", "key"),
    ("state/a%20", "key"),
    ("state/a%09b", "key"),
    ("state/a*b", "key"),
    ("page?datastar=[", "datastar"),
    ("page?datastar=1", "datastar"),
]


@pytest.mark.parametrize(("query", "named"), PARAMETERS)
def test_a_parameter_that_cannot_be_used_is_named(
    answering_server: Server, query: str, named: str
) -> None:
    answer = answering_server.get(f"/queries/{query}")
    body = answer.json()
    assert (answer.status, body["code"]) == (422, "invalid"), body
    assert named in body["message"]
    assert "status" not in body
    assert body["message"].endswith(".")


def test_a_pattern_of_many_stars_keeps_nobody_waiting(answering_server: Server) -> None:
    answering_server.set("a" * 250, value="a" * 1_000)
    for pattern in ("**a" * 100 + "**b", "*a" * 100 + "*b", "**a*" * 60 + "b"):
        page = answering_server.get("/queries/state", match=pattern).json()
        assert (page["total"], page["items"]) == (0, [])
        with answering_server.stream(match=pattern) as stream:
            stream.until("caught-up")
            answering_server.set("a" * 250, value=pattern)
            answering_server.set("alive", value=pattern)


def test_hundreds_of_connections_that_say_nothing_keep_nobody_out(answering_server: Server) -> None:
    with ExitStack() as stack:
        for number in range(300):
            plain = stack.enter_context(plain_socket(answering_server))
            plain.sendall(head(answering_server, "POST /commands", JSON_HEADER)[: number % 60])
        answer = answering_server.get("/queries/status")
        assert answer.json()["connections"] >= 250
        assert answering_server.set("k", value="meanwhile")["status"] == "accepted"


def test_one_connection_too_many_is_refused_until_another_has_closed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data_dir = tmp_path_factory.mktemp("few") / "store"
    with serving(data_dir, "--max-connections", "5") as answering_server, ExitStack() as stack:
        clients = [stack.enter_context(Client(answering_server)) for _ in range(5)]
        assert [client.get("status").status for client in clients] == [200] * 5
        answer = exchange(answering_server, head(answering_server, "GET /queries/status"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["code"] == "busy"
        assert answer.json()["limit"] == 5
        assert clients[0].send("set", key="k", value=1).status == 200
        limits = clients[0].get("status").json()["limits"]
        assert limits["connections"] == 5
        clients[1].close()
        while (
            exchange(answering_server, head(answering_server, "GET /queries/status")).status == 429
        ):
            clients[0].get("status")  # until the server has noticed


def test_many_requests_may_be_sent_ahead_on_one_connection(answering_server: Server) -> None:
    with plain_socket(answering_server) as plain:
        for number in range(50):
            body = json.dumps({"type": "set", "key": f"ahead.{number}", "value": number}).encode()
            length = f"Content-Length: {len(body)}"
            plain.sendall(head(answering_server, "POST /commands", JSON_HEADER, length) + body)
        answers = plain.makefile("rb")
        revisions = [
            json.loads(line)["revision"] for line in answers_of(answers) if line.startswith(b"{")
        ]
    assert len(revisions) == 50
    assert revisions == sorted(revisions)


def answers_of(stream: BinaryIO) -> Iterator[bytes]:
    """The bodies of 50 answers, each of a known length."""
    for _ in range(50):
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        yield stream.read(length)
