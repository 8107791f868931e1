"""Hostile commands: each is refused with its code and a reason, or kept exactly as it was sent."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.harness import Answer, Server
from support.hostile_inputs import INVALID_COMMANDS
from support.raw_http import JSON, Client, lines, serving

KIB = 1024
DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hostile") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    """Whatever was sent, the server answers the next request, and nothing was written meanwhile."""
    with Client(box) as made:
        before = made.get("status").json()["revision"]
        yield made
        assert made.get("status").json()["revision"] == before


@pytest.fixture
def writer(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


def post(client: Client, body: bytes, **headers: str) -> Answer:
    return client.ask("POST", "/commands", body, JSON | headers)


def assert_refused(answer: Answer, status: int, code: str, *told: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status, body["code"], body["status"]) == (status, code, "rejected"), body
    assert body["message"].endswith(".")
    assert len(body["message"]) < 600
    for part in told:
        assert part in body["message"], body["message"]
    return body


SET = b'{"type":"set","key":"k","value":%s}'
MALFORMED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"set"',
    b"[" + SET % b"1" + b"]",
    SET % b"1" + SET % b"2",
    SET % b"",
    SET % b"NaN",
    SET % b"[1,-Infinity]",
    SET % b"Infinity",
    SET % b'{"a":1,"a":1}',
    SET % b'[[{"b":[{"c":1,"d":2,"c":1}]}]]',
    b'{"type":"set","key":"k","key":"k","value":1}',
    b'{"type":"set","key":"k","value":1,"\\u006bey":"k"}',
    SET % b'"\\ud800"',
    SET % b'{"\\udfff":1}',
    SET % b'"\\ud83d \\ude00"',
    SET % b'"\xff"',
    SET % b'"\xed\xa0\x80"',
    SET % b'"\xc0\xaf"',
    SET % b'"\xf4\x90\x80\x80"',
    SET % b'"a\nb"',
    SET % b'"\x00"',
    SET % b"01",
    SET % b"1.",
    SET % b"'a'",
    SET % b"undefined",
    SET % b"1 // one",
    b"\xef\xbb\xbf" + SET % b"1",
    (SET % b"1").decode().encode("utf-16"),
    b"type=set&key=k&value=1",
    b"\x1f\x8b\x08\x00",
]


@pytest.mark.parametrize("body", MALFORMED)
def test_what_is_not_one_json_object_is_malformed(client: Client, body: bytes) -> None:
    assert assert_refused(post(client, body), 400, "malformed")["id"] is None


KINDS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]


@pytest.mark.parametrize(
    "kind", [*KINDS, "", "application/jsonp", "application/json; charset=latin-1", "json", "*/*"]
)
def test_another_media_type_is_refused_so_that_no_form_can_command(
    client: Client, kind: str
) -> None:
    answer = client.ask("POST", "/commands", SET % b"1", {"Content-Type": kind})
    assert_refused(answer, 415, "media_type", "application/json", kind[:20])
    answer = client.ask("POST", "/commands/import", SET % b"1", {"Content-Type": kind})
    assert_refused(answer, 415, "media_type", "application/x-ndjson")


@pytest.mark.parametrize(
    "kind",
    ["application/json;charset=UTF-8", "Application/JSON", 'application/json; charset="utf-8"'],
)
def test_json_is_named_in_any_lawful_way(writer: Client, kind: str) -> None:
    answer = writer.ask("POST", "/commands", SET % b"1", {"Content-Type": kind})
    assert answer.status == 200


@pytest.mark.parametrize(("command", "told"), INVALID_COMMANDS)
def test_what_is_no_command_is_invalid_and_says_which_field_and_why(
    client: Client, command: dict[str, Any], told: list[str]
) -> None:
    assert_refused(post(client, json.dumps(command).encode()), 422, "invalid", *told)


def test_a_float_that_overflows_is_invalid_as_value_and_as_sum(writer: Client) -> None:
    for body in (SET % b"1e999", SET % b'{"a":[-1e400]}', b'{"type":"add","key":"k","by":1e999}'):
        assert_refused(post(writer, body), 422, "invalid", "64-bit float")
    writer.send("set", key="k.large", value=1.7e308)
    answer = writer.send("add", key="k.large", by=1.7e308)
    assert_refused(answer, 422, "invalid", "k.large")
    assert writer.value("k.large") == 1.7e308


def test_a_wrong_type_is_reported_with_what_is_there(writer: Client) -> None:
    writer.send("set", key="text", value="x")
    assert_refused(writer.send("add", key="text"), 422, "type", "text", "string", "number")
    assert_refused(writer.send("toggle", key="text"), 422, "type", "string", "boolean")


def test_a_value_of_exactly_256_kib_is_kept_and_one_byte_more_is_refused(writer: Client) -> None:
    most = "x" * (256 * KIB - 2)
    assert writer.send("set", key="large", value=most).status == 200
    assert writer.value("large") == most
    body = assert_refused(writer.send("set", key="large", value=most + "x"), 413, "too_large")
    assert body["limit"] == 256 * KIB
    assert "262145" in body["message"]
    assert writer.value("large") == most
    accents = "é" * (128 * KIB - 1)
    assert writer.send("set", key="large", value=accents).status == 200
    assert writer.send("set", key="large", value=accents + "é").status == 413


def test_a_body_of_exactly_16_mib_is_read_and_one_byte_more_is_refused(writer: Client) -> None:
    body = SET % b"1"
    padded = body + b" " * (16 * KIB * KIB - len(body))
    assert post(writer, padded).status == 200
    told = assert_refused(post(writer, padded + b" "), 413, "too_large", "16777217")
    assert told["limit"] == 16 * KIB * KIB


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"a":[', "]}"), ('[{"\\u0061":', "}]")]
)
def test_a_hundred_levels_are_kept_and_any_more_refused(
    writer: Client, opening: str, closing: str
) -> None:
    step = opening.count("[") + opening.count("{")
    for kind in ("set", "merge"):
        command = '{"type":"%s","key":"deep.%s","value":%s}'

        def nested(depth: int, kind: str = kind, command: str = command) -> bytes:
            value = opening * (depth // step) + "1" + closing * (depth // step)
            return (command % (kind, kind, value)).encode()

        assert post(writer, nested(100)).status == 200
        for depth in (102, 500, 984, 1_000, 100_000):
            assert assert_refused(post(writer, nested(depth)), 413, "too_large")["limit"] == 100


@pytest.mark.parametrize(
    "body",
    [
        f'{{"type":{DEEP}',
        f'{{"id":{DEEP}',
        f'{{"type":"batch","commands":{DEEP}',
        DEEP,
        '{"a":' * 100_000,
        '{"type":"set","key":"k","value":1,"x":' + "[" * 5_000 + "]" * 5_000 + "}",
        '{"type":"add","key":"k","by":' + "[" * 104 + "]" * 104 + "}",
    ],
)
def test_depth_in_any_field_is_refused_without_a_crash(client: Client, body: str) -> None:
    assert post(client, body.encode()).status in {400, 413}


def test_integers_are_exact_at_any_size(writer: Client) -> None:
    for number in (2**53 + 1, -(2**64) - 1, 10**4_000 + 7):
        assert writer.send("set", key="int", value=number).status == 200
        assert writer.value("int") == number
        assert writer.send("add", key="int", by=number).json()["changes"] == 1
        assert writer.value("int") == 2 * number
    digits = b"7" * 5_000
    assert post(writer, SET % digits).status == 200
    raw = writer.get("state/k").body
    assert b'"value":' + digits + b"," in raw
    assert SET % digits + b"\n" in writer.get("export", match="k").body
    assert writer.get("state", match="k", search="7777").body.count(digits) == 1


@pytest.mark.parametrize("digits", [262_145, 300_001, 2_000_000])
def test_an_integer_that_is_larger_than_a_value_is_too_large(client: Client, digits: int) -> None:
    assert_refused(post(client, SET % (b"9" * digits)), 413, "too_large")


def test_more_than_a_thousand_commands_are_no_batch(client: Client) -> None:
    body = assert_refused(client.send("batch", commands=[{}] * 1_001), 413, "too_large", "1001")
    assert body["limit"] == 1_000


TEXTS = [
    "\u2028\u2029\u0085\u000b\u000c\u001c",
    "a\r\nb\n\nevent: ack\ndata: {}\n\n",
    "\u0000\u0001\u001f\u007f\ufeff\ufffe",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>&lt;&amp;",
    "${alert(1)} $a; @post('/commands') {{7*7}} {% raw %}",
    "data-on-load=\"@get('/queries/page')\"",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE state; --",
    "%s %n {0} \\ \\u0000 \\\\",
    "👩‍👩‍👧‍👦 ẞ İ ﷽ \u202e\u2066 zalgo\u0321\u0321",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_comes_back_from_every_query_as_it_was_sent(
    box: Server, writer: Client, text: str
) -> None:
    value = {text[:1_000]: [text]}
    with box.stream(match="text.**", acks=True) as stream:
        stream.until("caught-up")
        outcome = writer.send("set", key="text.any", value=value).json()
        change, ack = stream.until("ack")
    assert change.data["changes"] == [{"key": "text.any", "value": value}]
    assert ack.data["revision"] == outcome["revision"]
    assert writer.value("text.any") == value
    assert writer.state("text.**")["text.any"] == value
    assert writer.get("state", match="text.**").json()["items"][0]["value"] == value
    writer.send("set", key="plain", value=text)
    page = writer.get("state", match="plain", search=text[:100].swapcase()).json()
    assert page["items"][0]["value"] == text
    with box.stream(match="text.**") as stream:
        assert stream.until("caught-up")[0].data["items"][0]["value"] == value
    exported = writer.get("export", match="text.**").body
    assert writer.load(exported)[-1]["changes"] == 0


def test_the_same_commands_are_refused_alike_in_an_import(client: Client) -> None:
    commands = [
        command for command, _ in INVALID_COMMANDS if not set(command) & {"id", "actor", "dry_run"}
    ]
    *reported, summary = client.load(lines(*commands))
    rejected = [line for line in reported if line["type"] == "rejected"]
    assert sorted(line["line"] for line in rejected) == list(range(1, len(commands) + 1))
    assert {line["code"] for line in rejected} == {"invalid"}
    assert (summary["accepted"], summary["rejected"]) == (0, len(commands))


def test_malformed_lines_of_an_import_are_reported_and_the_others_done(writer: Client) -> None:
    bad = [body for body in MALFORMED if body and b"\n" not in body]
    body = b"\n".join(part for one in bad for part in (one, b'{"type":"add","key":"good"}'))
    *reported, summary = writer.load(body)
    rejected = [line for line in reported if line["type"] == "rejected"]
    assert [line["line"] for line in rejected] == list(range(1, 2 * len(bad), 2))
    assert {line["code"] for line in rejected} == {"malformed"}
    assert summary["accepted"] == writer.value("good") == len(bad)


@pytest.fixture(autouse=True)
def _long_integers() -> Iterator[None]:
    """The tests read what the server writes, however many digits it has."""
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(usual)
