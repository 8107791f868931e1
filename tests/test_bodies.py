"""Bodies over real sockets: framing that cannot be trusted, and what large ones take together."""

import re
from contextlib import ExitStack

import pytest

from support.harness import Server
from support.raw_http import (
    CHUNKED_HEADER,
    JSON_HEADER,
    SET_COMMAND,
    chunk,
    head,
    plain_socket,
    post_bytes,
    read_answer,
)

MIB = 1024 * 1024


def test_large_bodies_that_do_not_come_keep_out_large_ones_only(answering_server: Server) -> None:
    large = f"Content-Length: {16 * MIB}"
    with ExitStack() as stack:
        for _ in range(4):
            plain = stack.enter_context(plain_socket(answering_server))
            plain.sendall(
                head(answering_server, "POST /commands", JSON_HEADER, large) + b'{"type":'
            )
        while (
            answer := post_bytes(
                answering_server, b"{}" + b" " * 65_536, f"Content-Length: {65_538}"
            )
        ).status == 422:
            pass  # until the server has read the four heads
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["code"] == "busy"
        assert answering_server.set("k", value="small")["status"] == "accepted"
    while (
        post_bytes(
            answering_server,
            SET_COMMAND + b" " * 65_536,
            f"Content-Length: {65_536 + len(SET_COMMAND)}",
        ).status
        == 429
    ):
        pass  # until the server has noticed that they left


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (CHUNKED_HEADER, b"zz\r\nabc\r\n"),
        (CHUNKED_HEADER, b"3\r\nabcd\r\n"),
        ("Transfer-Encoding: gzip", b""),
        ("Transfer-Encoding: gzip, chunked", chunk(SET_COMMAND) + b"0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("path", ["/commands", "/commands/import"])
def test_nothing_is_taken_for_a_request_behind_a_body_without_a_known_end(
    answering_server: Server, path: str, header: str, body: bytes
) -> None:
    kind = JSON_HEADER if path == "/commands" else "Content-Type: application/x-ndjson"
    smuggled = (
        head(answering_server, "POST /commands", JSON_HEADER, f"Content-Length: {len(SET_COMMAND)}")
        + SET_COMMAND
    )
    with plain_socket(answering_server) as plain:
        plain.sendall(head(answering_server, f"POST {path}", kind, header) + body + smuggled)
        said = plain.makefile("rb").read()
    assert len(re.findall(rb"HTTP/1\.1 \d", said)) == 1
    assert b"malformed" in said


def test_chunked_bodies_count_by_what_has_come(answering_server: Server) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(plain_socket(answering_server)) for _ in range(12)]
        for plain in waiting:
            plain.sendall(
                head(answering_server, "POST /commands", JSON_HEADER, CHUNKED_HEADER)
                + chunk(SET_COMMAND[:7])
            )
        for plain in waiting:
            plain.sendall(chunk(SET_COMMAND[7:]) + b"0\r\n\r\n")
        assert [read_answer(plain).status for plain in waiting] == [200] * 12
