"""The script stream as the contract has it: what is true now, then every change, then acks."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from support.brokers import options
from support.harness import Event, Server
from support.raw_http import Block, Client, blocks, folded, lines, serving

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(params=["memory", "sqlite", "nats", "redis"], scope="module")
def box(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("streams") / "store"
    with serving(folder, *options(request.param)) as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


def revision(client: Client) -> int:
    return int(client.get("status").json()["revision"])


def snapshot_of(events: list[Event]) -> dict[str, Any]:
    """The state that the snapshot events of a stream's beginning show, all of one revision."""
    pages = [event.data for event in events if event.name == "snapshot"]
    assert len({page["revision"] for page in pages}) == 1
    keys = [item["key"] for page in pages for item in page["items"]]
    assert keys == sorted(set(keys))
    return {item["key"]: item["value"] for page in pages for item in page["items"]}


def test_a_stream_says_how_to_retry_and_is_kept_in_no_cache(box: Server) -> None:
    with box.stream() as stream:
        assert next(blocks(stream)) == Block(None, None, None, "1000", None)
        kind = stream.response.headers["content-type"]
        assert kind.startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"


def test_it_begins_with_the_state_then_is_caught_up_then_live(box: Server, client: Client) -> None:
    client.send("set", key="begin.a", value={"x": [1, 2.5, None]})
    with box.stream(match="begin.**") as stream:
        begin = list(next_blocks(stream, 3))
        now = revision(client)
        assert begin[1].event == "snapshot"
        item = begin[1].data["items"][0]
        assert (item["key"], item["value"]) == ("begin.a", {"x": [1, 2.5, None]})
        assert item["revision"] <= begin[1].data["revision"] == now
        assert begin[2] == Block("caught-up", {"revision": now}, f"{box.store}:{now}", None, None)
        client.send("set", key="begin.b", value=1, actor="train.py", id="begin-1")
        change = next(blocks(stream))
    assert (change.event, change.id) == ("change", f"{box.store}:{now + 1}")
    assert ISO.fullmatch(change.data.pop("at"))
    assert change.data == {
        "revision": now + 1,
        "id": "begin-1",
        "actor": "train.py",
        "changes": [{"key": "begin.b", "value": 1}],
    }


def next_blocks(stream: Any, count: int) -> Iterator[Block]:
    found = blocks(stream)
    return (next(found) for _ in range(count))


def test_a_change_event_holds_the_matching_changes_of_one_transaction(
    box: Server, client: Client
) -> None:
    client.send("set", key="tx.gone", value=1)
    with box.stream(match="tx.*") as stream:
        stream.until("caught-up")
        client.send("set", key="other", value=object_count(client))
        members = [
            {"type": "set", "key": "tx.b", "value": None},
            {"type": "delete", "key": "tx.gone"},
            {"type": "set", "key": "tx.deep.c", "value": 1},
            {"type": "set", "key": "tx-no", "value": 1},
        ]
        outcome = client.send("batch", commands=members).json()
        event = stream.until("change")[-1]
    assert event.data["revision"] == outcome["revision"]
    assert event.data["changes"] == [
        {"key": "tx.b", "value": None},
        {"key": "tx.gone", "deleted": True},
    ]


def object_count(client: Client) -> int:
    """A value that is new each time."""
    return revision(client)


def test_a_snapshot_of_many_pages_is_of_one_revision_and_what_came_meanwhile_follows(
    box: Server, client: Client
) -> None:
    sets = ({"type": "set", "key": f"many.{n:05}", "value": n} for n in range(3_000))
    client.load(lines(*sets))
    with box.stream(match="many.**") as stream:
        seen: list[Event] = []
        for event in stream:
            seen.append(event)
            number = len(seen)
            if number < 20:
                client.send("set", key=f"many.{number:05}", value=f"changed {number}")
                client.send("delete", key=f"many.{3_000 - number:05}")
            if event.name == "caught-up":
                break
        last = revision(client)
        while seen[-1].data["revision"] < last:
            seen.append(next(iter(stream)))
    changes = [event.data for event in seen if event.name == "change"]
    first = snapshot_of(seen)
    assert len([event for event in seen if event.name == "snapshot"]) > 3
    base = next(event.data["revision"] for event in seen if event.name == "snapshot")
    assert [change["revision"] for change in changes] == list(range(base + 1, last + 1))
    start = {"changes": [{"key": key, "value": value} for key, value in first.items()]}
    assert folded([start, *changes]) == client.state("many.**")


def test_resuming_is_exclusive_however_the_position_is_given(box: Server, client: Client) -> None:
    for number in range(4):
        client.send("set", key="resume.k", value=[revision(client), number])
    now = revision(client)
    ways: list[dict[str, Any]] = [
        {"after": now - 2},
        {"after": f"{box.store}:{now - 2}"},
        {"last_event_id": f"{box.store}:{now - 2}"},
        {"last_event_id": f"{now - 2}"},
        {"last_event_id": f"{box.store}:{now - 2}", "after": 0},
    ]
    for way in ways:
        with box.stream(**way) as stream:
            names = [(event.name, event.data["revision"]) for event in stream.until("caught-up")]
        assert names == [("change", now - 1), ("change", now), ("caught-up", now)]
    with box.stream(after=now) as stream:
        assert [event.name for event in stream.until("caught-up")] == ["caught-up"]
    with box.stream(after=0) as stream:
        events = stream.until("caught-up")[:-1]
    assert [event.data["revision"] for event in events] == list(range(1, now + 1))
    assert all(one.data["at"] <= other.data["at"] for one, other in pairwise(events))


