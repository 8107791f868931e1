"""Bodies over real sockets: framing that cannot be trusted, and what large ones take together."""

import re
from contextlib import ExitStack

import pytest

from support.harness import Server
from support.raw_http import head, plain_socket, read_answer
from test_sockets import CHUNKED, COMMAND, JSON, MIB, box, chunk, post, shared

__all__ = ["box", "shared"]  # fixtures


def test_large_bodies_that_do_not_come_keep_out_large_ones_only(box: Server) -> None:
    large = f"Content-Length: {16 * MIB}"
    with ExitStack() as stack:
        for _ in range(4):
            plain = stack.enter_context(plain_socket(box))
            plain.sendall(head(box, "POST /commands", JSON, large) + b'{"type":')
        while (
            answer := post(box, b"{}" + b" " * 65_536, f"Content-Length: {65_538}")
        ).status == 422:
            pass  # until the server has read the four heads
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["code"] == "busy"
        assert box.set("k", value="small")["status"] == "accepted"
    while (
        post(box, COMMAND + b" " * 65_536, f"Content-Length: {65_536 + len(COMMAND)}").status == 429
    ):
        pass  # until the server has noticed that they left


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (CHUNKED, b"zz\r\nabc\r\n"),
        (CHUNKED, b"3\r\nabcd\r\n"),
        ("Transfer-Encoding: gzip", b""),
        ("Transfer-Encoding: gzip, chunked", chunk(COMMAND) + b"0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("path", ["/commands", "/commands/import"])
def test_nothing_is_taken_for_a_request_behind_a_body_without_a_known_end(
    box: Server, path: str, header: str, body: bytes
) -> None:
    kind = JSON if path == "/commands" else "Content-Type: application/x-ndjson"
    smuggled = head(box, "POST /commands", JSON, f"Content-Length: {len(COMMAND)}") + COMMAND
    with plain_socket(box) as plain:
        plain.sendall(head(box, f"POST {path}", kind, header) + body + smuggled)
        said = plain.makefile("rb").read()
    assert len(re.findall(rb"HTTP/1\.1 \d", said)) == 1
    assert b"malformed" in said


def test_chunked_bodies_count_by_what_has_come(box: Server) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(plain_socket(box)) for _ in range(12)]
        for plain in waiting:
            plain.sendall(head(box, "POST /commands", JSON, CHUNKED) + chunk(COMMAND[:7]))
        for plain in waiting:
            plain.sendall(chunk(COMMAND[7:]) + b"0\r\n\r\n")
        assert [read_answer(plain).status for plain in waiting] == [200] * 12
