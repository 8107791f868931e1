"""Several nodes on one log: what one writes the others show, and who was first is the log's say."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from signalbox.server.engines.engine_interface import LogConflict
from signalbox.server.model import events
from signalbox.server.model.events import Change
from support.frozen_processes import freeze, thaw
from support.harness import Server
from support.nodes import (
    KINDS,
    Site,
    Watcher,
    acks,
    assert_equal_when_ended,
    log_status,
    lost,
    post,
    reach,
    sets,
    status,
    until,
    whole,
)
from support.raw_http import Client, lines

pytestmark = pytest.mark.long

WISHES: list[dict[str, Any]] = [
    {"type": "set", "key": "a.one", "value": 1},
    {"type": "set", "key": "a.two", "value": {"x": [1, "é\u2028", None]}},
    {"type": "add", "key": "a.one", "by": 2**70},
    {"type": "toggle", "key": "b.flag"},
    {"type": "merge", "key": "a.two", "value": {"x": None, "y": 2.5}},
    {"type": "rename", "key": "a.", "to": "c."},
    {"type": "delete", "key": "b.flag"},
    {"type": "batch", "commands": [{"type": "add", "key": f"n.{n}"} for n in range(60)]},
    {"type": "delete_prefix", "prefix": "n."},
    {"type": "undo"},
    {"type": "redo"},
    {"type": "restore", "to_revision": 5},
    {"type": "undo"},
    {"type": "set", "key": "a.one", "value": "after"},
]


def shown(node: Server) -> dict[str, Any]:
    """All that a node's queries say of what the log has."""
    with Client(node) as client:
        keys = sorted(client.state())
        attempts = client.get("attempts", limit=1000).json()["items"]
        return {
            "log": client.get("export", history=1).body,
            "state": client.get("state", sort="changed", limit=1000).json(),
            "before": client.get("state", at=6, limit=1000).json(),
            "tree": client.get("tree").json(),
            "histories": [client.get(f"history/{key}").json() for key in keys],
            "changes": client.get("diff", **{"from": 3, "to": 9}).json(),
            "attempts": [one for one in attempts if one.get("changed")],
        }


def test_what_one_node_writes_the_other_shows_in_every_query_and_table(site: Site) -> None:
    one, other = site.nodes(2)
    assert one.store == other.store
    told = [
        post(node, id=f"wish-{number}", actor="someone", **wish)
        for number, (node, wish) in enumerate(zip(cycle([one, other]), WISHES, strict=False))
    ]
    assert [answer.get("revision") for answer in told] == list(range(1, len(WISHES) + 1)), told
    reach(len(WISHES), one, other)
    assert shown(one) == shown(other)
    for answer in told:
        for node in (one, other):
            record = node.get(f"/queries/attempts/{answer['id']}").json()
            assert {name: record[name] for name in answer} == answer
    assert_equal_when_ended(one, other)


def test_a_command_id_is_done_once_whichever_node_it_is_sent_to(site: Site) -> None:
    one, other = site.nodes(2)
    command = {"type": "add", "key": "n", "id": "once", "actor": "a"}
    for turn in range(20):
        first = post(one, **command | {"id": f"once-{turn}"})
        assert first["status"] == "accepted"
        again = post(other, **command | {"id": f"once-{turn}"})
        assert again == first | {"duplicate": True}
    assert one.value("n") == 20
    reused = post(other, "add", key="n", by=2, id="once-3")
    assert (reused["status"], reused["code"]) == ("rejected", "id_reused")


def test_a_command_id_that_comes_to_both_nodes_at_once_is_done_once(site: Site) -> None:
    nodes = site.nodes(2)
    with ThreadPoolExecutor(4) as pool:
        for turn in range(40):
            command = {"type": "add", "key": "n", "id": f"race-{turn}", "actor": "a"}
            told = [each.json() for each in pool.map(Server.post, nodes * 2, [command] * 4)]
            assert {each["revision"] for each in told} == {turn + 1}, told
            assert [each["duplicate"] for each in told].count(False) == 1
    reach(40, *nodes)
    assert [node.value("n") for node in nodes] == [40, 40]