@pytest.mark.parametrize(
    "position", ["0123456789abcdef:1", "other:0", "{store}:99999999", "9999999"]
)
def test_a_position_of_another_store_gets_a_reset_and_a_snapshot(
    box: Server, client: Client, position: str
) -> None:
    client.send("set", key="reset.k", value=1)
    for way in ("after", "last_event_id"):
        given: dict[str, Any] = {way: position.format(store=box.store)}
        with box.stream(match="reset.**", **given) as stream:
            reset, *rest = stream.until("caught-up")
        assert (reset.name, reset.data) == ("reset", {"reason": "other_store", "oldest": 1})
        assert snapshot_of(rest) == {"reset.k": 1}


def test_a_store_that_was_lost_says_reset_to_those_who_followed_it(
    server: StartServer, tmp_path: Path
) -> None:
    first = server("--engine", "memory", data_dir=tmp_path / "store")
    first.set("k", value="lost")
    with first.stream() as stream:
        stream.until("caught-up")
        position = stream.last_id
    first.stop()
    again = server("--engine", "memory", data_dir=tmp_path / "store")
    with again.stream(last_event_id=position) as stream:
        names = [event.name for event in stream.until("caught-up")]
    assert names == ["reset", "snapshot", "caught-up"]


ATTEMPTS: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "set", "key": "ack.k", "value": 1, "id": "ack-1"}, None),
    ({"type": "set", "key": "ack.k", "value": 1, "id": "ack-2"}, None),
    ({"type": "set", "key": "ack.k", "value": 1, "id": "ack-1"}, None),
    ({"type": "set", "key": "ack.k", "value": 2, "id": "ack-1"}, "id_reused"),
    ({"type": "set", "key": "ack.k", "value": 3, "id": "ack-3", "dry_run": True}, None),
    ({"type": "toggle", "key": "ack.k", "id": "ack-4"}, "type"),
    ({"type": "set", "key": "ack.k", "value": 5, "expect": "absent", "id": "ack-5"}, "conflict"),
    ({"type": "rename", "key": "ack.none", "to": "x", "id": "ack-6"}, "not_found"),
    ({"type": "set", "key": "a..b", "value": 1, "id": "ack-7"}, "invalid"),
    ({"type": "nothing", "id": "ack-8"}, "invalid"),
    ({"id": "ack-9"}, "invalid"),
    ({"type": "set", "key": "ack.k", "value": "x" * 300_000, "id": "ack-10"}, "too_large"),
    ({"type": "batch", "commands": [{}] * 1_001, "id": "ack-11"}, "too_large"),
]


def test_every_attempt_that_was_a_json_object_is_acknowledged_as_its_post_was(
    box: Server, client: Client
) -> None:
    client.send("delete", key="ack.k")
    with box.stream(match="nothing.here", acks=True) as stream:
        stream.until("caught-up")
        for command, code in ATTEMPTS:
            identity = command["id"] + box.store
            answer = box.post(command | {"id": identity, "actor": "acker"}).json()
            assert answer.get("code") == code
            event = stream.until("ack")
            assert [one.name for one in event] == ["ack"]
            assert event[0].data == answer | {"actor": "acker"}


def test_what_was_no_attempt_is_not_acknowledged(box: Server, client: Client) -> None:
    """Not authenticated, another media type, no JSON object: only the sender gets an outcome."""
    with box.stream(acks=True) as stream:
        stream.until("caught-up")
        for body in (b"[]", b"{", b'"x"'):
            assert box.post(body).status == 400
        assert box.post({"type": "toggle", "key": "x"}, token="read").status == 403
        assert box.post({"type": "toggle", "key": "x"}, token=None).status == 401
        headers = {"Content-Type": "text/plain"}
        assert box.post({"type": "toggle", "key": "x"}, headers=headers).status == 415
        last = client.send("toggle", key="ack.last").json()
        ack = stream.until("ack")
    assert [event.name for event in ack] == ["change", "ack"]
    assert ack[-1].data["id"] == last["id"]


def test_the_ack_follows_its_change_and_comes_only_where_requested(
    box: Server, client: Client
) -> None:
    with box.stream(acks=True) as asked, box.stream() as not_asked:
        asked.until("caught-up")
        not_asked.until("caught-up")
        sent = [client.send("add", key="follow.n").json() for _ in range(20)]
        told = [event for _ in sent for event in asked.until("ack")]
        changes = [not_asked.until("change") for _ in sent]
    assert [event.name for event in told] == ["change", "ack"] * len(sent)
    assert [event.data["revision"] for event in told[::2]] == [one["revision"] for one in sent]
    assert [event.data["id"] for event in told[1::2]] == [one["id"] for one in sent]
    assert [[event.name for event in part] for part in changes] == [["change"]] * len(sent)


def test_imported_batches_are_changes_and_attempts_like_any_other(
    box: Server, client: Client
) -> None:
    with box.stream(match="imported.**", acks=True) as stream:
        stream.until("caught-up")
        sets = ({"type": "set", "key": f"imported.{n}", "value": n} for n in range(100))
        summary = client.load(lines(*sets), id=f"imp-{box.pid}")[-1]
        events = [event for _ in range(summary["batches"]) for event in stream.until("ack")]
    acks = [event.data["id"] for event in events if event.name == "ack"]
    assert acks == [f"imp-{box.pid}-{n + 1}" for n in range(summary["batches"])]
    assert len(folded(event.data for event in events if event.name == "change")) == 100
