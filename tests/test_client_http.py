"""The client's own HTTP/1.1 (RFC 9112): every form of an answer, in whatever pieces it arrives."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signalbox import client
from support.raw_http import serving

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na\nb\nc", b"a\nb\nc", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\na\nb\nc", b"a\nb\nc", True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    (CHUNKED + b"3\r\na\nb\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", b"a\nb0123456789", True),
    (CHUNKED + b"1\r\na\r\n0\r\nTrailer: x\r\n\r\n", b"a", True),
    (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", False),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", b"a", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
]
BROKEN = [
    b"",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1 2OO OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nContent-",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
    CHUNKED + b"-1\r\na\r\n",
    CHUNKED + b"x\r\na\r\n",
    CHUNKED + b"9\r\nshort",
    CHUNKED + b"1\r\na\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
    CHUNKED + b"1" * 200_000,
]


def pieces(content: bytes, size: int) -> Callable[[], bytes]:
    """`receive` of a connection on which `size` bytes arrive at a time."""
    parts: Iterator[bytes] = (content[at : at + size] for at in range(0, len(content), size))
    return lambda: next(parts, b"")


@pytest.mark.parametrize(("content", "body", "is_reusable"), ANSWERS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_answer_is_read_in_whatever_pieces_it_arrives(
    content: bytes, body: bytes, is_reusable: bool, size: int
) -> None:
    answer = client.Answer(pieces(content, size))
    assert answer.read() == body
    assert answer.leaves_connection is is_reusable
    assert answer.read() == b""
    lines = [*client.Answer(pieces(content, size))]
    assert b"".join(lines) == body
    assert all(line.endswith(b"\n") for line in lines[:-1])
    assert all(line.count(b"\n") <= 1 for line in lines)


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_answer_or_breaks_off_is_an_error_of_the_connection(content: bytes) -> None:
    with pytest.raises(OSError, match=r"^$"):
        client.Answer(pieces(content, 1_000)).read()


def test_after_more_than_was_asked_for_a_connection_is_not_used_again() -> None:
    content = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"
    answer = client.Answer(pieces(content, 100_000))
    assert (answer.read(), answer.leaves_connection) == (b"a", False)


def test_a_header_is_found_in_any_case_and_keeps_its_own() -> None:
    content = b"HTTP/1.1 200 OK\r\nsignalbox-compacted: A.B.\r\nContent-Length: 0\r\n\r\n"
    answer = client.Answer(pieces(content, 10))
    assert answer.header("Signalbox-Compacted") == "A.B."
    assert answer.header("Signalbox") is None


@pytest.mark.parametrize("path", ["status\r\nX: y", "status\nX: y", "stätus"])
def test_a_path_cannot_add_headers(tmp_path: Path, path: str) -> None:
    with (
        serving(tmp_path / "store") as server,
        client.connect(url=f"http://127.0.0.1:{server.port}", token=server.read_token) as box,
        pytest.raises(ValueError, match="a character that none may have"),
    ):
        box.query(path)
