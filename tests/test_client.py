"""The Python client against a real server: a mapping, commands, batches, refusals, threads."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

import signalbox
from signalbox.client import Box
from support.brokers import Options
from support.harness import Server
from support.raw_http import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, engine: Options) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("client") / "store", *engine()) as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    """A client of an empty store."""
    with signalbox.connect("tester", url=server.url, token=server.write_token) as one:
        yield one
        for key in list(one):
            one.delete(key)


LITERALS: Final = (None, True, False, 0, -7, 10**30, 0.1, 1e300)
TEXTS: Final = ("", "text", "a\nb\u2028c\x00\x1b[31m", "😀")
NESTED: Final[tuple[Any, ...]] = ([], {}, [1, [2, {"a": None}]], {"": {"a": [True]}})


@pytest.mark.parametrize("value", LITERALS + TEXTS + NESTED)
def test_values_come_back_as_they_were_given(box: Box, value: Any) -> None:
    box["test.value"] = value
    found = box["test.value"]
    assert (type(found), found) == (type(value), value)


def test_a_box_is_a_mapping(box: Box) -> None:
    box["m.b"], box["m.a"], box["m.c/d:e@f=g-h"] = 2, 1, 3
    assert dict(box.items()) == {"m.a": 1, "m.b": 2, "m.c/d:e@f=g-h": 3}
    assert list(box) == ["m.a", "m.b", "m.c/d:e@f=g-h"]
    assert len(box) == 3
    assert "m.a" in box
    assert "m.z" not in box
    assert 7 not in box
    del box["m.b"]
    with pytest.raises(KeyError, match=r"m\.b"):
        box["m.b"]
    with pytest.raises(KeyError, match=r"m\.b"):
        del box["m.b"]


def test_get_tells_a_missing_key_from_null(box: Box) -> None:
    box["null"] = None
    assert box.get("null", "default") is None
    assert box.get("missing") is None
    assert box.get("missing", "default") == "default"
    assert box.item("missing") is None


def test_an_item_has_its_revision_time_and_actor(box: Box) -> None:
    ack = box.set("item", [1])
    item = box.item("item")
    assert item is not None
    assert item["at"].endswith("Z")
    assert item == {
        "key": "item",
        "value": [1],
        "revision": ack["revision"],
        "at": item["at"],
        "actor": "tester",
    }


def test_items_goes_through_all_pages(box: Box) -> None:
    for start in (0, 900, 1_800):
        with box.batch() as batch:
            for number in range(start, start + 900):
                batch.set(f"many.{number:04}", number)
    assert list(box.items("many.*")) == [(f"many.{number:04}", number) for number in range(2_700)]
    box.delete_prefix("many.")
    assert list(box.items()) == []


def test_commands_return_their_acknowledgement(box: Box) -> None:
    first = box.set("a.n", 1)
    assert first["status"] == "accepted"
    assert first["changed"]
    assert box.set("a.n", 1.0) | {"id": ""} == first | {"id": "", "changed": False, "changes": 0}
    assert box.add("a.n", 2)["revision"] == first["revision"] + 1
    assert box.add("a.n")["changes"] == 1
    assert box["a.n"] == 4
    box.toggle("a.lamp")
    assert box["a.lamp"] is True
    box.merge("a.json", {"x": 1, "y": {"z": 2}})
    box.merge("a.json", {"x": None})
    assert box["a.json"] == {"y": {"z": 2}}
    assert box.rename("a.", "b.")["changes"] == 6
    box.rename("b.n", "b.lamp", replace=True)
    assert dict(box.items()) == {"b.json": {"y": {"z": 2}}, "b.lamp": 4}
    assert box.delete_prefix("b.")["changes"] == 2
    assert not box.delete("b.n")["changed"]


def test_every_form_of_expect(box: Box) -> None:
    revision = box.set("e", 1, expect="absent")["revision"]
    assert box.set("e", 2, expect=revision)["revision"] == revision + 1
    box.set("e", 3, expect="present")
    latest = box.set("e", 4, expect={"store_revision": revision + 2})["revision"]
    box.set("e", 5, expect={"revision": latest})
    box.set("new", 1, expect=0)
    box.set("e", 6, expect="any")
    for wrong in ("absent", revision, 0, {"store_revision": revision}):
        with pytest.raises(signalbox.Rejected) as caught:
            box.set("e", 7, expect=wrong)
        assert (caught.value.status, caught.value.code) == (409, "conflict")
    with pytest.raises(signalbox.Rejected):
        box.delete("missing", expect="present")
    assert box["e"] == 6


def test_a_refusal_says_what_the_server_said(box: Box) -> None:
    revision = box.set("r.a", "text")["revision"]
    box["r.b"] = 1
    with pytest.raises(signalbox.Rejected, match="conflict: ") as caught:
        box.set("r.a", 1, expect=99_999)
    error = caught.value
    assert (error.key, error.revision, error.limit) == ("r.a", revision, None)
    assert error.id
    assert str(revision) in error.message
    with pytest.raises(signalbox.Rejected) as caught:
        box.add("r.a")
    assert (caught.value.status, caught.value.code) == (422, "type")
    with pytest.raises(signalbox.Rejected) as caught:
        box["r.big"] = "x" * 300_000
    assert (caught.value.status, caught.value.code, caught.value.limit) == (
        413,
        "too_large",
        262_144,
    )
    with pytest.raises(signalbox.Rejected) as caught:
        box.set("..", 1)
    assert caught.value.code == "invalid"


def test_a_batch_is_one_transaction(box: Box) -> None:
    box["old"] = 1
    with box.batch() as batch:
        batch.set("b.a", 1)
        batch.add("b.a", 2)
        batch.delete("old")
        assert "b.a" not in box
    assert batch.outcome is not None
    assert batch.outcome["changes"] == 2
    assert dict(box.items()) == {"b.a": 3}


def test_a_batch_whose_block_raises_sends_nothing(box: Box) -> None:
    revision = box.query("status")["revision"]
    batch = box.batch()
    with suppress(ZeroDivisionError), batch:
        batch.set("never", 1)
        batch.set("never.either", 1 // 0)
    assert batch.outcome is None
    assert box.query("status")["revision"] == revision
    with box.batch():
        pass
    assert box.query("status")["revision"] == revision


def test_a_batch_is_done_wholly_or_not_at_all(box: Box) -> None:
    batch = box.batch()
    batch.set("first", 1)
    batch.set("second", 2, expect="present")
    with pytest.raises(signalbox.Rejected) as caught, batch:
        pass
    assert (caught.value.code, caught.value.key) == ("conflict", "second")
    assert "first" not in box


def test_threads_share_a_box(box: Box) -> None:
    def work() -> None:
        for _ in range(25):
            box.add("counter")
            box.get("counter")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box["counter"] == 200


def test_an_outcome_that_is_not_known_yet_is_no_refusal() -> None:
    told = {"id": "a", "status": "unknown", "code": "unavailable", "message": "Not answered."}
    assert signalbox.Rejected(503, told).is_known is False
    assert signalbox.Rejected(503, told | {"status": "rejected"}).is_known is True