def test_of_two_commands_with_one_id_at_one_place_the_log_takes_the_first(site: Site) -> None:
    """Also where the engine itself knows the id and would call the second a repetition."""
    site.node()
    (first,) = sets(1, 1)
    other = first._replace(fingerprint=b"other", changes=[Change("other", "1", is_new=True)])
    site.log().append([first], 0)
    with pytest.raises(LogConflict) as refused:
        site.log().append([other], 0)
    assert refused.value.actual == 1
    assert list(whole(site.log())) == [first]


def test_an_expectation_is_checked_at_the_logs_end(site: Site) -> None:
    one, other = site.nodes(2)
    before = one.set("k", "start")["revision"]
    for turn in range(100):
        now = one.set("k", turn, expect={"revision": before})["revision"]
        late = post(other, "set", key="k", value="late", expect={"revision": before})
        assert (late["code"], late["revision"]) == ("conflict", now)
        there = post(other, "set", key=f"new.{turn}", value=1, expect="absent")
        assert there["status"] == "accepted"
        taken = post(one, "set", key=f"new.{turn}", value=2, expect="absent")
        assert (taken["code"], taken["revision"]) == ("conflict", there["revision"])
        before = other.set("k", [turn], expect={"revision": now})["revision"]
        whole = post(one, "set", key="l", value=turn, expect={"store_revision": before})
        assert whole["status"] == "accepted"


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_node_decides_by_the_log_when_it_resumes(tmp_path: Path, kind: str) -> None:
    with Site(tmp_path, kind) as site, Client(one := site.node()) as writer:
        other = site.node()
        start = one.set("k", "start")["revision"]
        reach(start, other)
        freeze(other.pid)
        for turn in range(300):
            writer.send("set", key="k", value=turn)
        late, fresh = other.connect(), other.connect()
        for connection, expected in ((late, start), (fresh, start + 300)):
            body = f'{{"type":"set","key":"k","value":"me","expect":{{"revision":{expected}}}}}'
            kind_of = {"Content-Type": "application/json"}
            connection.request("POST", "/commands", body, other.authorization() | kind_of)
        thaw(other.pid)
        assert late.getresponse().status == 409
        assert fresh.getresponse().status == 200
        late.close()
        fresh.close()
        reach(start + 301, one)
        assert one.value("k") == "me"


def test_undo_redo_restore_and_batches_reach_across_nodes(site: Site) -> None:
    one, other = site.nodes(2)
    one.set("k", 1, actor="a", id="first")
    second = one.set("k", 2, actor="a", id="second")["revision"]
    assert post(other, "undo", actor="a")["changes"] == 1
    assert post(one, "undo", actor="a")["changes"] == 1
    assert post(other, "undo", actor="a")["code"] == "nothing_to_undo"
    assert post(other, "redo", actor="a")["changes"] == 1
    assert other.value("k") == 1
    other.set("k", 3, actor="b", id="third")
    blocked = post(one, "undo", of="first", actor="a")
    assert (blocked["code"], blocked["keys"]) == ("conflict", ["k"])
    members = [{"type": "set", "key": f"m.{n}", "value": n} for n in range(5)]
    batch = post(other, "batch", commands=members, actor="b")
    reach(batch["revision"], one)
    assert one.get("/queries/tree", prefix="m.").json()["total"] == 5
    assert post(one, "restore", to_revision=second)["changes"] == 6
    assert one.value("k") == 2
    assert_equal_when_ended(one, other)


def test_an_import_at_one_node_is_undone_at_the_other(site: Site) -> None:
    one, other = site.nodes(2)
    one.set("m.0", "before")
    with Client(other) as client:
        body = lines(*({"type": "set", "key": f"m.{n}", "value": n} for n in range(3000)))
        summary = client.load(body, id="load", actor="loader")[-1]
        assert (summary["status"], summary["accepted"]) == ("accepted", 3000)
    with Client(one) as client:
        again = client.load(body, id="load", actor="loader")[-1]
        assert (again["duplicates"], again["revision"]) == (3000, summary["revision"])
    undone = post(one, "undo", of="load", actor="loader")
    assert (undone["status"], undone["changes"]) == ("accepted", 3000), undone
    reach(undone["revision"], other)
    with Client(other) as client:
        assert client.state() == {"m.0": "before"}


