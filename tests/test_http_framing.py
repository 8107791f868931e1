"""RFC 9112 over real sockets: where requests begin and end, so that nobody smuggles another one."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gevent import socket as cooperative

from signalbox.server.http.wire import http_server
from signalbox.server.http.wire.responses import StartResponse
from support.harness import Server
from support.raw_http import (
    CHUNKED_HEADER,
    JSON_HEADER,
    chunk,
    exchange,
    head,
    plain_socket,
    read_answer,
    serving,
)

STATUS = "/queries/status"
COUNT = b'{"type":"add","key":"n"}'
CHUNKED = chunk(COUNT) + b"0\r\n\r\n"
LENGTH = f"Content-Length: {len(COUNT)}"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ends without a complaint, whatever it was sent."""
    with serving(tmp_path_factory.mktemp("framing") / "store") as server:
        server.set("n", value=0)
        yield server


def count_head(box: Server, *headers: str) -> bytes:
    return head(box, "POST /commands", JSON_HEADER, *headers)


def count_request(box: Server, *headers: str) -> bytes:
    """One whole command, which counts."""
    return count_head(box, LENGTH, *headers) + COUNT


def answers(box: Server, *parts: bytes) -> list[bytes]:
    """Everything that is answered on one connection until its end, by response."""
    with plain_socket(box) as plain:
        for part in parts:
            plain.sendall(part)
        plain.shutdown(socket.SHUT_WR)
        said = plain.makefile("rb").read()
    return re.split(rb"(?=HTTP/1\.1 \d)", said)[1:]


def statuses(box: Server, *parts: bytes) -> list[int]:
    return [int(answer.split(b" ")[1]) for answer in answers(box, *parts)]


AMBIGUOUS_HEADERS = [
    [LENGTH, CHUNKED_HEADER],
    [CHUNKED_HEADER, LENGTH],
    ["Content-Length: 0", LENGTH],
    [LENGTH, LENGTH],
    ["Content-Length: 1, 1"],
    ["Content-Length: +24"],
    ["Content-Length: -0"],
    ["Content-Length: 2 4"],
    ["Content-Length: 0x18"],
    ["Content-Length: 24;"],
    ["Content-Length: \u0662\u0664"],
    ["Content-Length: 99999999999999999999999"],
    ["Content-Length:"],
    ["Content-Length : 24"],
    ["Content-Length\t: 24"],
    [" Content-Length: 24"],
    ["X: y\r\n Content-Length: 24"],
    ["X: y\r\n\tz"],
    ["X: y\nContent-Length: 24"],
    ["X: y\rContent-Length: 24"],
    ["X: y\r\rContent-Length: 24"],
    ["X: y\x00"],
    ["X\x00: y"],
    ["X y: z"],
    ["X(: y"],
    ['"X": y'],
    ["X\x0b: y"],
    ["X: \x0b"],
    ["X: \x7f"],
    [": y"],
    ["no colon"],
    ["Transfer-Encoding: identity"],
    ["Transfer-Encoding: gzip, chunked"],
    ["Transfer-Encoding: chunked, gzip"],
    ["Transfer-Encoding: chunked, chunked"],
    [CHUNKED_HEADER, CHUNKED_HEADER],
    ["Transfer-Encoding: x", CHUNKED_HEADER],
    ["Transfer-Encoding: \x0bchunked"],
    ["Transfer-Encoding: chunked;q=1"],
    ['Transfer-Encoding: "chunked"'],
    ["Transfer-Encoding:"],
    ["Transfer-Encoding : chunked"],
    ["Host: evil.example"],
    ["Authorization: Bearer x"],
    ["Content-Type: text/plain"],
]


@pytest.mark.parametrize("headers", AMBIGUOUS_HEADERS)
def test_what_programs_could_parse_differently_is_refused_with_all_behind_it(
    box: Server, headers: list[str]
) -> None:
    before = box.value("n")
    first, *others = answers(box, count_head(box, *headers) + COUNT + count_request(box))
    assert first.startswith(b"HTTP/1.1 400 ")
    assert b'"malformed"' in first
    assert b"Connection: close\r\n" in first
    assert (others, box.value("n")) == ([], before)


