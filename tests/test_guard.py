"""Who may ask: Host, Origin, site, token and cookie in front of every route."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness import Answer, Server
from robust import JSON, Client, exchange, head, serving

READS = [
    "/",
    "/openapi.json",
    "/static/base.css",
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
    "127.0.0.1:{port},evil.example",
    "",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_forbidden_everywhere(box: Server, host: str) -> None:
    """A page elsewhere whose name resolves to 127.0.0.1 gets nowhere (DNS rebinding)."""
    given = host.format(port=box.port)
    for method, path in [*ROUTES, ("GET", "/login?code=x")]:
        message = assert_refused(ask(box, method, path, {"Host": given}), 403, "forbidden", path)
        assert "Host" in message
        assert given[:40] in message


def test_both_names_of_this_computer_are_its_own(box: Server) -> None:
    for name in ("127.0.0.1", "localhost"):
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
    "file://",
    "null",
    "",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_forbidden_everywhere(box: Server, origin: str) -> None:
    given = origin.format(port=box.port)
    for method, path in [*ROUTES, ("GET", "/login?code=x")]:
        message = assert_refused(ask(box, method, path, {"Origin": given}), 403, "forbidden", path)
        assert "Origin" in message


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "SAME-ORIGIN", "", "x"])
def test_a_request_that_a_browser_sends_for_another_site_is_forbidden(
    box: Server, site: str
) -> None:
    """A cookie reaches every port of 127.0.0.1, so only `same-origin` tells the own page."""
    for method, path in ROUTES:
        for mode in ("cors", "no-cors", "websocket"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            assert_refused(ask(box, method, path, headers), 403, "forbidden", path)


@pytest.mark.parametrize("site", ["none", "cross-site", "same-site"])
def test_a_navigation_may_come_from_elsewhere_to_the_two_ways_in_alone(
    box: Server, site: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert ask(box, "GET", "/", headers).status == 200
    login = ask(box, "GET", "/login?code=unknown", headers, token=None)
    assert_refused(login, 401, "unauthenticated", "/login")
    for method, path in ROUTES[1:]:
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
    for path in READS[1:-2]:
        if path != "/queries/stream":
            assert ask(box, "GET", path, {}, "read").status in {200, 404}


def logged_in(box: Server) -> str:
    """The cookie as a browser gets it."""
    address = ask(box, "POST", "/login", {}).json()["url"]
    assert address.startswith(f"{box.url}/login?code=")
    parts = urlsplit(address)
    answer = ask(box, "GET", f"{parts.path}?{parts.query}", {}, token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    return answer.headers["set-cookie"]


def test_the_login_cookie_is_for_this_store_this_session_and_no_script(box: Server) -> None:
    pair, *attributes = logged_in(box).split("; ")
    assert pair.startswith(f"signalbox_{box.store[:8]}=")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    for token in (box.read_token, box.write_token):
        assert token not in pair


def test_the_cookie_reads_and_writes_as_the_window(box: Server) -> None:
    cookie = {"Cookie": "other=1; " + logged_in(box).split(";")[0]}
    assert ask(box, "GET", "/queries/state/a", cookie, None).json()["value"] == 1
    answer = box.post({"type": "set", "key": "by.cookie", "value": 1}, None, cookie)
    assert answer.status == 200
    assert box.get("/queries/state/by.cookie").json()["actor"] == "window"
    foreign = {**cookie, "Origin": "http://127.0.0.1:1"}
    assert box.post({"type": "toggle", "key": "x"}, None, foreign).status == 403


@pytest.mark.parametrize(
    "cookie",
    [
        "{name}=wrong",
        "{name}=",
        "{name}",
        "{name}={read}",
        "{name}={write}",
        "signalbox_00000000={value}",
        "x{name}={value}",
        "{name}x={value}",
        "{name}={value}x",
        '"{name}={value}"',
        "ÿ={value}",
    ],
)
def test_any_other_cookie_is_none(box: Server, cookie: str) -> None:
    name, _, value = logged_in(box).split(";")[0].partition("=")
    given = cookie.format(name=name, value=value, read=box.read_token, write=box.write_token)
    answer = ask(box, "GET", "/queries/status", {"Cookie": given}, token=None)
    assert_refused(answer, 401, "unauthenticated", "/queries/status")


@pytest.mark.parametrize("code", ["", "unknown", "%00", "%FF", "x" * 5_000, "a&code=b"])
def test_a_login_code_that_was_never_given_opens_nothing(box: Server, code: str) -> None:
    answer = ask(box, "GET", f"/login?code={code}", {}, token=None)
    assert_refused(answer, 401, "unauthenticated", "/login")
    assert "set-cookie" not in answer.headers


def test_a_preview_does_not_use_a_login_code_up(box: Server) -> None:
    code = ask(box, "POST", "/login", {}).json()["url"].removeprefix(box.url)
    assert ask(box, "HEAD", code, {}, token=None).status == 401
    assert ask(box, "GET", code, {}, token=None).status == 303


def test_a_login_code_opens_once(box: Server) -> None:
    parts = urlsplit(ask(box, "POST", "/login", {}).json()["url"])
    path = f"{parts.path}?{parts.query}"
    assert ask(box, "GET", path, {}, None).status == 303
    assert_refused(ask(box, "GET", path, {}, None), 401, "unauthenticated", "/login")


def test_the_cookie_and_the_tokens_are_good_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "store") as first:
        cookie = {"Cookie": logged_in(first).split(";")[0]}
    with serving(tmp_path / "store") as again:
        assert ask(again, "GET", "/queries/status", cookie, None).status == 200
        assert (again.read_token, again.write_token) == (first.read_token, first.write_token)


def test_no_answer_lets_another_origin_read_it_or_leaves_it_in_a_cache(box: Server) -> None:
    with Client(box) as client:
        for method, path in ROUTES:
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
def test_what_is_wrong_is_told_in_the_order_of_the_contract(box: Server, first: int) -> None:
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
