"""What RFC 9110 and RFC 9112 ask of every server, over real sockets."""

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from support.harness import Answer, Server
from support.raw_http import exchange, head, plain_socket, read_answer, serving

STATUS = "/queries/status"
JSON = "Content-Type: application/json"
COMMAND = b'{"type":"add","key":"n"}'


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ends without a logged error, whatever was requested."""
    with serving(tmp_path_factory.mktemp("musts") / "store") as server:
        server.set("k", 1)
        yield server


def bare(box: Server, text: str) -> Answer:
    """The answer to a request that is sent as it is, with this server's Host for {host}."""
    authorization = f"Authorization: Bearer {box.write_token}"
    return exchange(box, text.format(host=f"127.0.0.1:{box.port}", token=authorization).encode())


def test_a_target_in_absolute_form_is_taken(box: Server) -> None:
    """RFC 9112, 3.2.2: also a command's, and without a path."""
    assert exchange(box, head(box, f"GET {box.url}{STATUS}")).status == 200
    assert exchange(box, head(box, f"GET {box.url.replace('http', 'HTTP')}{STATUS}")).status == 200
    assert exchange(box, head(box, f"GET {box.url}?x=1")).body.startswith(b"<!doctype html>")
    length = f"Content-Length: {len(COMMAND)}"
    answer = exchange(box, head(box, f"POST {box.url}/commands", JSON, length) + COMMAND)
    assert answer.json()["status"] == "accepted"


@pytest.mark.parametrize(
    ("target", "host", "status", "named"),
    [
        ("http://evil.example/queries/status", "{host}", 403, "evil.example"),
        ("http://{host}/queries/status", "evil.example", 403, "evil.example"),
        ("http://evil.example/queries/status", "evil.example", 403, "evil.example"),
        ("http://x@{host}/queries/status", "{host}", 403, "x@"),
        ("http://localhost:{port}/queries/status", "{host}", 400, "the same"),
        ("https://{host}/queries/status", "{host}", 400, "https"),
        ("http:///queries/status", "{host}", 400, "http:///"),
    ],
)
def test_the_authority_of_a_target_is_checked_as_host_is(
    box: Server, target: str, host: str, status: int, named: str
) -> None:
    target = target.replace("{port}", str(box.port))
    answer = bare(box, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{{token}}\r\n\r\n")
    assert answer.status == status
    assert named in answer.json()["message"]


@pytest.mark.parametrize("target", ["queries/status", "{host}", "/queries/status#part"])
def test_a_target_of_no_known_form_is_malformed(box: Server, target: str) -> None:
    answer = bare(box, f"OPTIONS {target} HTTP/1.1\r\nHost: {{host}}\r\n{{token}}\r\n\r\n")
    assert (answer.status, answer.json()["code"]) == (400, "malformed")
    assert "target" in answer.json()["message"]


def test_options_of_the_server_as_a_whole(box: Server) -> None:
    """RFC 9110, 9.3.7: also without a token, and the connection goes on behind it."""
    said = exchange(box, f"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:{box.port}\r\n\r\n".encode())
    assert (said.status, said.body) == (204, b"")
    assert said.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert bare(box, "OPTIONS * HTTP/1.1\r\nHost: elsewhere\r\n\r\n").status == 403
    for method in ("GET", "POST", "options"):  # RFC 9112, 3.2.4
        assert bare(box, f"{method} * HTTP/1.1\r\nHost: {{host}}\r\n\r\n").status == 400


def test_an_empty_line_before_a_request_is_passed_over(box: Server) -> None:
    """RFC 9112, 2.2; also between two requests of one connection."""
    request = head(box, f"GET {STATUS}")
    with plain_socket(box) as plain:
        for before in (b"\r\n", b"\n", b""):
            plain.sendall(before + request)
            assert read_answer(plain).status == 200


def test_hosts_are_compared_without_regard_to_case(box: Server) -> None:
    answer = bare(box, f"GET {STATUS} HTTP/1.1\r\nHost: LocalHost:{box.port}\r\n{{token}}\r\n\r\n")
    assert answer.status == 200


def test_a_request_without_host_is_malformed(box: Server) -> None:
    """RFC 9112, 3.2; HTTP/1.0 knew none, and is refused as every foreign host is."""
    answer = bare(box, f"GET {STATUS} HTTP/1.1\r\n{{token}}\r\n\r\n")
    assert (answer.status, answer.json()["code"]) == (400, "malformed")
    assert "Host" in answer.json()["message"]
    assert bare(box, f"GET {STATUS} HTTP/1.0\r\n{{token}}\r\n\r\n").status == 403


@pytest.mark.parametrize(
    "line", ["GET /queries/status", "GET", "GET / HTTP/1.1 x", "GET / http/1.1", "GET / HTTP/x"]
)
def test_a_first_line_of_another_protocol_is_answered_at_once(box: Server, line: str) -> None:
    with plain_socket(box) as plain:
        plain.sendall(f"{line}\r\n".encode())
        if line.endswith("/1.1"):
            plain.sendall(f"Host: 127.0.0.1:{box.port}\r\n\r\n".encode())
        answer = read_answer(plain)
    assert (answer.status, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/0.9", "HTTP/10.1"])
@pytest.mark.parametrize("request_", ["GET /queries/status", "PRI *"])
def test_another_major_version_of_http_is_refused_as_such(
    box: Server, request_: str, version: str
) -> None:
    """RFC 9110, 15.6.6."""
    answer = bare(box, f"{request_} {version}\r\nHost: {{host}}\r\n{{token}}\r\n\r\n")
    assert (answer.status, answer.json()["code"]) == (505, "malformed")
    assert answer.headers["connection"] == "close"
    said = f'The version is "{version}"; allowed are HTTP/1.1 and HTTP/1.0.'
    assert answer.json()["message"] == said


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", STATUS, "GET, HEAD"),
        ("Get", "/queries/state/k", "GET, HEAD"),
        ("head", "/", "GET, HEAD"),
        ("get", "/hello", "GET, HEAD"),
        ("get", "/openapi.json", "GET, HEAD"),
        ("get", "/queries/stream", "GET, HEAD"),
        ("get", "/queries/page", "GET, HEAD"),
        ("post", "/redeem", "POST"),
        ("post", "/goodbye", "POST"),
        ("post", "/login", "POST"),
        ("post", "/commands", "POST"),
        ("Post", "/commands/import", "POST"),
        ("post", "/commands/compact", "POST"),
    ],
)
def test_methods_are_told_apart_by_case(box: Server, method: str, path: str, allowed: str) -> None:
    """RFC 9110, 9.1: `get` is a method that no route knows."""
    answer = exchange(box, head(box, f"{method} {path}", "Content-Length: 0"))
    assert (answer.status, answer.json()["code"]) == (405, "method")
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))
    assert method in answer.json()["message"]
    assert exchange(box, head(box, f"{method} /none", "Content-Length: 0")).status == 404