CHUNKED_BODIES = [
    CHUNKED,
    b"".join(chunk(bytes([byte])) for byte in COUNT) + b"0\r\n\r\n",
    b"000000000000018\r\n" + COUNT + b"\r\n000\r\n\r\n",
    b'18;a;b=c;d="e;\\" f" ; g = h\r\n' + COUNT + b"\r\n0;z=1\r\n\r\n",
    chunk(COUNT) + b"0\r\nX-Sum: 1\r\nContent-Length: 3\r\nHost: evil.example\r\n\r\n",
]


@pytest.mark.parametrize("body", CHUNKED_BODIES)
def test_chunks_make_one_body_and_the_next_request_follows(box: Server, body: bytes) -> None:
    """Extensions and trailers mean nothing (RFC 9112, 7.1.1 and 7.1.2)."""
    before = box.value("n")
    sent = count_head(box, CHUNKED_HEADER) + body + count_request(box)
    assert statuses(box, sent) == [200, 200]
    assert box.value("n") == before + 2


BROKEN_CHUNKS = [
    b"zz\r\n",
    b"0x18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"-18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"+18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b" 18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18 \r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"1_8\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"\r\n18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18\r\n" + COUNT + b"\n0\r\n\r\n",
    b"18\r\n" + COUNT + b"0\r\n\r\n",
    b"18\r\n" + COUNT + b"x\r\n0\r\n\r\n",
    b"17\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18\r\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18;\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18;a=\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"18;a\nb\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b'18;a="b\r\n' + COUNT + b"\r\n0\r\n\r\n",
    b"18" + b";a" * 2_000 + b"\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"0" * 16 + b"18\r\n" + COUNT + b"\r\n0\r\n\r\n",
    b"10000000000000018\r\n" + COUNT + b"\r\n0\r\n\r\n",
    chunk(COUNT) + b"0\r\nno colon\r\n\r\n",
    chunk(COUNT) + b"0\r\nX: y\n\r\n",
    chunk(COUNT) + b"0\r\n X: y\r\n\r\n",
    chunk(COUNT) + b"0\r\nX: y\x00\r\n\r\n",
    chunk(COUNT) + b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"".join(b"1;a=%b\r\n%c\r\n" % (b"b" * 900, byte) for byte in COUNT) + b"0\r\n\r\n",
]


@pytest.mark.parametrize("body", BROKEN_CHUNKS)
@pytest.mark.parametrize("path", ["/commands", "/redeem", "/queries/status"])
def test_a_broken_chunk_ends_the_connection_and_nothing_behind_it_is_done(
    box: Server, path: str, body: bytes
) -> None:
    """Also where no route reads the body: what would follow it is not known."""
    before = box.value("n")
    method = "GET" if path == STATUS else "POST"
    sent = head(box, f"{method} {path}", JSON_HEADER, CHUNKED_HEADER) + body + count_request(box)
    answered = statuses(box, sent)
    assert answered == ([200] if path == STATUS else [400])
    assert box.value("n") == before


def test_requests_sent_ahead_are_done_once_each_in_their_order(box: Server) -> None:
    """However their bytes arrive: also one by one."""
    burst = (
        b"\r\n"
        + count_request(box)
        + head(box, f"GET {STATUS}", "Content-Length: 5")
        + b"hello"
        + count_head(box, CHUNKED_HEADER)
        + CHUNKED_BODIES[3]
        + head(box, "HEAD /queries/state/n")
        + head(box, "BREW /queries/state/n", "Content-Length: 3")
        + b"abc\r\n"
        + head(box, "GET /queries/state/n")
    )
    expected = [200, 200, 200, 200, 405, 200]
    pieces = [(burst,), tuple(bytes([byte]) for byte in burst)]
    pieces += [(burst[:cut], burst[cut:]) for cut in range(0, len(burst), 29)]
    for parts in pieces:
        before = box.value("n")
        said = answers(box, *parts)
        assert [int(one.split(b" ")[1]) for one in said] == expected
        assert json.loads(said[-1].partition(b"\r\n\r\n")[2])["value"] == before + 2
        assert box.value("n") == before + 2


