"""`/openapi.json`: every route is in it, and what a real server answers is what it says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.harness import ROOT, Answer, Server
from support.hostile_inputs import INVALID_COMMANDS
from support.json_schema import complaint, referred
from support.raw_http import JSON, Client, lines, serving


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Keys and prefixes, and attempts of every outcome."""
    with serving(tmp_path_factory.mktemp("openapi") / "store") as server, Client(server) as client:
        client.send("set", key="a", value={"x": [1, None]}, id="first", actor="typist")
        client.send("set", key="level", value="mid")
        rule = {"match": "level", "schema": {"enum": ["low", "high"]}, "requires": {"a": None}}
        client.send("set", key="_signalbox.rules.level", value=rule)
        client.send("batch", commands=[{"type": "set", "key": f"a.{n}", "value": n} for n in "xyz"])
        client.send("rename", key="a.x", to="b.x")
        client.send("delete", key="none", id="unchanged")
        client.send("toggle", key="a", id="refused")
        client.send("rename", key="a.y", to="a.z", id="conflict")
        yield server


@pytest.fixture(scope="module")
def document(box: Server) -> dict[str, Any]:
    found: dict[str, Any] = box.get("/openapi.json").json()
    return found


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


def answers(document: dict[str, Any], name: str, status: str = "200") -> dict[str, Any]:
    """The content of one answer, by media type; `name` is method and path."""
    method, path = name.split(" ")
    found: dict[str, Any] = document["paths"][path][method.lower()]["responses"][status]["content"]
    return found


