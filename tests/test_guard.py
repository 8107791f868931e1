"""Who may ask: Host, Origin, site, token and the window's secret in front of every route."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.harness import Answer, Server
from support.page_login import new_login_code, redeem_code, window_key, window_secret
from support.raw_http import JSON, Client, exchange, head, serving

OPEN = [
    ("GET", "/"),
    ("GET", "/static/base.css"),
    ("GET", "/hello"),
    ("POST", "/redeem"),
    ("POST", "/goodbye"),
]
"""What everybody may ask: there is nothing of the store in it."""
READS = [
    "/openapi.json",
    "/queries/state",
    "/queries/state/a",
    "/queries/tree",
    "/queries/attempts",
    "/queries/attempts/x",
    "/queries/export",
    "/queries/status",
    "/queries/metrics",
    "/queries/stream",
    "/queries/page",
    "/nowhere",
]
WRITES = ["/commands", "/commands/import", "/login"]
ROUTES = [("GET", path) for path in READS] + [("POST", path) for path in WRITES]
EVERYWHERE = [*OPEN, *ROUTES]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("guard") / "store") as server:
        server.set("a", value=1)
        yield server


def ask(
    box: Server, method: str, path: str, headers: Mapping[str, str], token: str | None = "write"
) -> Answer:
    return box.request(method, path, b"" if method == "POST" else None, headers, token)


def assert_refused(answer: Answer, status: int, code: str, path: str) -> str:
    """A refusal in its one form; its message."""
    body = answer.json()
    assert (answer.status, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/json"
    if path.startswith("/commands"):
        assert (body["id"], body["status"]) == (None, "rejected")
    else:
        assert "status" not in body
    assert body["message"].endswith(".")
    return str(body["message"])


HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.2:{port}",
    "localhost",
    "localhost:{port}.evil.example",
    "[::1]:{port}",
    "0.0.0.0:{port}",
    "evil.localhost:{port}",
    "0123456789abcdef0123456789abcdef.localhost",
    "x.0123456789abcdef0123456789abcdef.localhost:{port}",
    "0123456789abcdef0123456789abcdef.evil.example:{port}",
    "127.0.0.1:{port},evil.example",
    "",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_forbidden_everywhere(box: Server, host: str) -> None:
    """A page elsewhere whose name resolves to 127.0.0.1 gets nowhere (DNS rebinding)."""
    given = host.format(port=box.port)
    for method, path in EVERYWHERE:
        message = assert_refused(ask(box, method, path, {"Host": given}), 403, "forbidden", path)
        assert "Host" in message
        assert given[:40] in message


def test_the_names_of_this_computer_are_its_own_and_those_of_runs(box: Server) -> None:
    """A window that was opened in an earlier run goes on under its name."""
    for name in ("127.0.0.1", "localhost", "LOCALHOST", f"{'0a' * 16}.localhost"):
        answer = ask(box, "GET", "/queries/status", {"Host": f"{name}:{box.port}"})
        assert answer.status == 200


def test_a_request_without_a_host_is_forbidden(box: Server) -> None:
    request = f"GET /queries/status HTTP/1.0\r\nAuthorization: Bearer {box.read_token}\r\n\r\n"
    assert_refused(exchange(box, request.encode()), 403, "forbidden", "/queries/status")


def test_two_hosts_are_forbidden(box: Server) -> None:
    request = head(box, "GET /queries/status", "Host: evil.example")
    assert exchange(box, request).status in {400, 403}


ORIGINS = [
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost:{port}.evil.example",
    "http://127.0.0.1:{port}/",
    "http://[::1]:{port}",
    "http://evil.localhost:{port}",
    "file://",
    "null",
    "",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_forbidden_everywhere(box: Server, origin: str) -> None:
    given = origin.format(port=box.port)
    for method, path in EVERYWHERE:
        message = assert_refused(ask(box, method, path, {"Origin": given}), 403, "forbidden", path)
        assert "Origin" in message


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "SAME-ORIGIN", "", "x"])
def test_a_request_that_a_browser_sends_for_another_site_is_forbidden(
    box: Server, site: str
) -> None:
    """`same-site` is any port of 127.0.0.1, so only `same-origin` is the own page."""
    for method, path in EVERYWHERE:
        for mode in ("cors", "no-cors", "websocket"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            assert_refused(ask(box, method, path, headers), 403, "forbidden", path)


@pytest.mark.parametrize("site", ["none", "cross-site", "same-site"])
def test_a_navigation_may_come_from_elsewhere_to_the_empty_page_alone(
    box: Server, site: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert ask(box, "GET", "/", headers, token=None).status == 200
    for method, path in EVERYWHERE[1:]:
        assert_refused(ask(box, method, path, headers), 403, "forbidden", path)


def test_the_own_page_and_plain_programs_may_ask(box: Server) -> None:
    for headers in (
        {"Origin": box.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Origin": f"http://localhost:{box.port}"},
        {"Sec-Fetch-Site": "same-origin"},
        {},
    ):
        assert ask(box, "GET", "/queries/state/a", headers).status == 200
        assert box.post({"type": "set", "key": "a", "value": 1}, headers=headers).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer {read}x",
        "Bearer {read} {write}",
        "Basic {write}",
        "{write}",
        "Bearer ÿþ",
        "Bearer " + "x" * 5_000,
    ],
)
def test_an_unknown_token_is_unauthenticated_everywhere(box: Server, authorization: str) -> None:
    given = authorization.format(read=box.read_token, write=box.write_token)
    for method, path in ROUTES:
        answer = ask(box, method, path, {"Authorization": given}, token=None)
        message = assert_refused(answer, 401, "unauthenticated", path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert box.write_token not in message


def test_without_a_token_everything_is_unauthenticated_and_says_how_to_get_one(
    box: Server,
) -> None:
    for method, path in ROUTES:
        message = assert_refused(ask(box, method, path, {}, None), 401, "unauthenticated", path)
        assert "signalbox token" in message


def test_a_token_is_taken_from_no_address(box: Server) -> None:
    for name in ("token", "access_token", "write_token"):
        path = f"/queries/status?{name}={box.write_token}"
        assert ask(box, "GET", path, {}, token=None).status == 401


def test_the_read_token_reads_and_writes_nothing(box: Server) -> None:
    for path in WRITES:
        message = assert_refused(ask(box, "POST", path, {}, "read"), 403, "forbidden", path)
        assert "read" in message
    answer = box.post({"type": "set", "key": "never", "value": 1}, token="read")
    assert_refused(answer, 403, "forbidden", "/commands")
    assert box.get("/queries/state/never").status == 404
    for path in READS[:-2]:
        if path != "/queries/stream":
            assert ask(box, "GET", path, {}, "read").status in {200, 404}


def test_the_way_in_answers_with_the_secret_and_what_the_page_shows_first(box: Server) -> None:
    answer = redeem_code(box, new_login_code(box))
    assert 'id="k:a"' in answer.json()["page"]
    assert answer.json()["secret"] not in answer.json()["page"]
    for token in (box.read_token, box.write_token):
        assert token not in answer.body.decode()
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_empty_page_holds_nothing_of_the_store(box: Server) -> None:
    answer = ask(box, "GET", "/", {}, token=None)
    assert answer.headers["referrer-policy"] == "no-referrer"
    for name in (box.store, str(box.data_dir), "k:a"):
        assert name not in answer.body.decode()


def test_the_windows_secret_reads_and_writes_as_the_window(box: Server) -> None:
    secret = window_key(box, window_secret(box))
    assert ask(box, "GET", "/queries/state/a", {}, secret).json()["value"] == 1
    answer = box.post({"type": "set", "key": "by.window", "value": 1}, secret)
    assert answer.status == 200
    assert box.get("/queries/state/by.window").json()["actor"] == "window"
    foreign = {"Origin": "http://127.0.0.1:1"}
    assert box.post({"type": "toggle", "key": "x"}, secret, foreign).status == 403


def test_no_cookie_opens_anything(box: Server) -> None:
    secret = window_key(box, window_secret(box))
    for name in ("signalbox", f"signalbox_{box.store[:8]}", "secret", "Authorization"):
        given = {"Cookie": f"{name}={secret}; {name}=Bearer {box.write_token}"}
        for method, path in ROUTES:
            answer = ask(box, method, path, given, token=None)
            assert_refused(answer, 401, "unauthenticated", path)
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("code", ["", "unknown", "\0", "ÿ", "x" * 4_000, "a&code=b"])
def test_a_login_code_that_was_never_given_opens_nothing(box: Server, code: str) -> None:
    message = assert_refused(redeem_code(box, code), 401, "unauthenticated", "/redeem")
    assert "signalbox token --login" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"code": 1}', b'{"code": "", "x": 1}'])
def test_what_is_no_code_is_refused_as_such(box: Server, body: bytes) -> None:
    answer = box.request("POST", "/redeem", body, JSON, None)
    assert (answer.status, answer.json()["code"]) in {(400, "malformed"), (422, "invalid")}


@pytest.mark.parametrize("path", ["/redeem", "/goodbye"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_without_a_token_is_small(box: Server, path: str, framing: str) -> None:
    name = "code" if path == "/redeem" else "page"
    body = json.dumps({name: "x" * 4_096}).encode()
    headers = JSON if framing == "length" else {**JSON, "Transfer-Encoding": "chunked"}
    sent = body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = box.request("POST", path, sent, headers, None)
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["limit"] == 4_096
    assert answer.json()["message"] == f"The body has {len(body)} bytes; allowed are 4096."


def test_a_code_is_taken_as_json_alone(box: Server) -> None:
    """What a form of another site can send is refused."""
    code = json.dumps({"code": new_login_code(box)}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = box.request("POST", "/redeem", code, {"Content-Type": kind}, None)
        assert_refused(answer, 415, "media_type", "/redeem")


def test_a_login_code_opens_once(box: Server) -> None:
    code = new_login_code(box)
    assert redeem_code(box, code).status == 200
    assert_refused(redeem_code(box, code), 401, "unauthenticated", "/redeem")


def test_the_secret_and_the_tokens_are_good_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "store") as first:
        secret = window_secret(first)
    with serving(tmp_path / "store") as again:
        key = window_key(again, secret)
        assert ask(again, "GET", "/queries/status", {}, key).status == 200
        assert (again.read_token, again.write_token) == (first.read_token, first.write_token)


ALLOWED = {
    "/": "GET,HEAD",
    "/static/base.css": "GET,HEAD",
    "/hello": "GET,HEAD",
    "/redeem": "POST",
    "/goodbye": "POST",
    "/login": "POST",
    "/commands": "POST",
    "/commands/import": "POST",
    "/commands/compact": "POST",
    "/openapi.json": "GET,HEAD",
    "/queries/page": "GET,HEAD",
    "/queries/stream": "GET,HEAD",
    "/queries/state": "GET,HEAD",
    "/queries/state/a": "GET,HEAD",
    "/queries/tree": "GET,HEAD",
    "/queries/history/a": "GET,HEAD",
    "/queries/diff": "GET,HEAD",
    "/queries/attempts": "GET,HEAD",
    "/queries/attempts/x": "GET,HEAD",
    "/queries/export": "GET,HEAD",
    "/queries/status": "GET,HEAD",
    "/queries/metrics": "GET,HEAD",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_another_method_is_told_which_ones_a_route_takes(box: Server, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        if method in ALLOWED[path].split(","):
            continue
        answer = ask(box, method, path, {})
        assert answer.status == 405, (method, answer)
        assert answer.headers["allow"].replace(" ", "") == ALLOWED[path]
        if method != "HEAD":
            assert_refused(answer, 405, "method", path)


def test_no_answer_lets_another_origin_read_it_or_leaves_it_in_a_cache(box: Server) -> None:
    with Client(box) as client:
        for method, path in EVERYWHERE:
            if path in {"/queries/stream", "/queries/page"}:
                continue
            answer = client.ask(method, path, b"{}" if method == "POST" else None, JSON)
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["cache-control"] in {"no-store", "no-cache"}


def test_the_page_runs_no_script_but_its_own(box: Server) -> None:
    policy = ask(box, "GET", "/", {}).headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert set(rules["script-src"]) == {"'self'", "'unsafe-eval'"}
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]


ORDER = [
    ({"Host": "evil.example"}, 403, "Host"),
    ({"Origin": "http://evil.example"}, 403, "Origin"),
    ({"Authorization": "Bearer wrong"}, 401, "token"),
    ({"Content-Type": "text/plain"}, 415, "Content-Type"),
    ({"Content-Length": str(2**40)}, 413, "bytes"),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_what_is_wrong_is_reported_in_the_order_of_the_contract(box: Server, first: int) -> None:
    """Everything from `first` on is wrong; the answer names `first`."""
    headers = {"Authorization": f"Bearer {box.write_token}", **JSON}
    for given, _, _ in reversed(ORDER[first:]):
        headers |= given
    _, status, word = ORDER[first]
    host = headers.pop("Host", f"127.0.0.1:{box.port}")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([f"POST /commands HTTP/1.1\r\nHost: {host}", *lines, "", "{"])
    answer = exchange(box, request.encode())
    assert answer.status == status
    assert word in answer.json()["message"]


def test_the_files_of_the_page_are_served_from_their_folder_alone(box: Server) -> None:
    for name in ("..%2F..%2Fserver%2Fapp.py", "%2Fetc%2Fpasswd", "../views.py", "nothing.js", ""):
        answer = ask(box, "GET", f"/static/{name}", {})
        assert_refused(answer, 404, "not_found", "/static")
    secret = json.dumps(box.endpoint)
    assert secret not in ask(box, "GET", "/static/%2e%2e/endpoint.json", {}).body.decode()