@pytest.mark.parametrize("path", ["/queries/stream", "/queries/page"])
def test_what_is_sent_behind_a_stream_is_refused_and_not_done(box: Server, path: str) -> None:
    """Nobody would answer it: the stream does not end."""
    before = box.value("n")
    first, *others = answers(box, head(box, f"GET {path}") + count_request(box))
    assert first.startswith(b"HTTP/1.1 400 ")
    assert b"a connection of its own" in first
    assert (others, box.value("n")) == ([], before)


@pytest.mark.parametrize("path", ["/queries/stream", "/queries/page"])
def test_a_stream_ends_where_something_is_sent_behind_it_later(box: Server, path: str) -> None:
    before = box.value("n")
    with plain_socket(box) as plain:
        plain.sendall(head(box, f"GET {path}"))
        assert plain.recv(12) == b"HTTP/1.1 200"
        plain.sendall(count_request(box))
        try:
            while plain.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert box.value("n") == before


@pytest.mark.parametrize(
    "connection", ["Upgrade", "Upgrade, HTTP2-Settings", "keep-alive, Upgrade"]
)
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_is_ignored_and_the_body_belongs_to_its_request(
    box: Server, connection: str, protocol: str
) -> None:
    """RFC 9110, 7.8. The parser would take the body for the other protocol."""
    before = box.value("n")
    hidden = head(box, "POST /commands", JSON_HEADER, "Content-Length: 0")
    headers = (f"Connection: {connection}", f"Upgrade: {protocol}")
    sent = head(box, "POST /none", *headers, f"Content-Length: {len(hidden)}") + hidden
    assert statuses(box, sent + count_request(box, *headers)) == [404, 200]
    assert box.value("n") == before + 1


@pytest.mark.parametrize(
    "method", ["CONNECT", "PRI", "SOURCE", "M-SEARCH", "X" * 5_000, "!#$%&'*+"]
)
def test_methods_of_other_protocols_are_methods_that_no_route_has(box: Server, method: str) -> None:
    """And with their bodies; the connection goes on."""
    sent = head(box, f"{method} /commands", LENGTH) + COUNT + head(box, f"GET {STATUS}")
    first, second = answers(box, sent)
    assert first.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: POST\r\n" in first
    assert second.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "line",
    [
        "GET  /queries/status HTTP/1.1",
        " GET /queries/status HTTP/1.1",
        "GET /queries/status HTTP/1.1 ",
        "GET\t/queries/status HTTP/1.1",
        "GET /queries/status\tHTTP/1.1",
        "GET /queries/ status HTTP/1.1",
        "GET /queries/\x00status HTTP/1.1",
        "GET /queries/\x7fstatus HTTP/1.1",
        "GET /queries/status HTTP/1.1\r",
        "GET /queries/status HTTP /1.1",
        "GET /queries/status HTTP/1.",
        "GET /queries/status HTTP/1.11",
        "GET /queries/status RTSP/1.0",
        "G@T /queries/status HTTP/1.1",
        "(GET) /queries/status HTTP/1.1",
        "GET: /queries/status HTTP/1.1",
        "",
    ],
)
def test_a_first_line_is_three_words_with_one_space_between(box: Server, line: str) -> None:
    lines = f"Host: 127.0.0.1:{box.port}\r\nAuthorization: Bearer {box.write_token}\r\n\r\n"
    first, *others = answers(box, f"{line}\r\n{lines}".encode(), count_request(box))
    assert first.startswith(b"HTTP/1.1 400 ")
    assert others == []


def test_a_line_that_ends_with_lf_alone_is_refused_at_once(box: Server) -> None:
    """Also while the rest of the head has not arrived."""
    start = head(box, f"GET {STATUS}")
    for sent in (start.replace(b"\r\n", b"\n", 1), start[:-2] + b"X: y\n", b"GET / HTTP/1.0\n\n"):
        with plain_socket(box) as plain:
            plain.sendall(sent)
            assert read_answer(plain).status == 400


