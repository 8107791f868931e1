"""The client's past: values, histories and differences of any moment, undo, redo, restore."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import signalbox
from signalbox.client import Box, Difference, Moment
from support.harness import Server
from support.raw_http import serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    with signalbox.connect("tester", url=server.url, token=server.write_token) as one:
        yield one


@pytest.fixture
def other(server: Server) -> Iterator[Box]:
    with signalbox.connect("other", url=server.url, token=server.write_token) as one:
        yield one


def test_values_are_as_they_were(box: Box) -> None:
    box["a"], box["b"] = 1, None
    box["a"] = 2
    del box["b"]
    assert [box.get("a", at=revision) for revision in range(5)] == [None, 1, 1, 2, 2]
    assert box.get("b", "default", at=2) is None
    assert box.get("b", "default", at=4) == "default"
    assert dict(box.items(at=3)) == {"a": 2, "b": None}
    assert list(box.items("b", at=1)) == []
    item = box.item("a", at=2)
    assert item is not None
    assert (item["revision"], item["value"], item["actor"]) == (1, 1, "tester")
    assert box.item("b", at=1) is None


def test_a_moment_is_also_a_time(box: Box) -> None:
    revisions = [box.set("n", number)["revision"] for number in range(3)]
    for version in box.history("n"):
        at = datetime.fromisoformat(version.at)
        moments: list[Moment] = [version.at, at, at.astimezone().replace(tzinfo=None)]
        for moment in moments:
            assert box.revision(moment) == version.revision
            assert box.get("n", at=moment) == version.value
    assert box.revision(datetime.now(UTC) + timedelta(days=1)) == revisions[-1]
    assert box.revision("2001-01-01") == 0
    assert box.revision() == revisions[-1]
    assert box.revision(2) == 2
    with pytest.raises(signalbox.Rejected) as caught:
        box.get("n", at="yesterday")
    assert caught.value.code == "invalid"


def test_items_of_a_moment_are_all_of_it_while_others_write(box: Box, other: Box) -> None:
    with box.batch() as batch:
        for number in range(900):
            batch.set(f"k{number:04}", 0)
    with box.batch() as batch:
        for number in range(900, 1_800):
            batch.set(f"k{number:04}", 0)
    items = box.items(at=datetime.now(UTC) + timedelta(days=1))
    first = list(islice(items, 10))
    other["k1799"] = 1
    assert first + list(items) == [(f"k{number:04}", 0) for number in range(1_800)]


def test_a_history_is_newest_first(box: Box, other: Box) -> None:
    box["a"] = None
    outcome = other.add("b")
    other["a"] = [1]
    del box["a"]
    deleted, changed, first = box.history("a")
    assert (deleted.revision, deleted.deleted, deleted.value) == (4, True, None)
    assert (changed.revision, changed.deleted, changed.value) == (3, False, [1])
    assert (changed.actor, changed.type, changed.key) == ("other", "set", "a")
    assert (first.deleted, first.value) == (False, None)
    assert [one.id for one in box.history("b")] == [outcome["id"]]
    assert list(box.history("never")) == []


def test_a_history_goes_through_all_pages(box: Box) -> None:
    for _ in range(1_050):
        box.add("n")
    assert [version.value for version in box.history("n")] == list(range(1_050, 0, -1))


def test_a_difference_is_listed_in_either_direction(box: Box) -> None:
    box["a"], box["b"], box["c.d"] = 1, None, 1
    box["a"] = 2
    del box["b"]
    box["new"] = None
    assert list(box.diff(3)) == [
        Difference("a", 1, 2, added=False, removed=False),
        Difference("b", None, None, added=False, removed=True),
        Difference("new", None, None, added=True, removed=False),
    ]
    assert list(box.diff(6, 3, "b")) == [Difference("b", None, None, added=True, removed=False)]
    assert [one.key for one in box.diff(0, "2999-01-01", "c.**")] == ["c.d"]
    assert list(box.diff(4, 4)) == []


def test_a_difference_goes_through_all_pages_of_two_moments(box: Box, other: Box) -> None:
    for start in (0, 900):
        with box.batch() as batch:
            for number in range(start, start + 900):
                batch.set(f"k{number:04}", number)
    differences = box.diff(0)
    first = list(islice(differences, 10))
    other["k1799"] = "later"
    assert [one.after for one in first + list(differences)] == list(range(1_800))


def test_each_undoes_its_own(box: Box, other: Box) -> None:
    box["a"] = 1
    other["b"] = 1
    box["c"] = 1
    assert box.undo()["changes"] == 1
    assert dict(box.items()) == {"a": 1, "b": 1}
    box.undo()
    assert dict(box.items()) == {"b": 1}
    with pytest.raises(signalbox.Rejected) as caught:
        box.undo()
    assert caught.value.code == "nothing_to_undo"
    box.redo()
    box.redo()
    assert dict(box.items()) == {"a": 1, "b": 1, "c": 1}


def test_one_is_undone_by_its_id(box: Box, other: Box) -> None:
    outcome = other.set("a", 1)
    other["b"] = 1
    box.undo(outcome["id"])
    assert dict(box.items()) == {"b": 1}
    box.redo(outcome["id"])
    assert dict(box.items()) == {"a": 1, "b": 1}


def test_a_conflict_names_the_keys_that_are_then_kept_or_replaced(box: Box, other: Box) -> None:
    with box.batch() as batch:
        for key in ("a", "b", "c"):
            batch.set(key, 1)
    other["a"] = "theirs"
    revision = other.set("b", "theirs")["revision"]
    with pytest.raises(signalbox.Rejected) as caught:
        box.undo()
    assert (caught.value.code, caught.value.keys) == ("conflict", ["a", "b"])
    with pytest.raises(signalbox.Rejected) as caught:
        box.undo(keep=["a"], replace={"b": revision - 1})
    assert caught.value.keys == ["b"]
    box.undo(keep=(key for key in "a"), replace={"b": revision})
    assert dict(box.items()) == {"a": "theirs"}


def test_what_was_is_restored(box: Box) -> None:
    box["a.x"], box["b.x"] = 1, 1
    box["a.x"], box["a.y"] = 2, 2
    assert box.restore(2, "a.*", dry_run=True)["changes"] == 2
    assert box["a.x"] == 2
    box.restore(2, "a.*")
    assert dict(box.items()) == {"a.x": 1, "b.x": 1}
    box.undo()
    box["b.x"] = 2
    [*_, first] = box.history("b.x")
    box.restore(first.at, without=["a."])
    assert dict(box.items()) == {"a.x": 2, "a.y": 2, "b.x": 1}
    outcome: dict[str, Any] = box.restore(datetime(2001, 1, 1, tzinfo=UTC))
    assert outcome["changes"] == 3
    assert len(box) == 0
