"""Heads and bodies mean the same wherever the network cuts them: tried at every byte."""

from collections.abc import Sequence

import pytest

from signalbox.server.http.wire.body_framing import BodyError, ChunkedBody, SizedBody
from signalbox.server.http.wire.request_head import head_length, parse_head, without_empty_lines
from signalbox.server.model.errors import Malformed

HEAD = (
    b"POST /commands?a=%20b HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nX-Empty:\r\n"
    b"Content-Type:\tapplication/json \r\nTransfer-Encoding: Chunked\r\n\r\n"
)
NEXT = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = (
    b'5;a;b="c;\\" d" ; e = f\r\nhello\r\n00001\r\n \r\n5\r\nworld\r\n'
    b"0;g=1\r\nX-Sum: 1\r\nY:\r\n\r\n"
)


class Arriving:
    """A connection whose bytes arrive in these parts."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.buffer, self._parts = b"", list(parts)

    def receive(self) -> bool:
        self.buffer += self._parts[0] if self._parts else b""
        return bool(self._parts and self._parts.pop(0))

    def pause(self) -> None:
        """Nobody else is here."""

    def rest(self) -> bytes:
        """What was not read."""
        return self.buffer + b"".join(self._parts)


def cuts(data: bytes) -> list[list[bytes]]:
    """`data` in two parts, cut at every position, and byte by byte."""
    halves = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [[data], *halves, [bytes([byte]) for byte in data]]


def read(body: SizedBody | ChunkedBody, most: int) -> bytes:
    return b"".join(iter(lambda: body.read_some(most), b""))


def test_a_head_is_complete_at_its_last_byte_and_not_before() -> None:
    for at in range(len(HEAD)):
        assert head_length(HEAD[:at], 0) is None
        assert head_length(HEAD + NEXT, at) == len(HEAD)
    head = parse_head(HEAD)
    assert (head.method, head.path, head.query, head.length) == (
        "POST",
        "/commands",
        "a=%20b",
        None,
    )
    assert head.headers == {
        "host": "127.0.0.1:5000",
        "x-empty": "",
        "content-type": "application/json",
        "transfer-encoding": "Chunked",
    }


def parse_cut(data: bytes, at: int) -> None:
    """Parse a head that arrives in two parts."""
    head_length(data[:at], 0)
    parse_head(data[: head_length(data, at)])


@pytest.mark.parametrize(
    "wrong",
    [
        HEAD.replace(b"\r\nHost", b"\nHost"),
        HEAD.replace(b"\r\nX-Empty", b"\nX-Empty"),
        HEAD.replace(b"\r\nX-Empty:", b"\rX-Empty:"),
        HEAD.replace(b"\r\nX-Empty:", b"\r\n X-Empty:"),
        HEAD.replace(b"X-Empty:", b"X-Empty :"),
        HEAD.replace(b"POST ", b"POST  "),
        HEAD.replace(b" HTTP/1.1", b"\tHTTP/1.1"),
        HEAD.replace(b"Chunked", b"gzip, chunked"),
        HEAD.replace(b"X-Empty:", b"Content-Length: 3"),
    ],
)
def test_a_head_that_is_refused_is_refused_wherever_it_is_cut(wrong: bytes) -> None:
    for at in range(len(wrong)):
        with pytest.raises(Malformed):
            parse_cut(wrong, at)


def test_empty_lines_before_a_request_are_passed_over_wherever_they_are_cut() -> None:
    for before in (b"\r\n", b"\n", b"\r\n\r\n\n"):
        for parts in cuts(before + NEXT):
            data = b""
            for part in parts:
                data = without_empty_lines(data + part)
            assert data == NEXT


@pytest.mark.parametrize("most", [1, 3, 65_536])
def test_chunks_are_one_body_and_what_follows_is_left(most: int) -> None:
    for parts in cuts(CHUNKS + NEXT):
        source = Arriving(parts)
        body = ChunkedBody(source)
        assert read(body, most) == b"hello world"
        assert (body.is_complete, source.rest()) == (True, NEXT)


@pytest.mark.parametrize(
    "wrong",
    [
        CHUNKS.replace(b"hello\r\n", b"hello\n"),
        CHUNKS.replace(b"hello\r\n", b"hello!\r\n"),
        CHUNKS.replace(b"hello\r\n", b"hello"),
        CHUNKS.replace(b"00001", b"0x001"),
        CHUNKS.replace(b"00001\r\n", b"00001\n"),
        CHUNKS.replace(b"00001\r\n", b"00001 \r\n"),
        CHUNKS.replace(b";g=1", b";g="),
        CHUNKS.replace(b"X-Sum: 1\r\n", b"X-Sum : 1\r\n"),
        CHUNKS.replace(b"X-Sum: 1\r\n", b"X-Sum: 1\n"),
        CHUNKS.replace(b"X-Sum: 1\r\n", b"X-Sum: 1\r\n folded\r\n"),
        CHUNKS[:-2],
    ],
)
def test_chunks_that_are_refused_are_refused_wherever_they_are_cut(wrong: bytes) -> None:
    for parts in cuts(wrong):
        with pytest.raises(BodyError):
            read(ChunkedBody(Arriving(parts)), 65_536)


def test_a_body_of_known_length_ends_there() -> None:
    for parts in cuts(b"hello" + NEXT):
        source = Arriving(parts)
        assert read(SizedBody(source, 5), 3) == b"hello"
        assert source.rest() == NEXT
    with pytest.raises(BodyError):
        read(SizedBody(Arriving([b"hell"]), 5), 65_536)