def assert_fits(document: dict[str, Any], name: str, answer: Answer) -> None:
    """`answer` is one that the route `name` is described to give."""
    status = str(answer.status) if answer.status < 400 else "default"
    content = answers(document, name, status)
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type == "application/json":
        schema = content[media_type].get("schema", {})
        assert complaint(document, schema, answer.json()) is None
    for line in answer.body.splitlines() if "x-line" in content[media_type] else ():
        assert complaint(document, content[media_type]["x-line"], json.loads(line)) is None


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_description_is_whole(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {"title", "version"} <= set(document["info"])
    assert all(referred(document, reference) for reference in references(document))
    tokens = set(document["components"]["securitySchemes"])
    for path, operations in document["paths"].items():
        assert path.startswith("/")
        for operation in operations.values():
            assert operation["summary"]
            assert operation["responses"]
            assert all(tokens.issuperset(one) for one in operation["security"])
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_every_route_of_the_reference_is_described_and_no_other(document: dict[str, Any]) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    named = set(re.findall(r"`((?:GET|POST) /[^?`\s]*)", reference))
    described = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == named
    codes = set(re.findall(r"^\| \d{3} \| `(\w+)` \|", reference, re.MULTILINE))
    assert set(document["components"]["schemas"]["Refusal"]["properties"]["code"]["enum"]) == codes


QUERIES = [
    ("/queries/state/{key}", "/queries/state/a"),
    ("/queries/state/{key}", "/queries/state/none"),
    ("/queries/state/{key}", "/queries/state/a?limit=1"),
    ("/queries/state", "/queries/state"),
    ("/queries/state", "/queries/state?limit=1&sort=changed"),
    ("/queries/state", "/queries/state?type=text"),
    ("/queries/tree", "/queries/tree"),
    ("/queries/tree", "/queries/tree?prefix=a.&limit=1"),
    ("/queries/describe/{key}", "/queries/describe/a"),
    ("/queries/describe/{key}", "/queries/describe/level"),
    ("/queries/describe/{key}", "/queries/describe/level?value=5&actor=ada"),
    ("/queries/describe/{key}", "/queries/describe/level?value=x"),
    ("/queries/violations", "/queries/violations"),
    ("/queries/violations", "/queries/violations?rule=level&limit=1"),
    ("/queries/violations", "/queries/violations?rule=none"),
    ("/queries/attempts", "/queries/attempts"),
    ("/queries/attempts", "/queries/attempts?limit=1"),
    ("/queries/attempts/{id}", "/queries/attempts/first"),
    ("/queries/attempts/{id}", "/queries/attempts/unchanged"),
    ("/queries/attempts/{id}", "/queries/attempts/refused"),
    ("/queries/attempts/{id}", "/queries/attempts/conflict"),
    ("/queries/attempts/{id}", "/queries/attempts/none"),
    *(
        ("/queries/export", f"/queries/export?format={one}")
        for one in "ndjson json csv env".split()
    ),
    ("/queries/status", "/queries/status"),
    ("/queries/metrics", "/queries/metrics"),
    ("/queries/page", "/queries/page?datastar=x"),
    ("/openapi.json", "/openapi.json"),
    ("/", "/"),
    ("/hello", "/hello?nonce=0123456789abcdef"),
    ("/hello", "/hello?nonce=x"),
]


@pytest.mark.parametrize(("path", "asked"), QUERIES)
def test_what_a_query_answers_is_described(
    document: dict[str, Any], client: Client, path: str, asked: str
) -> None:
    assert_fits(document, f"GET {path}", client.ask("GET", asked))


def test_every_parameter_that_is_described_is_known(
    document: dict[str, Any], client: Client
) -> None:
    for path, operations in document["paths"].items():
        if "get" not in operations or path in ("/queries/stream", "/queries/page"):
            continue
        concrete = path.replace("{key}", "a").replace("{id}", "first").replace("{file}", "app.js")
        for one in operations["get"]["parameters"]:
            if one["in"] == "query":
                value = one["schema"].get("default", one["schema"].get("enum", ["x."])[0])
                answer = client.ask("GET", f"{concrete}?{one['name']}={value}")
                assert answer.status == 200 or "unknown" not in answer.json()["message"]


def test_every_outcome_of_a_command_is_described(document: dict[str, Any], client: Client) -> None:
    commands: list[dict[str, Any]] = [
        {"type": "set", "key": "k", "value": 1, "id": "k"},
        {"type": "set", "key": "k", "value": 1, "id": "k"},
        {"type": "set", "key": "k", "value": 2, "id": "k"},
        {"type": "set", "key": "k", "value": 1},
        {"type": "set", "key": "k", "value": 2, "dry_run": True},
        {"type": "set", "key": "k", "value": 2, "expect": "absent", "id": "no"},
        {"type": "set", "key": "k", "value": 2, "expect": "absent", "id": "no"},
        {"type": "rename", "key": "a.", "to": "b.", "dry_run": True},
        {"type": "set", "key": "k", "value": "x" * 300_000},
        *(command for command, _ in INVALID_COMMANDS),
    ]
    request = document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/json"]
    for command in commands:
        answer = client.send(**command) if "type" in command else client.send("", **command)
        assert_fits(document, "POST /commands", answer)
        if answer.status != 422:
            assert complaint(document, request["schema"], command) is None
    assert_fits(document, "POST /commands", client.ask("POST", "/commands", b"{"))


def test_every_line_of_an_import_is_described(document: dict[str, Any], client: Client) -> None:
    body = lines({"type": "add", "key": "n"}, {"type": "set", "key": "a..b", "value": 1})
    name = "POST /commands/import"
    kind = {"Content-Type": "application/x-ndjson"}
    for query in ("", "?atomic=1", "?id=a%20b"):
        assert_fits(document, name, client.ask("POST", "/commands/import" + query, body, kind))
    given = document["paths"]["/commands/import"]["post"]["requestBody"]["content"]
    line = given["application/x-ndjson"]["x-line"]
    assert complaint(document, line, {"type": "add", "key": "n"}) is None
    assert complaint(document, line, {"type": "add", "key": "n", "id": "x"}) is not None


def test_every_event_of_a_stream_is_described(
    box: Server, document: dict[str, Any], client: Client
) -> None:
    described = answers(document, "GET /queries/stream")["text/event-stream"]["x-events"]
    with box.stream(acks=True, after="other:1") as stream:
        seen = stream.until("caught-up")
        client.send("batch", commands=[{"type": "delete", "key": "k"}, {"type": "add", "key": "n"}])
        seen += stream.until("ack")
        client.send("toggle", key="n")
        seen += stream.until("ack")
    assert {event.name for event in seen} == set(described)
    for event in seen:
        assert complaint(document, described[event.name], event.data) is None


def test_a_revision_that_the_reader_has_is_answered_as_described(
    document: dict[str, Any], client: Client
) -> None:
    answer = client.ask("GET", "/queries/state/a", headers={"If-None-Match": "*"})
    responses = document["paths"]["/queries/state/{key}"]["get"]["responses"]
    assert str(answer.status) in responses
    assert {name.lower() for name in responses["200"]["headers"]} <= set(answer.headers)


def test_the_way_in_is_described(document: dict[str, Any], box: Server, client: Client) -> None:
    answer = client.ask("POST", "/login")
    assert_fits(document, "POST /login", answer)
    code = answer.json()["url"].partition("#code=")[2]
    body = json.dumps({"code": code}).encode()
    for status in (200, 401):
        redeemed = box.request("POST", "/redeem", body, JSON, token=None)
        assert redeemed.status == status
        assert_fits(document, "POST /redeem", redeemed)
    assert_fits(document, "POST /login", box.request("POST", "/login", token="read"))