@pytest.mark.parametrize("path", ["/commands", "/commands/import", "/redeem", "/goodbye"])
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP", "aws-chunked"])
def test_a_compressed_body_is_refused_with_what_is_taken(
    box: Server, path: str, coding: str
) -> None:
    """RFC 9110, 12.5.3 and 15.5.16; nothing is done with it."""
    before = box.value("k")
    body = b'{"type":"set","key":"k","value":99}'
    lines = (JSON, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
    answer = exchange(box, head(box, f"POST {path}", *lines) + body)
    assert (answer.status, answer.json()["code"]) == (415, "media_type")
    assert answer.headers["accept-encoding"] == "identity"
    said = f'The Content-Encoding is "{coding}"; allowed is none: send the body as it is.'
    assert answer.json()["message"] == said
    assert box.value("k") == before


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_a_body_that_is_said_to_be_as_it_is_is_taken(box: Server, coding: str) -> None:
    lines = (JSON, f"Content-Encoding: {coding}", f"Content-Length: {len(COMMAND)}")
    assert exchange(box, head(box, "POST /commands", *lines) + COMMAND).status == 200


def test_what_is_too_long_is_named_with_its_limit(box: Server) -> None:
    long = "x" * 70_000
    for status, answer in (
        (414, exchange(box, head(box, f"GET {STATUS}?{long}"))),
        (431, exchange(box, head(box, f"GET {STATUS}", f"X: {long}"))),
        (431, exchange(box, head(box, f"GET {STATUS}", *["X: y"] * 200))),
    ):
        assert (answer.status, answer.json()["code"]) == (status, "too_large")
        assert answer.json()["limit"] in (65_536, 100)


def test_http_1_0_knows_no_transfer_encoding(box: Server) -> None:
    """RFC 9112, 6.1: its framing is faulty, so nothing is done and the connection ends."""
    before = box.value("k")
    body = b'23\r\n{"type":"set","key":"k","value":99}\r\n0\r\n\r\n'
    request = f"POST /commands HTTP/1.0\r\nHost: 127.0.0.1:{box.port}\r\n{JSON}\r\n"
    request += f"Authorization: Bearer {box.write_token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(box, request.encode() + body)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert box.value("k") == before


@pytest.mark.parametrize("given", ["close", "Close", "keep-alive, close", "upgrade ,  close"])
def test_a_connection_ends_where_close_is_among_its_options(box: Server, given: str) -> None:
    """RFC 9112, 9.6."""
    with plain_socket(box) as plain:
        plain.sendall(head(box, f"GET {STATUS}", f"Connection: {given}"))
        assert read_answer(plain).status == 200
        assert plain.recv(1) == b""


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/openapi.json",
        *("/queries/" + name for name in "status state/k state tree export metrics page".split()),
        "/queries/stream",
        "/queries/state/none",
        "/queries/stream?after=x",
    ],
)
def test_head_answers_as_get_does_but_for_the_body(box: Server, path: str) -> None:
    """RFC 9110, 9.3.2: a length only where it is that of GET's body."""
    with plain_socket(box) as plain:
        plain.sendall(head(box, f"HEAD {path}", "Connection: close"))
        answered = b"".join(iter(lambda: plain.recv(65_536), b""))
    first, _, rest = answered.partition(b"\r\n")
    lines, _, body = rest.decode().partition("\r\n\r\n")
    assert body == ""
    named = dict(line.lower().split(": ", 1) for line in lines.split("\r\n"))
    with plain_socket(box) as plain:
        plain.sendall(head(box, f"GET {path}", "Connection: close"))
        got = plain.recv(65_536).decode()
    assert first.decode() == got.partition("\r\n")[0]
    assert f"content-type: {named['content-type']}" in got.lower()
    # Times within a body may make it a character longer or shorter.
    counted = re.search(r"content-length: (\d+)", got.lower())
    assert ("content-length" in named) == (counted is not None)
    assert counted is None or abs(int(named["content-length"]) - int(counted[1])) < 10


