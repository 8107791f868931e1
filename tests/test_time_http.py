"""The past over HTTP: moments, pages of history, differences and exports."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Options
from support.harness import Server
from support.raw_http import Client, refusal, serving, values


@pytest.fixture
def box(tmp_path: Path, engine: Options) -> Iterator[Server]:
    with serving(tmp_path / "store", *engine()) as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as one:
        yield one


class TestMoments:
    """`a` is 1, 2, 3 and deleted at revisions 1 to 4; `b.c` is set at 5."""

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
        is_later = at in ("6", "9" * 30)
        assert message.startswith(
            f"There is no revision {at} yet; " if is_later else "The parameter at is "
        )
        assert client.get(path, at=at).json()["field"] == "at"

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
        ("history/a..b", {}, "key"),
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
