"""Knobs: local reads that follow every change, through restarts, forks and slow callbacks."""

import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import signalbox
from signalbox.client import Box, Knob
from support.forks import forked
from support.harness import SECONDS, Server
from support.nodes import until
from support.raw_http import serving

RULES = "_signalbox.rules."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("knobs") / "store") as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    """A client of an empty store."""
    with signalbox.connect("train.py", url=server.url, token=server.write_token) as one:
        yield one
        with signalbox.connect("tester", url=server.url, token=server.write_token) as cleaner:
            cleaner.delete_prefix(RULES)
            for key in list(cleaner):
                cleaner.delete(key)


@pytest.fixture
def person(server: Server) -> Iterator[Box]:
    """Whoever turns the knobs."""
    with signalbox.connect("person", url=server.url, token=server.write_token) as one:
        yield one


def changes_of(knob: Knob[Any]) -> "queue.Queue[Any]":
    """What the knob becomes from now on."""
    found: queue.Queue[Any] = queue.Queue()
    knob.on_change(found.put)
    return found


def test_a_knob_declares_its_key_and_follows_it(box: Box, person: Box) -> None:
    lr = box.knob("train.lr", 0.01, minimum=1e-6, maximum=1, unit="1/step", title="Learning rate")
    assert (lr.value, box["train.lr"]) == (0.01, 0.01)
    assert box[RULES + "train.lr"] == {
        "match": "train.lr",
        "schema": {
            "type": "number",
            "minimum": 1e-6,
            "maximum": 1,
            "unit": "1/step",
            "title": "Learning rate",
            "default": 0.01,
        },
    }
    turned = changes_of(lr)
    person["train.lr"] = 0.5
    assert turned.get(timeout=SECONDS) == lr.value == 0.5
    person["train.lr"] = 1
    assert type(turned.get(timeout=SECONDS)) is float
    del person["train.lr"]
    assert turned.get(timeout=SECONDS) == lr.value == 0.01
    with pytest.raises(signalbox.RuleBroken, match=r"train\.lr"):
        person["train.lr"] = 2
    until(lambda: lr.connected)


