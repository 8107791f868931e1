"""The client as a mapping, its error classes, and values that are no JSON."""

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

import signalbox
from signalbox.client import Box
from support.harness import Server
from support.raw_http import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("mapping") / "store") as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    """A client of an empty store."""
    with signalbox.connect("tester", url=server.url, token=server.write_token) as one:
        yield one
        one.delete_prefix("_signalbox.rules.")
        for key in list(one):
            one.delete(key)


def test_a_box_is_copied_and_read_as_a_dict(box: Box) -> None:
    assert box.update({"m.b": 2, "m.a": 1}, extra=None)["changes"] == 3
    assert box.update([("m.a", 3)])["changes"] == 1
    assert box.update() == {}
    assert dict(box) == {**box} == {"m.a": 3, "m.b": 2, "extra": None}
    assert list(box.keys()) == ["extra", "m.a", "m.b"]
    assert list(box.values("m.*")) == [3, 2]
    assert list(box.keys("m.*", at=1)) == ["m.a", "m.b"]


def test_an_update_is_one_transaction(box: Box) -> None:
    with pytest.raises(signalbox.Rejected):
        box.update({"u.a": 1, "..": 2})
    assert "u.a" not in box


def test_pop_and_setdefault_do_as_those_of_a_dict(box: Box) -> None:
    assert box.setdefault("p", [1]) == [1]
    assert box.setdefault("p", 2) == [1]
    assert box.pop("p") == [1]
    assert box.pop("p", None) is None
    with pytest.raises(KeyError, match="p"):
        box.pop("p")


def test_what_threads_pop_and_set_is_theirs_alone(box: Box) -> None:
    ready = threading.Barrier(4)

    def work(number: int) -> tuple[object, object]:
        ready.wait()
        mine = box.setdefault("taken", number)
        ready.wait()
        return mine, box.pop("taken", None)

    with ThreadPoolExecutor(4) as pool:
        taken, popped = zip(*pool.map(work, range(4)), strict=True)
    assert len(set(taken)) == 1
    assert sorted(popped, key=str) == [*set(taken), None, None, None]


def test_refusals_have_classes(box: Box) -> None:
    box["a"] = 1
    with pytest.raises(signalbox.Conflict) as conflict:
        box.set("a", 2, expect="absent")
    assert (conflict.value.key, conflict.value.because) == ("a", [])
    with pytest.raises(signalbox.NotFound):
        box.rename("missing", "b")
    box["_signalbox.rules.range"] = {"match": "r.*", "schema": {"items": {"maximum": 9}}}
    with pytest.raises(signalbox.RuleBroken) as broken:
        box.update({"r.a": [1, 10], "r.b": [11]})
    error = broken.value
    assert (error.key, error.rule, error.path) == ("r.a", "range", "/1")
    assert (error.keys, error.total, error.status) == (["r.a", "r.b"], 2, 422)
    box["_signalbox.rules.lamp"] = {"match": "lamp", "requires": {"fuse": {"const": True}}}
    with pytest.raises(signalbox.Interlocked, match="fuse") as locked:
        box["lamp"] = 1
    assert locked.value.because == [{"key": "fuse", "missing": True}]
    assert isinstance(locked.value, signalbox.Rejected)
    again = pickle.loads(pickle.dumps(locked.value))
    assert (type(again), again.rule) == (signalbox.Interlocked, "lamp")


@pytest.mark.parametrize(
    ("value", "kind"), [(float("nan"), ValueError), ({1, 2}, TypeError), ([Decimal(1)], TypeError)]
)
def test_what_is_no_json_is_named_by_its_key(
    box: Box, value: object, kind: type[Exception]
) -> None:
    revision = box.revision()
    with pytest.raises(kind, match=r"^The value of bad\.key is no JSON: "):
        box["bad.key"] = value
    batch = box.batch()
    batch.set("good.key", 1)
    batch.set("bad.key", value)
    with pytest.raises(kind, match=r"^The value of bad\.key is no JSON: "), batch:
        pass
    with pytest.raises(kind, match=r"bad\.key"):
        box.update({"good.key": 1, "bad.key": value})
    assert box.revision() == revision


def test_default_writes_what_is_no_json(server: Server) -> None:
    with signalbox.connect(url=server.url, token=server.write_token, default=str) as box:
        box["path"] = {"of": Path("a/b")}
        assert box.pop("path") == {"of": "a/b"}
        with pytest.raises(ValueError, match="path"):
            box["path"] = float("inf")


def test_what_is_printed_says_what_it_is(server: Server) -> None:
    with signalbox.connect("tester", url=server.url, token=server.write_token) as box:
        assert repr(box) == f"<Box at {server.url} as tester>"
        batch = box.batch()
        batch.set("a", 1)
        assert repr(batch) == "<Batch of 1 commands, gathered>"
        with box.watch("none.*", caught_up=True) as changes:
            next(changes)
            assert repr(changes) == "<Watch of none.*, connected>"
        assert repr(changes) == "<Watch of none.*, closed>"
    assert repr(box) == f"<Box at {server.url} as tester, closed>"
