"""Reversing what was done, and what retention removed, over HTTP."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox.server import maintenance
from support.brokers import Options
from support.harness import Server
from support.raw_http import Client, lines, refusal, serving, values


@pytest.fixture
def box(tmp_path: Path, engine: Options) -> Iterator[Server]:
    with serving(tmp_path / "store", *engine()) as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as one:
        yield one


def begun(
    connection: http.client.HTTPConnection, box: Server, path: str
) -> http.client.HTTPResponse:
    """An answer that has begun and is not read further."""
    connection.request("GET", path, headers=box.authorization("read"))
    response = connection.getresponse()
    assert response.status == 200
    return response


class TestReversals:
    def test_it_is_announced_and_the_attempts_name_what_was_reversed(
        self, box: Server, client: Client
    ) -> None:
        box.set("k", 1, id="first", actor="me")
        with box.stream(acks=True) as stream:
            stream.until("caught-up")
            done = client.send("undo", actor="me", id="back").json()
            change, ack = stream.until("ack")
        assert change.data["changes"] == [{"key": "k", "deleted": True}]
        assert ack.data == done | {"actor": "me"}
        assert client.get("attempts/back").json()["of"] == ["first"]
        client.send("redo", actor="me", id="again")
        assert client.get("attempts/again").json()["of"] == ["back"]
        assert client.value("k") == 1

    def test_a_conflict_names_the_keys_and_who_changed_them(
        self, box: Server, client: Client
    ) -> None:
        client.send(
            "batch",
            commands=[{"type": "set", "key": key, "value": 1} for key in ("a", "b")],
            actor="me",
            id="mine",
        )
        theirs = box.set("a", 2, actor="they")["revision"]
        answer = client.send("undo", actor="me")
        body = answer.json()
        assert (answer.status, body["code"], body["keys"]) == (409, "conflict", ["a"])
        assert body["of"] == ["mine"]
        assert "they" in body["message"]
        assert client.state() == {"a": 2, "b": 1}
        kept = client.send("undo", actor="me", keep=["a"], dry_run=True).json()
        assert (kept["changes"], kept["revision"]) == (1, None)
        assert client.send("undo", actor="me", replace={"a": theirs}).status == 200
        assert client.state() == {}

    def test_a_conflict_tells_its_sender_what_each_key_is_and_would_be(
        self, box: Server, client: Client
    ) -> None:
        for key in ("a", "b", "c"):
            box.set(key, None, actor="before")
        commands = [{"type": "set", "key": key, "value": 1.50} for key in ("a", "b", "c", "d")]
        client.send("batch", commands=commands, actor="me", id="mine")
        client.send("delete", key="a", actor="they")
        box.set("b", {"x": 2}, actor="they")
        box.set("d", 0, actor="others")
        with box.stream(acks=True) as stream:
            stream.until("caught-up")
            answer = client.send("undo", actor="me", id="refused").json()
            (ack,) = stream.until("ack")
        found = answer.pop("effects")
        times = [effect.pop("at") for effect in found]
        assert times == sorted(times)
        assert found == [
            {"key": "a", "actor": "they", "revision": 5, "back": None},
            {"key": "b", "actor": "they", "revision": 6, "now": {"x": 2}, "back": None},
            {"key": "d", "actor": "others", "revision": 7, "now": 0},
        ]
        # It is told of that moment, and to nobody else.
        assert ack.data == answer | {"actor": "me"}
        assert "effects" not in client.get("attempts/refused").json()
        assert client.send("undo", actor="me", id="refused").json() == answer | {"duplicate": True}

    def test_a_dry_run_tells_as_many_effects_as_are_wanted(self, client: Client) -> None:
        def effects(**fields: Any) -> list[tuple[str, Any, Any]]:
            body = client.send("undo", actor="me", dry_run=True, **fields).json()
            assert body["changes"] == 150
            return [(one["key"], one.get("now"), one.get("back")) for one in body["effects"]]

        keys = [f"k{number:03}" for number in range(150)]
        for value in (1, 2):
            commands = [{"type": "set", "key": key, "value": value} for key in keys]
            client.send("batch", commands=commands, actor="me")
        expected = [(key, 2, 1) for key in keys]
        assert effects() == expected[:100]
        assert effects(effects=0) == []
        assert effects(effects=100_000) == expected
        for wrong in (-1, 100_001, True, "1", None):
            refused = client.send("undo", actor="me", dry_run=True, effects=wrong)
            assert (refused.status, refused.json()["code"]) == (422, "invalid")
        assert "effects" not in client.send("undo", actor="me").json()
        assert "effects" not in client.send("set", key="k", value=1, dry_run=True).json()

    def test_what_is_kept_whole_is_settled_and_the_one_before_comes_next(
        self, box: Server, client: Client
    ) -> None:
        box.set("b", 1, actor="me")
        box.set("a", 1, actor="me", id="mine")
        box.set("a", 2, actor="they")
        assert client.send("undo", actor="me").json()["keys"] == ["a"]
        with box.stream(acks=True) as stream:
            stream.until("caught-up")
            settled = client.send("undo", actor="me", keep=["a"], id="settled").json()
            (ack,) = stream.until("ack")  # and no change before it
        assert (settled["changed"], settled["changes"], settled["revision"]) == (False, 0, 4)
        assert ack.data == settled | {"actor": "me"}
        assert client.get("attempts/settled").json()["of"] == ["mine"]
        assert client.send("undo", actor="me", keep=["a"], id="settled").json()["duplicate"]
        assert client.send("undo", actor="me").json()["changes"] == 1
        assert client.state() == {"a": 2}
        again = client.send("undo", of="mine").json()
        assert (again["code"], client.state()) == ("nothing_to_undo", {"a": 2})
        history = client.get("export", history=1).body.splitlines()
        assert [json.loads(line)["revision"] for line in history] == [1, 2, 3, 4, 5]
        with box.stream(after=3) as stream:
            assert [event.data["revision"] for event in stream.until("caught-up")] == [5, 5]
        with box.stream(match="none", after=3) as stream:
            assert [event.name for event in stream.until("caught-up")] == ["caught-up"]
        assert maintenance.verify(box.data_dir)["problems"] == []

    def test_nothing_to_undo_is_said(self, client: Client) -> None:
        for kind in ("undo", "redo"):
            answer = client.send(kind, actor="newcomer")
            assert (answer.status, answer.json()["code"]) == (409, "nothing_to_undo")
        assert client.send("undo", of="unknown").status == 404

    def test_a_restore_is_one_change_that_can_be_undone(self, box: Server, client: Client) -> None:
        box.set("r.a", 1)
        box.set("r.b", 1)
        at = box.set("other", 1)["revision"]
        box.set("r.a", 2)
        box.post({"type": "delete", "key": "r.b"})
        box.set("other", 2)
        dry = client.send("restore", to_revision=at, match="r.**", dry_run=True).json()
        assert (dry["changes"], dry["revision"]) == (2, None)
        assert client.state() == {"r.a": 2, "other": 2}
        done = client.send("restore", to_revision=at, match="r.**", actor="me").json()
        assert (done["changes"], client.state()) == (2, {"r.a": 1, "r.b": 1, "other": 2})
        assert client.send("undo", actor="me").status == 200
        assert client.state() == {"r.a": 2, "other": 2}
        again = client.send("restore", to_revision=done["revision"] - 1, match="r.**").json()
        assert (again["changed"], again["changes"]) == (False, 0)

    def test_a_moment_that_has_not_been_cannot_be_restored(self, client: Client) -> None:
        answer = client.send("restore", to_revision=1)
        assert (answer.status, answer.json()["code"]) == (422, "invalid")
        assert answer.json()["field"] == "to_revision"


class TestRetention:
    """`old.k` and `k` are set in turn, revisions 1 to 6; nothing old is kept below `old.`."""

    @pytest.fixture(autouse=True)
    def _history(self, box: Server) -> None:
        for value in (1, 2, 3):
            box.set("old.k", value)
            box.set("k", value)
        box.set("_signalbox.retention.old", {"max_age": "0s"})

    def compact(self, box: Server, query: str = "") -> dict[str, Any]:
        answer = box.request("POST", f"/commands/compact{query}")
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json()
        return found

    def test_a_dry_run_counts_what_goes_and_removes_nothing(
        self, box: Server, client: Client
    ) -> None:
        self.compact(box)  # behind what the setting has set off
        for value in (4, 5):
            box.set("old.k", value)
        would = self.compact(box, "?dry_run=1")
        assert (would["dry_run"], would["changes"]) == (True, 2)
        assert len(client.get("history/old.k").json()["items"]) == 3
        done = self.compact(box)
        assert (done["dry_run"], done["changes"]) == (False, 2)
        assert {one["prefix"]: one["changes"] for one in done["prefixes"]} == {"": 0, "old.": 2}
        assert len(client.get("history/old.k").json()["items"]) == 1
        assert self.compact(box)["changes"] == 0

    def test_a_body_is_refused_as_it_would_be_ignored(self, box: Server, client: Client) -> None:
        before = client.get("history/k").json()["items"]
        answer = box.request("POST", "/commands/compact", b'{"dry_run": true}')
        assert (answer.status, answer.json()["code"]) == (422, "invalid")
        assert "dry_run=1" in answer.json()["message"]
        assert client.get("history/k").json()["items"] == before

    def test_only_the_write_token_compacts(self, box: Server) -> None:
        for token, status in (("read", 403), (None, 401)):
            assert box.request("POST", "/commands/compact", token=token).status == status
        assert box.request("POST", "/commands/compact?dry_run=x").status == 422
        assert box.get("/commands/compact").status == 405

    def test_what_was_removed_is_left_out_and_named(self, box: Server, client: Client) -> None:
        oldest = self.compact(box)["oldest_revision"]
        assert client.get("status").json()["oldest_revision"] == oldest
        assert values(client, at=2) == {"k": 1}
        for path, query in (
            ("state", {"at": 2}),
            ("tree", {"at": 2}),
            ("diff", {"from": 2}),
            ("history/old.k", {}),
        ):
            assert client.get(path, **query).json()["compacted"] == ["old."]
            status, code, message = refusal(client, path, strict=1, **query)
            assert (status, code) == (410, "compacted")
            assert "old." in message
        exported = client.get("export", at=2)
        assert exported.headers["signalbox-compacted"] == "old."
        assert refusal(client, "export", at=2, strict=1)[:2] == (410, "compacted")
        assert refusal(client, "state/old.k", at=2)[:2] == (410, "compacted")
        assert values(client, at=oldest, match="*.*") == {"old.k": 3}

    def test_what_does_not_need_it_lacks_nothing(self, box: Server, client: Client) -> None:
        self.compact(box)
        for path, query in (
            ("state", {"at": 2, "match": "k"}),
            ("diff", {"from": 2, "match": "k"}),
            ("history/k", {}),
            ("state", {}),
        ):
            answer = client.get(path, strict=1, **query)
            assert answer.status == 200
            assert "compacted" not in answer.json()

    def test_what_needs_it_is_refused_and_nothing_is_guessed(
        self, box: Server, client: Client
    ) -> None:
        box.set("old.k", 4, id="fourth")
        box.set("old.k", 5)
        self.compact(box)
        before = client.state()
        refused = client.send("restore", to_revision=2)
        assert (refused.status, refused.json()["code"]) == (410, "compacted")
        assert refused.json()["keys"] == ["old."]
        assert client.send("undo", of="fourth").status in (404, 410)
        assert client.state() == before
        assert client.send("restore", to_revision=2, without=["old."]).status == 200
        assert client.value("k") == 1

    @pytest.mark.parametrize("named", [True, False])
    def test_a_stream_from_behind_the_horizon_begins_anew(
        self, box: Server, client: Client, named: bool
    ) -> None:
        oldest = self.compact(box)["oldest_revision"]
        with box.stream(after=f"{box.store}:1" if named else 1) as stream:
            first, *_ = events = stream.until("caught-up")
        assert (first.name, first.data) == ("reset", {"reason": "compacted", "oldest": oldest})
        shown = {
            one["key"]: one["value"]
            for event in events
            if event.name == "snapshot"
            for one in event.data["items"]
        }
        assert shown == {"k": 3, "old.k": 3}
        with box.stream(after=client.get("status").json()["revision"]) as stream:
            assert [event.name for event in stream.until("caught-up")] == ["caught-up"]

    @pytest.mark.parametrize("order", ["before", "with", "nested"])
    def test_what_a_longer_prefix_keeps_stays_when_a_shorter_one_lets_go(
        self, box: Server, client: Client, order: str
    ) -> None:
        kept = {"type": "set", "key": "_signalbox.retention.audit", "value": {"max_age": None}}
        gone = {"type": "set", "key": "_signalbox.retention", "value": {"max_age": "0s"}}
        if order == "nested":
            kept["key"] = "_signalbox.retention.p.audit"
            gone["key"] = "_signalbox.retention.p"
        key = "p.audit.k" if order == "nested" else "audit.k"
        if order != "with":
            box.post(kept)
        for value in range(5):
            box.set(key, value)
        box.post({"type": "batch", "commands": [kept, gone]} if order == "with" else gone)
        self.compact(box)
        found = client.get(f"history/{key}").json()
        assert ([one["value"] for one in found["items"]], found["next"]) == ([4, 3, 2, 1, 0], None)
        assert "compacted" not in found

    def test_an_export_is_whole_though_its_moment_goes_meanwhile(
        self, box: Server, client: Client
    ) -> None:
        text = "x" * 2_000
        keys = [f"many.k{number:05}" for number in range(10_000)]
        client.load(lines(*({"type": "set", "key": key, "value": text} for key in keys)))
        revision = client.get("status").json()["revision"]
        exports = [f"at={revision}&strict=1", "match=many.**", "history=1&match=many.**"]
        connections = [box.connect() for _ in exports]
        waiting = [
            begun(connection, box, f"/queries/export?{query}")
            for connection, query in zip(connections, exports, strict=True)
        ]
        client.load(lines(*({"type": "set", "key": key, "value": 1} for key in keys)))
        box.set("_signalbox.retention", {"max_age": "0s"})
        assert self.compact(box)["changes"] == 0
        for connection, response in zip(connections, waiting, strict=True):
            body = response.read()
            connection.close()
            assert body.count(b"many.k") >= len(keys)
            assert body.count(text.encode()) == len(keys)
        assert self.compact(box)["changes"] > len(keys)

    def test_history_below_what_is_kept_says_so(self, box: Server, client: Client) -> None:
        self.compact(box)
        assert client.get("history/old.k", before=5).json()["compacted"] == ["old."]
        assert refusal(client, "history/old.k", before=5, strict=1)[:2] == (410, "compacted")

    def test_a_stream_of_what_is_kept_goes_on(self, box: Server) -> None:
        self.compact(box)
        with box.stream(match="k", after=2) as stream:
            events = stream.until("caught-up")
        assert [event.data.get("changes") for event in events[:-1]] == [
            [{"key": "k", "value": 2}],
            [{"key": "k", "value": 3}],
        ]

    @pytest.mark.parametrize("value", [1, {}, {"max_age": 5}, {"max_age": "5"}, {"max_age": "-1d"}])
    def test_a_retention_that_cannot_be_used_is_refused(self, client: Client, value: Any) -> None:
        answer = client.send("set", key="_signalbox.retention", value=value)
        assert (answer.status, answer.json()["code"]) == (422, "invalid")
        assert "max_age" in answer.json()["message"]


def test_this_computer_sets_its_retention_once(box: Server, client: Client) -> None:
    shared = client.get("status").json()["log"]
    enabled = {"enabled": True, "every": 0.1} | ({"node": shared["node"]} if shared else {})
    with box.stream(match="_signalbox.retention.**") as stream:
        stream.until("caught-up")
        box.set("_signalbox.sources.computer", enabled)
        (first,) = stream.until("change")
        assert first.data["changes"] == [
            {"key": "_signalbox.retention.computer", "value": {"max_age": "2d"}}
        ]
    own = {"max_age": "5d"}
    box.set("_signalbox.retention.computer", own)
    with box.stream(match="computer.**") as stream:
        stream.until("caught-up")
        box.set("_signalbox.sources.computer", {**enabled, "enabled": False})
        box.set("_signalbox.sources.computer", enabled)
        stream.until("change")
    assert client.value("_signalbox.retention.computer") == own