def test_every_stream_carries_the_acknowledgements_of_all_nodes_in_the_logs_order(
    site: Site,
) -> None:
    nodes = site.nodes(2)
    watchers = [Watcher(node, acks=True) for node in nodes]
    ids = [f"ack-{turn}" for turn in range(60)]
    for node, identity in zip(cycle(nodes), ids, strict=False):
        last = node.set("k", identity, id=identity)["revision"]
    for watcher in watchers:
        watcher.ack(ids[-1])
        revision = 0
        for event in watcher.events:
            if event.name == "change":
                assert event.data["revision"] == revision + 1
                revision += 1
            elif event.name == "ack":
                assert event.data["revision"] == revision
        assert [ack["id"] for ack in acks(watcher.events)] == ids
        assert revision == last


def test_a_stream_has_the_other_nodes_rejections_and_unchanged_outcomes(site: Site) -> None:
    one, other = site.nodes(2)
    watcher = Watcher(other, acks=True)
    one.set("k", "text", id="first")
    answers: dict[str, dict[str, Any]] = {}

    def heard() -> list[dict[str, Any]]:
        """It may be lost, as while the other node is not listening yet: so it is tried again."""
        identity = f"refused-{len(answers)}"
        answers[identity] = post(one, "add", key="k", id=identity, actor="a")
        assert answers[identity]["code"] == "type"
        return [ack for ack in acks(watcher.events) if ack["id"] in answers]

    found = until(heard)
    assert found == [answers[ack["id"]] | {"actor": "a"} for ack in found]
    assert len({ack["id"] for ack in found}) == len(found)
    same = one.set("k", "text", id="same", actor="a")
    assert not same["changed"]
    assert watcher.ack("same") == same | {"actor": "a"}
    assert len(acks(watcher.events, "first")) == 1


def test_a_new_node_catches_up_from_an_old_log_and_serves_the_same(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    one = site.node()
    log, number = site.log(), 10_000
    for first in range(1, number, 500):
        log.append(sets(first, 500), first - 1)
    reach(number, one)
    begun = monotonic()
    new = site.node()
    reach(number, new, seconds=60)
    with capsys.disabled():
        print(f"\n  a new node catches up: {number / (monotonic() - begun):.0f} transactions/s")
    with Client(one) as ours, Client(new) as theirs:
        assert theirs.state() == ours.state()
        assert len(theirs.state()) == 1000
    with new.stream(after=number - 10) as stream:
        seen = [event.data["revision"] for event in stream.until("caught-up")[:-1]]
    assert seen == list(range(number - 9, number + 1))
    assert_equal_when_ended(one, new)


def test_an_event_of_a_newer_version_stops_the_node_loudly_and_reads_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = site.node()
    node.set("k", 1)
    with monkeypatch.context() as newer:  # this process is the newer Signalbox
        newer.setattr(events, "PLAIN_VERSION", 99)
        site.log().append(sets(2, 1), 1)
    until(lambda: "version 99" in (log_status(node)["problem"] or ""))
    refused = post(node, "set", key="k", value=2)
    assert (refused["status"], refused["code"]) == ("rejected", "unavailable")
    assert "version 99" in refused["message"]
    assert node.value("k") == 1
    assert status(node)["revision"] == 1
    assert "version 99" in lost(node)["problem"]
    until(lambda: "version 99" in node.stderr.read_text())
    since = log_status(node)["stale_since"]
    assert all(log_status(node)["stale_since"] == since for _ in range(50))
    assert len(node.stderr.read_text().splitlines()) == 1


def test_a_message_of_an_unknown_form_is_left_out(site: Site) -> None:
    one, other = site.nodes(2)
    watcher = Watcher(one, acks=True)
    novel = ["0" * 16, "novel", "you", "set", "k", 1, 0, {"code": "novel", "why": "new"}, None]
    log = site.log()
    for message in (b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode(novel)):
        log.publish(message)
    assert watcher.ack("novel")["code"] == "internal"
    post(other, "set", key="k", value=1, expect="present", id="refused")
    assert watcher.ack("refused")["code"] == "conflict"
