"""The past over HTTP: moments, pages of history, differences, exports, and what is compacted."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from harness import Server
from robust import Client, serving


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as one:
        yield one


def values(client: Client, **query: Any) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in client.get("state", **query).json()["items"]}


def refusal(client: Client, path: str, **query: Any) -> tuple[int, str, str]:
    answer = client.get(path, **query)
    body = answer.json()
    return answer.status, body["code"], body["message"]


class TestMoments:
    """`a` is 1, 2, 3 and gone at revisions 1 to 4; `b.c` is set at 5."""

    @pytest.fixture(autouse=True)
    def _history(self, box: Server) -> None:
        for value in (1, 2, 3):
            box.set("a", value)
        box.post({"type": "delete", "key": "a"})
        box.set("b.c", True)

    def test_every_revision_is_a_moment(self, client: Client) -> None:
        found = [values(client, at=revision) for revision in range(6)]
        assert found == [{}, {"a": 1}, {"a": 2}, {"a": 3}, {}, {"b.c": True}]

    def test_an_answer_carries_the_revision_it_is_of(self, client: Client) -> None:
        assert client.get("state", at=2).json()["revision"] == 2
        tree = client.get("tree", at=3).json()
        assert (tree["revision"], tree["total"]) == (3, 1)
        exported = client.get("export", at=2, format="json")
        assert exported.headers["signalbox-revision"] == "2"
        assert exported.json() == {"a": 2}

    def test_a_key_as_it_was(self, client: Client) -> None:
        then = client.get("state/a", at=2)
        assert then.json()["value"] == 2
        assert (then.json()["revision"], then.headers["etag"]) == (2, '"2"')
        assert client.get("state/a").status == 404
        status, code, message = refusal(client, "state/b.c", at=4)
        assert (status, code) == (404, "not_found")
        assert "b.c" in message

    def test_a_time_is_the_last_revision_not_later(self, client: Client) -> None:
        at = client.get("history/a", limit=1, before=4).json()["items"][0]["at"]
        assert client.get("state", at=at).json()["revision"] >= 3
        moment = datetime.fromisoformat(at)
        east = moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
        assert (
            client.get("state", at=east).json()["revision"]
            == client.get("state", at=at).json()["revision"]
        )
        assert client.get("state", at="1999-12-31").json()["revision"] == 0
        assert client.get("state", at="2999-12-31T00:00:00Z").json()["revision"] == 5

    @pytest.mark.parametrize(
        "at",
        ["", "-1", "6", "1.5", "yesterday", "2026-13-01", "9" * 30, "2026-11-23T10:00:00+99:00"],
    )
    @pytest.mark.parametrize("path", ["state", "state/a", "tree", "export"])
    def test_what_is_no_moment_is_refused_by_name(self, client: Client, path: str, at: str) -> None:
        status, code, message = refusal(client, path, at=at)
        assert (status, code) == (422, "invalid")
        assert message.startswith("The parameter at is ")

    def test_filters_and_order_hold_in_the_past(self, box: Server, client: Client) -> None:
        box.set("b.a", "word")
        box.set("b.c", False)
        box.set("d", "other")
        at = 6
        assert values(client, at=at, type="string") == {"b.a": "word"}
        assert values(client, at=at, search="WOR") == {"b.a": "word"}
        assert values(client, at=at, match="b.*") == {"b.a": "word", "b.c": True}
        newest = client.get("state", at=at, sort="changed").json()["items"]
        assert [one["key"] for one in newest] == ["b.a", "b.c"]
        first = client.get("state", at=at, limit=1).json()
        assert (first["total"], [one["key"] for one in first["items"]]) == (2, ["b.a"])
        second = client.get("state", at=at, limit=1, after=first["next"]).json()
        assert ([one["key"] for one in second["items"]], second["next"]) == (["b.c"], None)

    def test_a_query_of_the_past_changes_nothing(self, client: Client) -> None:
        before = client.get("status").json()["revision"]
        for path in ("state", "tree", "export", "state/a"):
            client.get(path, at=2)
        client.get("diff", **{"from": 1})
        client.get("history/a")
        assert client.get("status").json()["revision"] == before


def test_history_is_paged_without_gap_or_double(client: Client) -> None:
    for _ in range(7):
        client.send("add", key="n", actor="counter")
    client.send("delete", key="n", id="the-end")
    found = list[dict[str, Any]]()
    before: dict[str, Any] = {}
    while True:
        page = client.get("history/n", limit=3, **before).json()
        found += page["items"]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert [one["revision"] for one in found] == list(range(8, 0, -1))
    assert found[0].items() >= {"deleted": True, "id": "the-end", "type": "delete"}.items()
    assert "value" not in found[0]
    assert [one["value"] for one in found[1:]] == [7, 6, 5, 4, 3, 2, 1]
    assert {one["actor"] for one in found[1:]} == {"counter"}
    assert client.get("history/never").json() == {"key": "never", "items": [], "next": None}


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("history/a", {"limit": 0}, "limit"),
        ("history/a", {"limit": 1001}, "limit"),
        ("history/a", {"before": "x"}, "before"),
        ("history/a b", {}, "key"),
        ("diff", {}, "from"),
        ("diff", {"from": "x"}, "from"),
        ("diff", {"from": 0, "to": 99}, "to"),
        ("state", {"strict": "yes"}, "strict"),
        ("export", {"history": 2}, "history"),
        ("export", {"history": 1, "format": "csv"}, "format"),
        ("export", {"after": 3}, "after"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(
    client: Client, path: str, query: dict[str, Any], named: str
) -> None:
    status, code, message = refusal(client, path.replace(" ", "%20"), **query)
    assert (status, code) == (422, "invalid")
    assert named in message


class TestDifferences:
    @pytest.fixture(autouse=True)
    def _history(self, box: Server) -> None:
        box.set("same", 1)
        box.set("grown", 1)
        box.set("gone", [1])
        box.post({"type": "delete", "key": "gone"})
        box.set("grown", 2)
        box.set("new", None)

    def test_a_side_is_left_out_where_there_was_no_key(self, client: Client) -> None:
        found = client.get("diff", **{"from": 3}).json()
        assert (found["from"], found["to"], found["total"]) == (3, 6, 3)
        assert found["items"] == [
            {"key": "gone", "before": [1]},
            {"key": "grown", "before": 1, "after": 2},
            {"key": "new", "after": None},
        ]

    def test_it_goes_in_either_direction(self, client: Client) -> None:
        found = client.get("diff", **{"from": 6, "to": 3}).json()
        assert found["items"][0] == {"key": "gone", "after": [1]}
        assert found["items"][2] == {"key": "new", "before": None}

    def test_it_comes_in_pages_with_an_exact_total(self, client: Client) -> None:
        first = client.get("diff", limit=2, **{"from": 3}).json()
        second = client.get("diff", limit=2, after=first["next"], **{"from": 3}).json()
        assert [one["key"] for one in first["items"] + second["items"]] == ["gone", "grown", "new"]
        assert (first["total"], second["total"], second["next"]) == (3, 3, None)

    def test_what_came_back_is_no_difference(self, client: Client) -> None:
        client.send("set", key="gone", value=[1])
        found = client.get("diff", match="gone", **{"from": 3}).json()
        assert (found["total"], found["items"]) == (0, [])


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
        assert "to_revision" in answer.json()["message"]


class TestExportOfTheHistory:
    @pytest.fixture(autouse=True)
    def _history(self, box: Server) -> None:
        box.set("a", 1, id="one", actor="me")
        box.set("b", 1)
        box.post({"type": "undo", "of": "one", "id": "back", "actor": "me"})

    def test_it_has_a_transaction_a_line(self, client: Client) -> None:
        exported = client.get("export", history=1)
        assert exported.headers["content-type"] == "application/x-ndjson"
        found = [json.loads(line) for line in exported.body.splitlines()]
        assert [one["revision"] for one in found] == [1, 2, 3]
        assert found[0].items() >= {"id": "one", "actor": "me", "type": "set"}.items()
        assert found[0]["changes"] == [{"key": "a", "value": 1}]
        assert found[2]["changes"] == [{"key": "a", "deleted": True}]
        assert (found[2]["type"], found[2]["reverses"]) == ("undo", [1])

    def test_a_stretch_of_it(self, client: Client) -> None:
        exported = client.get("export", history=1, after=1, at=2)
        assert [json.loads(line)["revision"] for line in exported.body.splitlines()] == [2]
        matched = client.get("export", history=1, match="a")
        assert [json.loads(line)["revision"] for line in matched.body.splitlines()] == [1, 3]

    def test_a_moment_of_the_state_can_be_imported(self, client: Client) -> None:
        body = client.get("export", at=2).body
        assert client.load(body)[-1]["status"] == "accepted"
        assert client.state() == {"a": 1, "b": 1}


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
        would = self.compact(box, "?dry_run=1")
        assert (would["dry_run"], would["changes"]) == (True, 2)
        assert len(client.get("history/old.k").json()["items"]) == 3
        done = self.compact(box)
        assert (done["dry_run"], done["changes"]) == (False, 2)
        assert {one["prefix"]: one["changes"] for one in done["prefixes"]} == {"": 0, "old.": 2}
        assert len(client.get("history/old.k").json()["items"]) == 1
        assert self.compact(box)["changes"] == 0

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
    enabled = {"enabled": True, "every": 0.1}
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