def test_what_was_set_is_read_at_once(box: Box) -> None:
    lr = box.knob("train.lr", 0.01)
    for number in range(50):
        lr.set(number / 100)
        assert lr.value == number / 100
    with pytest.raises(signalbox.RuleBroken):
        lr.set("fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"train\.lr"):
        lr.set(float("nan"))
    assert lr.value == 0.49


def test_a_knob_is_a_number_and_a_truth(box: Box) -> None:
    count, on, word = box.knob("k.n", 3), box.knob("k.on", False), box.knob("k.word", "7")
    assert (float(count), int(count), bool(count)) == (3.0, 3, True)
    assert (bool(on), int(word), float(word)) == (False, 7, 7.0)
    count.set(4.0)  # type: ignore[arg-type]
    assert (count.value, type(count.value)) == (4, int)
    until(lambda: count.connected)
    assert repr(count) == "<Knob k.n = 4>"
    kinds = {name: box[RULES + name]["schema"]["type"] for name in ("k.n", "k.on", "k.word")}
    assert kinds == {"k.n": "integer", "k.on": "boolean", "k.word": "string"}


def test_a_cell_that_is_run_again_has_the_same_knob(box: Box) -> None:
    defaults: tuple[Any, ...] = (False, True, 0, 1.5, "", None, [], {})
    for default in defaults:
        name = f"again.{type(default).__name__}.{default!r:.4}".rstrip(".")
        first = box.knob(name, default)
        assert box.knob(name, default) is first
        assert first.value == default


def test_choices_are_what_the_key_may_be(box: Box, person: Box) -> None:
    mode = box.knob("mode", "fast", choices=("fast", "exact"), description="How to count")
    person["mode"] = "exact"
    until(lambda: mode.value == "exact")
    with pytest.raises(signalbox.RuleBroken):
        person["mode"] = "slow"
    assert box[RULES + "mode"]["schema"]["enum"] == ["fast", "exact"]


@pytest.mark.parametrize(
    "declared",
    [
        {"default": float("nan")},
        {"default": 1.0, "maximum": float("inf")},
        {"default": 2.0, "maximum": 1},
        {"default": -1, "minimum": 0},
        {"default": "c", "choices": ("a", "b")},
    ],
)
def test_a_default_that_is_not_what_is_declared_is_an_error(box: Box, declared: Any) -> None:
    with pytest.raises(ValueError, match=r"knob bad\.knob"):
        box.knob("bad.knob", **declared)
    assert "bad.knob" not in box


def test_the_rule_of_a_person_is_kept(box: Box) -> None:
    first = box.knob("train.lr", 0.01, maximum=1)
    box.knob("train.lr", 0.01, maximum=1)  # says the same
    with pytest.warns(UserWarning, match=r"rule train\.lr is kept: .*declare=\"replace\"") as told:
        again = box.knob("train.lr", 0.01, maximum=5)
    assert told[0].filename == __file__
    assert again is first
    assert box[RULES + "train.lr"]["schema"]["maximum"] == 1
    box.knob("train.lr", 0.01, maximum=5, declare="replace")
    assert box[RULES + "train.lr"]["schema"]["maximum"] == 5
    box[RULES + "other"] = {"match": "low", "schema": {"maximum": 1}}
    with pytest.raises(signalbox.RuleBroken, match="low"):
        box.knob("low", 2)


def test_a_value_that_breaks_the_rule_is_named(box: Box) -> None:
    box["train.lr"] = "oops"
    with pytest.raises(signalbox.RuleBroken, match=r"train\.lr.*oops") as broken:
        box.knob("train.lr", 0.01)
    assert (broken.value.key, broken.value.rule) == ("train.lr", "train.lr")
    assert [(one.key, one.rule) for one in box.check()] == [("train.lr", "train.lr")]
    box["train.lr"] = 1
    assert box.knob("train.lr", 0.01).value == 1.0


def test_a_long_key_has_a_rule_with_a_short_name(box: Box) -> None:
    key = "long." + "k" * 200
    assert box.knob(key, 1).value == 1
    (name,) = (name for name in box.keys(RULES + "**") if box[name]["match"] == key)
    assert len(name) <= len(RULES) + 128
    with pytest.raises(signalbox.RuleBroken):
        box[key] = "text"


def test_rules_are_made_described_and_checked(box: Box) -> None:
    box.rule(
        "lamp",
        "lamp.*.on",
        schema={"type": "boolean"},
        on={"const": True},
        requires={"fuse.{1}": {"const": True}},
        holds=True,
        says="Put the fuse in first.",
    )
    said = box.describe("lamp.hall.on")
    assert said["description"]["type"] == "boolean"
    allowed = {one["value"]: one["allowed"] for one in said["values"]}
    assert allowed == {False: True, True: False}
    (asked,) = box.describe("lamp.hall.on", value=None)["values"]
    assert asked["refusal"]["code"] == "rule"
    box["n.a"] = box["n.b"] = 5
    revision = box.rule("small", ["n.*", "m.*"], schema={"maximum": 4})["revision"]
    assert [one.key for one in box.check("n.*")] == ["n.a", "n.b"]
    assert [one.message for one in box.check("n.a", rule="small")] == [
        "n.a cannot be 5; it must be at most 4."
    ]
    box["n.a"] = 1
    assert [one.key for one in box.check()] == ["n.b"]
    assert [one.key for one in box.check(at=revision)] == ["n.a", "n.b"]
    box.rule("kept", "n.*", actors=["person"], delete=False)
    with pytest.raises(signalbox.Interlocked):
        box["n.a"] = 2


def test_all_knobs_share_one_stream(box: Box, person: Box) -> None:
    knobs = [box.knob(f"many.{number:02}", number) for number in range(20)]
    far = box.knob("elsewhere", "here")
    assert box.knob("elsewhere", "here") is far
    until(lambda: far.connected and box.query("status")["streams"] == 1)
    with person.batch() as batch:
        for number in range(20):
            batch.set(f"many.{number:02}", number + 100)
        batch.set("elsewhere", "there")
    until(lambda: far.value == "there" and [knob.value for knob in knobs] == list(range(100, 120)))


def test_a_knob_that_joins_while_others_are_turned_misses_nothing(box: Box, person: Box) -> None:
    stop = threading.Event()

    def turn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            person.update({f"join.{one}": number for one in "abc"} | {"other": number})

    for key in ("join.a", "join.b", "join.c", "other"):
        person[key] = 0
    thread = threading.Thread(target=turn)
    thread.start()
    try:
        knobs = [box.knob(key, -1) for key in ("join.a", "join.b", "join.c", "other")]
    finally:
        stop.set()
        thread.join()
    last = person["other"]
    until(lambda: [knob.value for knob in knobs] == [last] * 4)


def test_a_slow_callback_holds_up_no_value(box: Box, person: Box) -> None:
    lr, seen = box.knob("train.lr", 0), list[int]()
    begun, go_on = threading.Event(), threading.Event()
    done = threading.Event()

    @lr.on_change
    def slow(value: int) -> None:
        begun.set()
        assert go_on.wait(SECONDS)
        seen.append(value)
        if value == 3:
            done.set()

    for value in (1, 2, 3):
        person["train.lr"] = value
        until(lambda value=value: lr.value == value)  # type: ignore[misc]
        assert begun.wait(SECONDS)
    go_on.set()
    assert done.wait(SECONDS)
    assert seen == [1, 3]
    lr.off_change(slow)
    with pytest.raises(ValueError, match="not in list"):
        lr.off_change(slow)


def test_a_callback_that_fails_is_reported_and_the_others_are_called(
    box: Box, person: Box, caplog: pytest.LogCaptureFixture
) -> None:
    lr = box.knob("train.lr", 0)
    lr.on_change(list[int]().index)  # of what is in no list
    turned = changes_of(lr)
    for value in (1, 2):
        with caplog.at_level(logging.ERROR, "signalbox"):
            person["train.lr"] = value
            assert turned.get(timeout=SECONDS) == value
    assert caplog.messages[0] == "signalbox: on_change of train.lr failed"


def test_a_callback_can_write(box: Box, person: Box) -> None:
    lr, half = box.knob("train.lr", 1.0), box.knob("train.half", 0.5)
    lr.on_change(lambda value: half.set(value / 2))
    person["train.lr"] = 0.5
    until(lambda: person["train.half"] == 0.25)


def test_many_threads_read_and_turn_a_knob(box: Box) -> None:
    count = box.knob("count", 0)
    read = list[int]()

    def work() -> None:
        for _ in range(25):
            box.add("count")
            read.append(count.value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: count.value == 100)
    assert len(read) == 100


def test_a_knob_outlives_its_server(tmp_path: Path) -> None:
    data_dir = tmp_path / "store"
    server = Server(data_dir)
    try:
        with signalbox.connect("train.py", data_dir=data_dir, start=False) as box:
            lr = box.knob("train.lr", 0.01)
            turned = changes_of(lr)
            for value in (0.1, 0.2, 0.3):
                until(lambda: lr.connected)
                server.kill()
                until(lambda: not lr.connected)
                assert repr(lr).endswith(", not connected>")
                before = lr.value
                server = Server(data_dir)
                server.set("train.lr", value)
                assert before in (0.01, 0.1, 0.2)
                assert turned.get(timeout=SECONDS) == lr.value == value
    finally:
        server.kill()


def test_a_store_that_was_replaced_gives_its_own_values(tmp_path: Path) -> None:
    """The other store is at lower revisions and lacks a key."""
    data_dir, other = tmp_path / "store", tmp_path / "other"
    with serving(other) as server:
        server.set("train.lr", 1)
    with serving(data_dir) as server:
        for _ in range(9):
            server.post({"type": "add", "key": "gone"})
        box = signalbox.connect("train.py", data_dir=data_dir, start=False)
        lr, gone = box.knob("train.lr", 0.5), box.knob("gone", -1)
        until(lambda: lr.connected)
        assert (lr.value, gone.value) == (0.5, 9)
    for file in list(data_dir.iterdir()):
        file.unlink()
    for file in list(other.iterdir()):
        file.rename(data_dir / file.name)
    with serving(data_dir), box:
        until(lambda: (lr.value, gone.value) == (1.0, -1))


def test_a_forked_child_has_knobs_of_its_own(box: Box, person: Box) -> None:
    lr = box.knob("train.lr", 0.01)
    until(lambda: lr.connected)

    def child() -> None:
        assert lr.value == 0.01
        person.set("train.lr", 0.2)
        until(lambda: lr.value == 0.2)
        until(lambda: lr.connected)
        lr.set(0.3)
        assert lr.value == 0.3
        assert box.knob("train.new", 1).value == 1
        box.close()

    assert forked(child) == 0
    until(lambda: lr.value == 0.3)
    until(lambda: lr.connected)
    person["train.lr"] = 0.4
    until(lambda: lr.value == 0.4)


def test_a_closed_box_leaves_the_last_value(box: Box) -> None:
    lr = box.knob("train.lr", 0.01)
    box.close()
    assert lr.value == 0.01
    until(lambda: not lr.connected)


def test_a_knob_that_joins_while_the_server_goes_away_is_followed_later(tmp_path: Path) -> None:
    """A wider stream is due for the second knob, and cannot be opened before the server is back."""
    data_dir = tmp_path / "store"
    server = Server(data_dir)
    try:
        with signalbox.connect("train.py", data_dir=data_dir, start=False) as box:
            for number in range(5):
                box.knob(f"one.{number}", 0)
                late = box.knob(f"{number}.late", 0)
                server.kill()
                server = Server(data_dir)
                server.set(f"{number}.late", 1)
                until(lambda late=late: late.value == 1)  # type: ignore[misc]
    finally:
        server.kill()


def test_a_fork_while_the_server_is_away_hangs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent's thread looks for the server, with locks of which the child has copies."""
    monkeypatch.setattr(signalbox.client, "SERVER_TIMEOUT", 0.05)
    data_dir = tmp_path / "store"
    server = Server(data_dir)
    try:
        with signalbox.connect("train.py", data_dir=data_dir, start=False) as box:
            lr = box.knob("train.lr", 0.01)
            until(lambda: lr.connected)
            server.kill()
            until(lambda: not lr.connected)

            def child() -> None:
                assert lr.value == 0.01
                assert not lr.connected
                with pytest.raises(signalbox.NotRunning):
                    box.query("status")
                box.close()

            assert [forked(child) for _ in range(10)] == [0] * 10
    finally:
        server.kill()
