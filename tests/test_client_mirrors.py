"""Mirrors, local copies of keys that follow the store, and values written in the background."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import signalbox
from signalbox.client import Box
from support.forks import forked
from support.harness import ROOT, SECONDS, Server
from support.nodes import until
from support.raw_http import serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    with signalbox.connect("tester", url=server.url, token=server.write_token) as one:
        yield one


def test_a_mirror_begins_complete_and_follows(box: Box) -> None:
    box.update({"m.a": 1, "m.b": None, "other": 3})
    mirror = box.mirror("m.*")
    assert dict(mirror) == mirror.copy() == {"m.a": 1, "m.b": None}
    assert (len(mirror), list(mirror), "m.b" in mirror, mirror.get("m.c", 7)) == (
        2,
        ["m.a", "m.b"],
        True,
        7,
    )
    assert mirror == {"m.a": 1, "m.b": None}
    assert mirror.revision == 1
    box["m.c"] = 4
    box["m.a"] = 5
    del box["m.b"]
    until(lambda: mirror == {"m.a": 5, "m.c": 4})
    assert list(mirror.keys()) == ["m.a", "m.c"]
    assert list(mirror.values()) == [5, 4]
    assert mirror.connected
    assert repr(mirror) == "<Mirror of m.*: 2 keys at revision 4>"
    with pytest.raises(KeyError, match=r"m\.b"):
        mirror["m.b"]
    mirror.close()
    box["m.a"] = 6
    assert (mirror["m.a"], mirror.connected) == (5, False)


def test_a_mirror_of_nothing_is_there_at_once(box: Box) -> None:
    with box.mirror("none.**") as mirror:
        assert mirror == {}
    with pytest.raises(signalbox.Rejected) as refused:
        box.mirror("\x00")
    assert refused.value.code == "invalid"


def test_whoever_iterates_over_a_mirror_sees_one_moment(box: Box) -> None:
    box.update({f"k{number:03}": 0 for number in range(500)})
    mirror, stop = box.mirror(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            box.delete_prefix("x.")
            box.update({f"x.{number:03}": 0 for number in range(100)})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert sum(1 for key in mirror if key[0] == "k") == 500
            assert sum(value == 0 for _, value in mirror.items()) >= 500
    finally:
        stop.set()
        writer.join()


def test_a_mirror_outlives_its_server(tmp_path: Path) -> None:
    data_dir = tmp_path / "store"
    server = Server(data_dir)
    try:
        server.set("a", 1)
        server.set("b", 1)
        with signalbox.connect("reader", data_dir=data_dir, start=False) as box:
            mirror = box.mirror()
            for number in range(3):
                assert mirror["b"] == 1
                server.kill()
                until(lambda: not mirror.connected)
                server = Server(data_dir)
                server.set("a", number)
                server.post({"type": "delete", "key": "b"})
                until(lambda number=number: mirror == {"a": number})  # type: ignore[misc]
                server.set("b", 1)
                until(lambda: "b" in mirror)
    finally:
        server.kill()


def test_a_forked_child_has_a_mirror_of_its_own(box: Box) -> None:
    box["a"] = 1
    mirror = box.mirror()

    def child() -> None:
        assert mirror == {"a": 1}
        box["a"] = 2
        until(lambda: mirror == {"a": 2})
        mirror.close()

    assert forked(child) == 0
    until(lambda: mirror == {"a": 2})
    assert mirror.connected


def test_what_is_logged_is_written_in_one_transaction(box: Box) -> None:
    box.log({"train.loss": 0.5, "train.step": 1}, every=0)
    box.flush()
    assert dict(box.items()) == {"train.loss": 0.5, "train.step": 1}
    assert box.revision() == 1


def test_only_the_latest_values_are_written(box: Box) -> None:
    for step in range(1_000):
        box.log({"train.step": step, f"train.{step % 3}": step}, every=3_600)
    box.flush()
    assert dict(box.items()) == {"train.step": 999, "train.0": 999, "train.1": 997, "train.2": 998}
    assert box.revision() <= 2
    values = [1]
    box.log({"list": values}, every=3_600)
    values.append(2)
    box.flush()
    assert box["list"] == [1]


def test_more_keys_than_a_transaction_takes_are_written_in_several(box: Box) -> None:
    box.log({f"k{number}": number for number in range(2_500)}, every=0)
    box.flush()
    assert dict(box.items()) == {f"k{number}": number for number in range(2_500)}
    assert box.revision() == 3


def test_what_is_no_json_is_an_error_where_it_is_logged(box: Box) -> None:
    for value, kind in ((float("nan"), ValueError), (object(), TypeError)):
        with pytest.raises(kind, match=r"train\.loss"):
            box.log({"train.step": 1, "train.loss": value})
    box.flush()
    assert len(box) == 0


def test_a_refused_key_is_reported_and_keeps_no_other(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    box.rule("loss", "train.loss", schema={"type": "number"})
    with caplog.at_level(logging.ERROR, "signalbox"):
        for step in range(3):
            box.log({"train.loss": "high", "train.step": step}, every=0)
            box.flush()
            assert box["train.step"] == step
    (message,) = caplog.messages
    assert message.startswith("signalbox: train.loss was not logged: rule: train.loss cannot be ")


def test_what_is_logged_waits_for_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalbox.client, "SERVER_TIMEOUT", 0.2)
    data_dir = tmp_path / "store"
    server = Server(data_dir)
    try:
        with signalbox.connect("logger", data_dir=data_dir, start=False) as box:
            box.log({"a": 1}, every=0)
            box.flush(SECONDS)
            server.kill()
            with caplog.at_level(logging.ERROR, "signalbox"):
                box.log({"a": 2, "b": 2}, every=0)
                until(lambda: caplog.messages)
                with pytest.raises(TimeoutError):
                    box.flush(0.01)
                box.log({"a": 3}, every=0)
            server = Server(data_dir)
            box.flush(SECONDS)
            assert dict(box.items()) == {"a": 3, "b": 2}
            assert len(caplog.messages) == 1
            server.kill()
            box.log({"a": 4}, every=0)
        assert caplog.messages[-1] == (
            "signalbox: it ended before these logged keys were written: a"
        )
        with pytest.raises(signalbox.NotRunning):
            box.log({"a": 5})
    finally:
        server.kill()


SCRIPT = """
import sys, signalbox
box = signalbox.connect("script", url=sys.argv[1], token=sys.argv[2])
box.log({"first": 1}, every=3600)
box.flush()
box.log({"last": 2}, every=3600)
"""


def test_the_end_of_a_program_writes_what_was_logged(server: Server) -> None:
    program = [sys.executable, "-c", SCRIPT, server.url, server.write_token]
    done = subprocess.run(
        program, cwd=ROOT, env=os.environ, capture_output=True, check=True, timeout=SECONDS
    )
    assert done.stderr == b""
    assert json.loads(server.get("/queries/export", format="json").body) == {"first": 1, "last": 2}


def test_a_forked_child_does_not_write_what_its_parent_logged(box: Box) -> None:
    box.log({"parent": 1}, every=0)
    box.flush()
    box.log({"parent": 2}, every=3_600)

    def child() -> None:
        box.log({"child": 1}, every=0)
        box.flush()
        assert (box["parent"], box["child"]) == (1, 1)
        box.close()

    assert forked(child) == 0
    box.flush()
    assert (box["parent"], box["child"]) == (2, 1)