def test_every_answer_says_when_it_was_given(box: Server) -> None:
    """RFC 9110, 6.6.1; also those that no route gives, and streams."""
    with plain_socket(box) as plain:
        plain.sendall(head(box, "GET /queries/stream"))
        stream = plain.recv(65_536).decode()
    dates = [line[6:] for line in stream.split("\r\n") if line.startswith("Date: ")]
    requests = (head(box, f"GET {STATUS}"), head(box, "GET /none"), b"GET\r\n\r\n")
    dates += [exchange(box, request).headers["date"] for request in requests]
    assert len(dates) == 4
    assert len({parsedate_to_datetime(date).date() for date in dates}) <= 2


def test_a_connection_goes_on_behind_a_head(box: Server) -> None:
    """Whatever was refused: what would follow the head is taken for the next answer."""
    with plain_socket(box) as plain:
        for path in ("/queries/state/none", "/queries/page", "/commands", STATUS):
            plain.sendall(head(box, f"HEAD {path}") + head(box, f"GET {STATUS}"))
            answered = b""
            while b'"version"' not in answered:
                answered += plain.recv(65_536)
            assert answered.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=999999999-", "lines=1-2"])
def test_who_asks_for_a_part_of_a_file_gets_the_whole(box: Server, asked: str) -> None:
    """A server may ignore `Range` (RFC 9110, section 14.2)."""
    whole = box.request("GET", "/static/base.css", token=None)
    part = box.request("GET", "/static/base.css", headers={"Range": asked}, token=None)
    assert (part.status, part.body) == (200, whole.body)


def test_a_file_whose_name_the_system_cannot_have_is_none(box: Server) -> None:
    answer = box.request("GET", f"/static/{'x' * 300}", token=None)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", ["state", "history"])
@pytest.mark.parametrize("end", ["%0A", "%0D%0A", "%E2%80%A8", "a%0Ab"])
def test_a_line_end_in_a_path_is_a_key_that_cannot_be(box: Server, kind: str, end: str) -> None:
    answer = box.request("GET", f"/queries/{kind}/a{end}")
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
