"""What is too large is refused with its actual size beside the one that is allowed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from signalbox.server.formats import ndjson
from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import MAX_LINE, Row
from signalbox.server.http.commands.command_import import command_of
from signalbox.server.http.commands.history_line import read_history_line
from signalbox.server.http.commands.import_batches import Batch, BatchLimits
from signalbox.server.model import decide, values
from signalbox.server.model.commands import read_command, read_line
from signalbox.server.model.errors import SignalboxError, TooLarge
from support.dict_state import DictState, decided_changes
from support.format_reading import split_bytes
from support.local_store import Store
from support.nats_server import NatsServer
from support.raw_http import Client, lines, serving

MANY = 100_001
LONG = MAX_LINE + 4_321


def assert_names_limit(error: SignalboxError, actual: int, allowed: int) -> None:
    """It is `too_large`, and names both numbers."""
    assert isinstance(error, TooLarge)
    numbers = {int(number) for number in re.findall("[0-9]+", error.message)}
    assert {actual, allowed} <= numbers, error.message
    assert error.limit == allowed


@pytest.mark.parametrize("cuts", [0, 65_536, 1_000_000])
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("ndjson", '{"type":"set","key":"a","value":"', '"}'),
        ("lines", "a = ", "\n"),
        ("env", "A=", "\n"),
        ("json", '"a":"', '"'),
        ("json", '"a":["', '"]'),
    ],
)
def test_of_a_line_or_a_member(kind: str, before: str, after: str, cuts: int) -> None:
    text = before + "x" * (LONG - len(before) - len(after)) + after
    assert len(text) == LONG
    good = {"ndjson": '\n{"type":"delete","key":"a"}\n', "json": ',"b":1}'}.get(kind, "b=1\n")
    body = "{" * (kind == "json") + text + good
    rows = [
        row for found in ImportFile(kind).read(split_bytes(body.encode(), cuts)) for row in found
    ]
    found = [row.command for row in rows if isinstance(row.command, SignalboxError)]
    if not found:  # it came as a whole
        with pytest.raises(TooLarge) as caught:
            read(rows[0].text)
        found = [caught.value]
    assert_names_limit(found[0], LONG, MAX_LINE)
    assert len(rows) == 2


def read(text: bytes) -> Any:

    command = command_of(Row(1, text))
    if isinstance(command, SignalboxError):
        raise command
    return read_line(text)


def test_of_a_line_of_a_history() -> None:
    size = ndjson.MAX_HISTORY_LINE + 77
    text = ndjson.HISTORY_LINE_START + b" " * (size - len(ndjson.HISTORY_LINE_START))
    for cuts in (0, 1_000_000):
        (row,) = [
            row for found in ImportFile("ndjson").read(split_bytes(text, cuts)) for row in found
        ]
        assert isinstance(row.command, SignalboxError)
        assert_names_limit(row.command, size, ndjson.MAX_HISTORY_LINE)
    with pytest.raises(TooLarge) as caught:
        read_history_line(text)
    assert_names_limit(caught.value, size, ndjson.MAX_HISTORY_LINE)


def test_of_a_transaction_of_a_history() -> None:
    record = {"revision": 1, "id": "i", "actor": "a", "at": "2026-01-01T00:00:00Z", "type": "set"}
    many = [{"key": "a", "deleted": True}] * MANY
    with pytest.raises(TooLarge) as caught:
        read_history_line(json.dumps(record | {"changes": many}).encode())
    assert_names_limit(caught.value, MANY, decide.MAX_CHANGES)
    large = [{"key": f"k.{n:03}", "value": "x" * 200_000} for n in range(90)]
    with pytest.raises(TooLarge) as caught:
        read_history_line(json.dumps(record | {"changes": large}).encode())
    assert_names_limit(caught.value, 90 * 200_007, 16 * 1024 * 1024)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("[" * 101 + "]" * 101, 101),
        ('{"a":' * 150 + "[]" + "}" * 150, 151),
        ('["[[[\\"[[",' + "[" * 5_000 + "]" * 5_001, 5_001),
    ],
)
def test_of_what_nests(text: str, depth: int) -> None:
    with pytest.raises(TooLarge) as caught:
        values.check(values.decode(text.encode()), "k")
    assert_names_limit(caught.value, depth, values.MAX_DEPTH)


def test_of_what_nests_without_end() -> None:
    with pytest.raises(TooLarge, match="it has at least 262144") as caught:
        values.decode(b"[" * 1_000_000)
    assert_names_limit(caught.value, values.MAX_BYTES, values.MAX_DEPTH)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many changes make a transaction here."""
    monkeypatch.setattr(decide, "MAX_CHANGES", 10)
    return 10


