"""What comes from outside is decoded in one way: what nests without end is refused everywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

import signalbox.client
from signalbox.server.http.commands.history_line import is_history_line, read_history_line
from signalbox.server.model import events
from signalbox.server.model.errors import SignalboxError, StoreError
from support.command_line import Shell
from support.harness import Server
from support.raw_http import Client, serving

DEEP = "[" * 2_000 + "]" * 2_000
HARD = [DEEP, '{"a":' * 2_000 + "1" + "}" * 2_000, "[" * 100_000, '"\\ud800"', "NaN", "1e999"]
LONG = "9" * 5_000
"""An integer of more digits than Python turns into one unasked."""
RECORD = (
    '{"revision":1,"id":"i","actor":"a","at":"2026-01-01T00:00:00.000Z","type":"set",'
    '"changes":[{"key":"deep.a","value":%s}]}'
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("decoders") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


@pytest.fixture(scope="module")
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.mark.parametrize("value", HARD, ids=range(len(HARD)))
def test_a_hard_value_is_refused_wherever_it_stands(client: Client, value: str) -> None:
    command = f'{{"type":"set","key":"deep.a","value":{value}}}'
    hard, good = command.encode() + b"\n", b'{"type":"set","key":"deep.good","value":1}\n'
    assert client.load(hard)[-1]["rejected"] == 1
    assert client.load(hard + good)[-1]["accepted"] == 1
    record = client.load((RECORD % value).encode())[-1]
    assert (record["status"], record["accepted"]) == ("rejected", 0)
    json_kind = {"Content-Type": "application/json"}
    assert client.ask("POST", "/commands", command.encode(), json_kind).status in {400, 413, 422}
    if len(value) < 20_000:  # what a request's line takes
        page = client.ask("GET", "/queries/page?datastar=" + quote(f'{{"again":{value}}}'))
        assert (page.status, page.json()["code"]) == (422, "invalid")
    assert client.get("state/deep.a").status == 404


@pytest.mark.parametrize("value", HARD, ids=range(len(HARD)))
def test_no_line_of_a_history_is_a_traceback(value: str) -> None:
    for line in (RECORD % value, f'{{"revision":1,"changes":{value}}}', value):
        is_history_line(line.encode())
        with pytest.raises(SignalboxError):
            read_history_line(line.encode())


def test_the_page_reads_letters_beyond_ascii(client: Client) -> None:
    client.send("set", key="letters", value="Küche").json()
    asked = quote(json.dumps({"text": "küche", "actor": "window.x"}, ensure_ascii=False))
    connection = client._connection  # noqa: SLF001 - the stream is read no further than its rows
    connection.request(
        "GET",
        f"/queries/page?datastar={asked}",
        headers=client._authorization,  # noqa: SLF001
    )
    answer = connection.getresponse()
    assert b"letters" in answer.read1(200_000)


def test_a_log_of_others_is_no_traceback() -> None:
    deep = b"\x91" * 5_000 + b"\xc0"
    with pytest.raises(StoreError, match="revision 3"):
        events.decode(b"\x99" + deep, 3)
    with pytest.raises(StoreError, match="revision 3"):
        events.decode(msgspec.msgpack.encode([1]), 3)


@pytest.mark.parametrize("text", [DEEP, "{" * 50_000, "no json", ""])
def test_an_answer_of_somebody_else_is_said(text: str) -> None:
    with pytest.raises(signalbox.NotRunning, match="no Signalbox"):
        signalbox.client.decode_json(text)


def test_an_endpoint_of_somebody_else_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text(DEEP)
    assert signalbox.find(tmp_path) is None


@pytest.mark.parametrize("number", [LONG, "-" + LONG, "1" + "0" * 4_500])
def test_a_long_integer_is_read_exactly(client: Client, box: Server, number: str) -> None:
    client.ask(
        "POST",
        "/commands",
        b'{"type":"set","key":"long","value":%s}' % number.encode(),
        {"Content-Type": "application/json"},
    )
    with signalbox.connect(url=box.url, token=box.write_token) as connected:
        found = connected["long"]
    digits = len(number.lstrip("-"))
    exact = 10**digits - 1 if "9" in number else 10**4_500
    assert found == (-exact if number[0] == "-" else exact)
    assert client.load(b'{"type":"add","key":"long","by":-1}\n', id="l" + number[:2])[-1][
        "accepted"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "--json-value", "deep.a", DEEP),
        ("set", "deep.a", DEEP),
        ("merge", "deep.a", DEEP),
        ("watch", "--until", DEEP),
        ("watch", "--until", "[" * 700 + "]" * 700),
    ],
    ids=range(5),
)
def test_the_command_line_says_that_it_nests_too_deep(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    done = shell(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "nests deeper than 100 levels" in done.err


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ('{"a": tru}', "'{\"a\": tru}' is not JSON: its character 7, 't', is not allowed there."),
        ('{"a":1,"a":2}', 'is not JSON: the name "a" occurs twice in one object.'),
        ('["\\ud800"]', "is not JSON: a string holds half of a surrogate pair."),
        ("[NaN]", "is not JSON: NaN is not a JSON value."),
        ("[1e999]", "'[1e999]' has a number beyond what a 64-bit float can hold."),
        ("9" * 100_000, None),
        ("[" + "9" * 120_000 + "]", None),
    ],
    ids=range(7),
)
def test_the_command_line_reads_words_as_the_server_does(
    shell: Shell, client: Client, word: str, why: str | None
) -> None:
    done = shell("set", "--json-value", "deep.word", word)
    if why is None:
        assert done.status == 0, done.err
        assert shell.ok("get", "deep.word") == word + "\n"
    else:
        assert (done.status, why in done.err) == (2, True), done.err
        shell.ok("set", "deep.word", word)
        assert client.value("deep.word") == word  # what is no JSON is text


def test_the_command_line_takes_it_as_text_where_that_is_meant(shell: Shell) -> None:
    shell.ok("set", "--text", "deep.text", "[" * 2_000)
    assert shell.ok("get", "deep.text") == "[" * 2_000 + "\n"
    shell.ok("rm", "deep.text")


@pytest.mark.parametrize("text", [DEEP, "[]", "{}", "no json"])
def test_an_endpoint_that_somebody_else_wrote_does_not_disturb_the_end(
    tmp_path: Path, text: str
) -> None:
    with serving(tmp_path / "store"):
        (tmp_path / "store" / "endpoint.json").write_text(text)