def test_minor_versions_are_those_of_http_1(box: Server) -> None:
    """A later one is answered as HTTP/1.1 is (RFC 9110, 2.5)."""
    request = head(box, f"GET {STATUS}").replace(b"HTTP/1.1", b"HTTP/1.7")
    assert statuses(box, request + request) == [200, 200]


def test_http_1_0_ends_the_connection_unless_it_is_asked_to_stay(box: Server) -> None:
    """RFC 9112, 9.3; and its answers are not chunked."""
    old = head(box, f"GET {STATUS}").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(box, old + old) == [200]
    kept = old[:-2] + b"Connection: keep-alive\r\n\r\n"
    first, second = answers(box, kept + old)
    assert b"Connection: keep-alive\r\n" in first
    assert b"Connection: close\r\n" in second
    export = head(box, "GET /queries/export?format=json", "Connection: keep-alive")
    (answer,) = answers(box, export.replace(b"HTTP/1.1", b"HTTP/1.0") + kept)
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in lines
    assert json.loads(body)["n"] == box.value("n")


@pytest.mark.parametrize("expected", ["100-continue", "100-Continue"])
def test_who_waits_to_be_asked_and_is_refused_cannot_go_on(box: Server, expected: str) -> None:
    """Whether a body or the next request comes then is not known (RFC 9110, 10.1.1)."""
    request = head(box, "POST /none", JSON_HEADER, LENGTH, f"Expect: {expected}")
    assert statuses(box, request, count_request(box)) == [404]
    answer = exchange(box, request)
    assert (answer.status, answer.headers["connection"]) == (404, "close")


def test_nobody_is_asked_for_a_body_that_is_there_or_by_http_1_0(box: Server) -> None:
    expect = "Expect: 100-continue"
    assert exchange(box, count_request(box, expect)).status == 200
    old = count_request(box, expect).replace(b"HTTP/1.1", b"HTTP/1.0")
    with plain_socket(box) as plain:
        plain.sendall(old[: -len(COUNT)])
        plain.sendall(COUNT)
        assert plain.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_204_and_304_have_neither_body_nor_length(box: Server, method: str) -> None:
    """RFC 9110, 8.6 and 15.4.5; and the connection goes on behind them."""
    if method == "POST":
        asked = count_request(box, "Datastar-Request: true")
    else:
        etag = box.get("/queries/state/n").headers["etag"]
        asked = head(box, f"{method} /queries/state/n", f"If-None-Match: {etag}")
    first, second = answers(box, asked + head(box, f"GET {STATUS}"))
    lines, _, body = first.partition(b"\r\n\r\n")
    assert lines.split(b" ")[1] == (b"204" if method == "POST" else b"304")
    assert b"content-length" not in lines.lower()
    assert b"transfer-encoding" not in lines.lower()
    assert body == b""
    assert second.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("body", [b"", b"x" * 100_000])
def test_a_body_that_nobody_wanted_is_passed_over(box: Server, body: bytes) -> None:
    """Of a GET, and of a request that is refused; sized or chunked."""
    chunks = chunk(body) * bool(body) + b"0\r\n\r\n"
    for request in (f"GET {STATUS}", "POST /none", "HEAD /", "DELETE /commands"):
        sized = head(box, request, f"Content-Length: {len(body)}") + body
        chunked = head(box, request, CHUNKED_HEADER) + chunks
        status = {"G": 200, "P": 404, "H": 200, "D": 405}[request[0]]
        assert statuses(box, sized + chunked + sized) == [status] * 3


GREEDY = {
    "requests": b"GET /greedy HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
    "chunks": b"POST /greedy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 8_000
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("sent", GREEDY)
def test_who_sends_much_ahead_keeps_nobody_waiting(sent: str) -> None:
    """Client and server share one hub: what is sent first arrives first."""
    answered = list[str]()

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ["wsgi.input"].read()
        answered.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    server = http_server.Server(0, application, 10)
    server.start()
    place = ("127.0.0.1", server.server_port)
    with cooperative.create_connection(place) as greedy:
        with cooperative.create_connection(place) as other:
            greedy.sendall(GREEDY[sent])
            other.sendall(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert answered.count("/greedy") < GREEDY[sent].count(b"/greedy")
    server.stop(0)