def test_of_a_command(few: int) -> None:
    held = {f"a.{n}": 1 for n in range(13)}
    for command, actual in (
        ({"type": "delete_prefix", "prefix": "a."}, 13),
        ({"type": "rename", "key": "a.", "to": "b."}, 26),
    ):
        with pytest.raises(TooLarge) as caught:
            decided_changes(held, **command)
        assert_names_limit(caught.value, actual, few)
    layer = decide.Overlay(DictState(held))
    layer.apply({"a.0": None, "a.1": "2", "a.new": "1", "a.other": "1", "b": "1"}, 8)
    with pytest.raises(TooLarge) as caught:
        decide.decide(layer, read_command({"type": "delete_prefix", "prefix": "a."}))
    assert_names_limit(caught.value, 14, few)


def test_of_a_batch_of_commands(few: int) -> None:
    held = {f"{part}.{n}": 1 for part in "abc" for n in range(6)}
    members = [{"type": "delete_prefix", "prefix": f"{part}."} for part in "abc"]
    with pytest.raises(TooLarge, match="would make at least 12 changes; one transaction holds 10"):
        decided_changes(held, type="batch", commands=members)


def test_of_a_store(few: int) -> None:
    with Store() as store:
        for prefix, number in (("a", 8), ("a.b", 5), ("b", 3)):
            store.set(**{f"{prefix}.{n}": 1 for n in range(number)})
        error = store.run(type="delete_prefix", prefix="a.").error
        assert error is not None
        assert_names_limit(error, 13, few)
        assert store.run(type="delete_prefix", prefix="a.b.").error is None


def test_what_an_engine_does_not_take_is_previewed_and_leaves_the_others(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", "max_payload: 65536") as nats,
        serving(tmp_path / "store", "--engine", f"{nats.url}/log") as server,
        Client(server) as client,
    ):
        values = ("x", "y" * 100_000, "z" * 30_000, "v" * 30_000)
        body = lines(
            *({"type": "set", "key": f"k{n}", "value": one} for n, one in enumerate(values))
        )
        foretold, done = (client.load(body, **more) for more in ({"dry_run": 1}, {}))
        (refused,) = [one for one in done if one["type"] == "rejected"]
        assert (refused["line"], refused["code"]) == (2, "too_large")
        assert "That would be 100009 bytes or more" in refused["message"]  # with the line before
        assert [one for one in foretold if one["type"] == "rejected"] == [refused]
        for name in ("accepted", "rejected", "changes"):
            assert foretold[-1][name] == done[-1][name] == {"rejected": 1}.get(name, 3)


def test_a_line_that_is_too_large_for_a_transaction_leaves_the_others() -> None:
    """As on an engine that takes little: what is refused takes no room."""
    room = BatchLimits(lines=100, bytes=10_000, most=1_000, content=900)
    sizes = (100, 950, 300, 899, 400)
    given = [{"type": "set", "key": f"k{n}", "value": "x" * n} for n in sizes]
    batch = Batch([(n, read_command(one)) for n, one in enumerate(given)], "me", False, room)
    assert batch.decide(DictState()).keys() == {"k100", "k300", "k400"}
    assert [one.number for one in batch.rejections] == [1, 3]
    for rejection, actual in zip(batch.rejections, (106 + 956, 106 + 306 + 905), strict=True):
        assert_names_limit(rejection.error, actual, 1_000)
        assert "atomic" not in rejection.error.message
