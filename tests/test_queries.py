"""The queries over HTTP: state, tree, attempts, status and metrics."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.brokers import Options
from support.harness import Server
from support.raw_http import Client, serving

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
KEYS = 250
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, engine: Options) -> Iterator[Server]:
    """Numbers under `n.`, one key of each type under `t.`, and a setting of the app."""
    folder = tmp_path_factory.mktemp("queries") / "store"
    with serving(folder, *engine()) as server, Client(server) as client:
        members = [
            {"type": "set", "key": f"n.{number:03}", "value": number} for number in range(KEYS)
        ]
        client.send("batch", commands=members, actor="loader", id="load")
        values = {"null": None, "boolean": True, "number": -1.5, "string": "Text É"}
        for name, value in {**values, "array": [1, "x"], "object": {"a": {"b": None}}}.items():
            client.send("set", key=f"t.{name}", value=value, actor="typist")
        client.send("set", key="_signalbox.theme", value="dark")
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box, "read") as made:
        yield made


def page(client: Client, **parameters: Any) -> dict[str, Any]:
    answer = client.get("state", **parameters)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


def keys(found: dict[str, Any]) -> list[str]:
    return [item["key"] for item in found["items"]]


def test_one_key_is_answered_with_all_that_is_known(client: Client) -> None:
    answer = client.get("state/t.object")
    item = answer.json()
    assert list(item) == ["key", "value", "revision", "at", "actor"]
    assert (item["key"], item["value"], item["actor"]) == ("t.object", {"a": {"b": None}}, "typist")
    assert answer.headers["etag"] == f'"{item["revision"]}"'
    assert ISO.fullmatch(item["at"])


def test_who_has_it_already_gets_no_body(box: Server, client: Client) -> None:
    etag = client.get("state/t.null").headers["etag"]
    known = (etag, f'"x", {etag}', f"W/{etag}", "*", " * ")
    for given in (*known, '"0"', etag.strip('"'), f'"x{etag[1:]}', "", '"*"'):
        answer = client.ask("GET", "/queries/state/t.null", headers={"If-None-Match": given})
        assert answer.status == (304 if given in known else 200), given
        assert answer.headers["etag"] == etag
    none = client.ask("GET", "/queries/state/none", headers={"If-None-Match": "*"})
    assert none.status == 404
    assert client.ask("GET", "/queries/state/t.null", headers={"If-None-Match": etag}).body == b""


def test_a_file_of_the_page_is_sent_once_and_again_when_it_is_another(client: Client) -> None:
    first = client.ask("GET", "/static/base.css")
    etag = first.headers["etag"]
    assert re.fullmatch(r'"\w+"', etag)
    assert etag != client.ask("GET", "/static/app.js").headers["etag"]
    for given, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
        headers = {"If-None-Match": given, "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        answer = client.ask("GET", "/static/base.css", headers=headers)
        assert (answer.status, answer.headers["etag"]) == (status, etag)
        assert answer.body == (b"" if status == 304 else first.body)


def test_a_missing_key_is_not_found(client: Client) -> None:
    answer = client.get("state/none")
    assert (answer.status, answer.json()["code"], answer.json()["key"]) == (
        404,
        "not_found",
        "none",
    )


@pytest.mark.parametrize("key", ["/abs/path", "a/b/c", "a=b", "a@b", "a:b", "path/", "x//y"])
def test_any_key_can_be_queried_percent_encoded(box: Server, client: Client, key: str) -> None:
    box.set(key, value=key)
    assert box.value(key) == key


def test_a_page_has_100_items_by_default_and_up_to_1000(client: Client) -> None:
    found = page(client, match="n.**")
    assert list(found) == ["revision", "total", "items", "next"]
    assert (len(found["items"]), found["total"], found["next"]) == (100, KEYS, "n.099")
    assert len(page(client, match="n.**", limit=1_000)["items"]) == KEYS


@pytest.mark.parametrize("match", ["t.**", "t.*", "_signalbox.**"])
@pytest.mark.parametrize("sort", ["key", "changed"])
@pytest.mark.parametrize("past", [False, True])
def test_an_item_of_a_page_is_that_of_its_key(
    client: Client, match: str, sort: str, past: bool
) -> None:
    at = {"at": page(client, limit=1)["revision"]} if past else {}
    items = page(client, match=match, sort=sort, **at)["items"]
    assert items
    assert items == [client.get(f"state/{item['key']}").json() for item in items]


@pytest.mark.parametrize("sort", ["key", "changed"])
def test_pages_follow_each_other_without_gap_or_repetition(client: Client, sort: str) -> None:
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        found = page(client, match="n.**", limit=77, sort=sort, **more)
        assert found["total"] == KEYS
        seen += keys(found)
        if found["next"] is None:
            break
        more = {"after": found["next"]}
    expected = [f"n.{number:03}" for number in range(KEYS)]
    assert seen == (expected if sort == "key" else expected[::-1])


def test_the_last_change_comes_first_when_sorted_so(box: Server, client: Client) -> None:
    box.set("t.null", value=None, expect="present")  # equal: no change
    outcome = box.set("n.100", value="changed")
    assert keys(page(client, sort="changed", limit=1)) == ["n.100"]
    assert page(client, sort="changed", limit=1)["items"][0]["revision"] == outcome["revision"]
    box.set("n.100", value=100)


@pytest.mark.parametrize("name", ["null", "boolean", "number", "string", "array", "object"])
def test_a_type_is_queried_by_its_json_name(client: Client, name: str) -> None:
    found = page(client, match="t.*", type=name)
    assert (keys(found), found["total"]) == ([f"t.{name}"], 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T.STR", ["t.string"]),
        ("text é", ["t.string"]),
        ("TEXT É", ["t.string"]),
        ('"a":{', ["t.object"]),
        ('"text', []),
        ("-1.5", ["t.number"]),
        ("nothing of the kind", []),
        ("%", []),
        ("t_n", []),
    ],
)
def test_a_text_is_looked_for_in_keys_and_values(
    client: Client, text: str, expected: list[str]
) -> None:
    found = page(client, match="t.**", search=text)
    assert (keys(found), found["total"]) == (expected, len(expected))


@pytest.mark.parametrize(
    ("value", "texts", "others"),
    [
        ("GrÖßE", ["größe", "GRÖSSE", "grösse", "öß"], ["grosse", '"gr']),
        ("Привет Мир", ["привет мир", "ПРИВЕТ", "мИр"], ["u043f", "\\u"]),
        ("5 \u212a", ["5 k", "5 K"], ["5 \u212b"]),
        ({"alpha": 1}, ['"ALPHA"', '{"alpha":1}'], ['\\"alpha', '"alpha": 1']),
        ({"loss": 0.1}, ['loss":0.1', "0.1}"], ["loss: 0.1"]),
        ({"Maß": "Ö"}, ['"mass":"ö"'], ["u00d6"]),
        ("a\x01b\nc", ["\x01", "B\nC"], ["u0001", "\\n", "nc", "\x00"]),
        ("\x00", ["\x00"], ["u0000", "\\"]),
        ('say "hi" \\o/', ['"HI"', '"hi" \\o/', "\\O"], ['say \\"', "\\\\"]),
        ("plain", ["PLAIN"], ['"', "\\", '"plain"', "\x00", "pl%n", "pla_n"]),
    ],
)
def test_a_search_looks_at_the_text_that_a_value_shows(
    box: Server, client: Client, value: Any, texts: list[str], others: list[str]
) -> None:
    box.set("s.value", value)
    for text in texts + others:
        found = page(client, match="s.**", search=text)
        expected = ["s.value"] if text in texts else []
        assert (keys(found), found["total"]) == (expected, len(expected)), text


def test_what_is_reserved_is_shown_to_those_who_ask_for_it(client: Client) -> None:
    assert page(client, match="**")["total"] == page(client)["total"]
    assert "_signalbox.theme" not in keys(page(client, limit=1_000))
    assert keys(page(client, match="_signalbox.**")) == ["_signalbox.theme"]
    assert client.get("status").json()["keys"] == page(client)["total"]
    assert "_signalbox" not in client.get("tree").body.decode()


def test_the_tree_goes_down_by_segments_with_exact_numbers(client: Client) -> None:
    root = {child["segment"]: child for child in client.get("tree").json()["children"]}
    assert root["n"] == {"segment": "n", "prefix": "n.", "keys": KEYS}
    below = client.get("tree", prefix="n.", limit=2).json()
    assert list(below) == ["revision", "total", "children", "next"]
    assert (below["total"], below["next"]) == (KEYS, "001")
    assert below["children"][0] == {"segment": "000", "key": "n.000", "keys": 1}
    more = client.get("tree", prefix="n.", limit=1_000, after="247").json()
    assert [child["segment"] for child in more["children"]] == ["248", "249"]
    assert more["next"] is None


def test_attempts_can_be_queried_by_actor_outcome_and_id(box: Server, client: Client) -> None:
    box.post({"type": "toggle", "key": "t.string", "id": "refused-1", "actor": "clumsy"})
    record = client.get("attempts/refused-1").json()
    assert (record["status"], record["code"], record["type"]) == ("rejected", "type", "toggle")
    assert (record["actor"], record["key"]) == ("clumsy", "t.string")
    assert ISO.fullmatch(record["at"])
    assert client.get("attempts", actor="clumsy").json() == {"items": [record], "next": None}
    assert record in client.get("attempts", status="rejected").json()["items"]
    assert record not in client.get("attempts", status="accepted").json()["items"]
    load = client.get("attempts", actor="loader").json()["items"][0]
    assert (load["id"], load["revision"], load["changes"]) == ("load", 1, KEYS)
    assert client.get("attempts/none").json()["code"] == "not_found"


def test_attempts_are_paged_newest_first(client: Client) -> None:
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        found = client.get("attempts", limit=3, **more).json()
        seen += [record["id"] for record in found["items"]]
        if found["next"] is None:
            break
        more = {"before": found["next"]}
    assert len(seen) == len(set(seen))
    assert seen[-1] == "load"


@pytest.mark.parametrize("value", ["1_0", " 8", "+5", "0x10", "1e1", "\uff15", "\u0665", ""])
def test_a_number_has_digits_of_ascii_alone(client: Client, value: str) -> None:
    for path, name in (
        ("state", "limit"),
        ("state", "at"),
        ("history/a", "before"),
        ("export?history=1", "after"),
        ("stream", "after"),
    ):
        told = client.ask(
            "GET", f"/queries/{path}{'&' if '?' in path else '?'}{name}={quote(value)}"
        )
        assert (told.status, told.json()["code"]) == (422, "invalid"), (path, name)
        assert name in told.json()["message"] or "position" in told.json()["message"]


def test_the_status_shows_what_the_server_is_and_its_limits(box: Server, client: Client) -> None:
    status = client.get("status").json()
    for name in ("version", "store", "engine", "durability", "revision", "oldest_revision"):
        assert name in status
    assert status["bytes"] > 10_000
    assert status["rates"]["changes_per_second"] >= 0
    limits = status["limits"]
    assert limits.pop("connections") > 0
    # As much as the engine takes: NATS says 1 MiB, headers included.
    assert MIB - 1024 < limits.pop("transaction_bytes") <= 16 * MIB
    assert limits == {
        "body_bytes": 16 * 1024 * 1024,
        "line_bytes": 1024 * 1024,
        "key_length": 256,
        "value_bytes": 256 * 1024,
        "nesting": 100,
        "batch_commands": 1_000,
        "transaction_changes": 100_000,
    }
    with box.stream() as stream:
        stream.until("caught-up")
        assert client.get("status").json()["streams"] == status["streams"] + 1


def test_the_metrics_are_prometheus_text_with_the_numbers_of_the_status(client: Client) -> None:
    status, answer = client.get("status").json(), client.get("metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for line in answer.body.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.split(" ")
            assert re.fullmatch(r"signalbox_[a-z_]+", name)
            samples[name] = float(value)
    assert samples["signalbox_revision"] == status["revision"]
    assert samples["signalbox_keys"] == status["keys"]
    assert f"# TYPE signalbox_revision counter\nsignalbox_revision {status['revision']}\n" in (
        answer.body.decode()
    )
