"""The source *this computer*: follows its setting, and what it writes is true."""

import re
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from conftest import StartServer
from signalbox.server.model.rule_records import check_rule
from signalbox.server.sources.computer import ComputerSource
from signalbox.server.sources.measurement import Measurement
from support.harness import SECONDS, Event, Server
from support.local_store import Store

SETTING = "_signalbox.sources.computer"


def switch(box: Server, **setting: Any) -> int:
    """Set the setting; its revision."""
    return int(box.set(SETTING, setting)["revision"])


def values(event: Event) -> dict[str, Any]:
    return {change["key"]: change["value"] for change in event.data["changes"]}


def test_it_writes_its_keys_in_one_transaction_as_actor_computer(server: StartServer) -> None:
    box = server()
    with box.stream(match="computer.**") as stream:
        stream.until("caught-up")
        switch(box, enabled=True, every=0.1)
        first = stream.until("change")[-1]
    assert first.data["actor"] == "computer"
    measured = values(first)
    assert measured["computer.cpu.count"] == psutil.cpu_count()
    assert measured["computer.started"] == int(psutil.boot_time())
    assert 0 < measured["computer.memory.percent"] < 100
    assert len(measured) > 10


def test_a_busy_computer_is_seen_to_be_busy(server: StartServer) -> None:
    box = server()
    switch(box, enabled=True, every=0.3)
    with box.stream(match="computer.cpu.percent") as stream:
        busiest = 0.0
        while busiest < 50 / (psutil.cpu_count() or 1):
            busy_for(0.5)
            busiest = max([busiest, *values(stream.until("change")[-1]).values()])


def busy_for(seconds: float) -> None:
    end = monotonic() + seconds
    while monotonic() < end:
        pass


def test_switched_off_it_falls_silent(server: StartServer) -> None:
    box = server()
    with box.stream(match="computer.**") as stream:
        switch(box, enabled=True, every=0.1)
        stream.until("change")
        stream.until("change")
        off = switch(box, enabled=False)
    busy_for(0.5)
    box.set("later", 1)
    with box.stream(after=off) as stream:
        events = stream.until("caught-up")
    by = [event.data["actor"] for event in events if event.name == "change"]
    assert by.count("computer") <= 1, "what was being measured may still be written, no more"
    assert by[-1] == "script"


def test_what_cannot_be_read_is_left_out_and_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A container may hide most of /proc."""
    measure = Measurement()
    everything = measure.read()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    left = measure.read()
    assert "disk.percent" in left
    assert not {"memory.percent", "processes"} & set(left)
    assert "This computer's memory could not be measured" in caplog.text
    caplog.clear()
    assert measure.read().keys() == left.keys()
    assert caplog.text == ""
    monkeypatch.undo()
    assert set(measure.read()) >= set(everything)


def test_it_goes_on_when_a_measurement_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path / "signalbox.db") as store:
        source = ComputerSource(store.readmodel, store.feed, store.writer)
        with monkeypatch.context() as broken:
            broken.setattr(psutil, "PROCFS_PATH", str(tmp_path))
            store.run(type="set", key=SETTING, value={"enabled": True, "every": 0.1})
            heard = store.feed.subscribe()
            while store.readmodel.current.get("computer.disk.percent") is None:
                assert heard.wait(SECONDS)
        while store.readmodel.current.get("computer.memory.percent") is None:
            assert heard.wait(SECONDS)
        heard.close()
        source.close()
    assert "This computer's memory" in caplog.text


def test_a_setting_it_cannot_follow_is_refused(server: StartServer) -> None:
    box = server()
    for value in ({"enabled": True, "every": 0.01}, {"enabled": 1}, True, {"other": 1}):
        answer = box.post({"type": "set", "key": SETTING, "value": value})
        assert (answer.status, answer.json()["code"]) == (422, "invalid")


def test_it_describes_its_keys_once(server: StartServer) -> None:
    box = server()
    described = "_signalbox.rules.computer.cpu.percent"
    with box.stream(match="computer.**") as stream:
        switch(box, enabled=True, every=0.1)
        stream.until("change")
    rule = box.value(described)
    assert rule["schema"] == {"title": "Processor load", "readOnly": True, "unit": "%"}
    check_rule(described, rule)
    matches = [re.sub(r"core\d+", "core*", key) for key in Measurement().read()]
    rules = box.get("/queries/state", match="_signalbox.rules.**", limit=100).json()["items"]
    assert {f"computer.{key}" for key in matches} <= {rule["value"]["match"] for rule in rules}
    box.post({"type": "delete", "key": described})
    assert box.stop() == 0
    again = server(data_dir=box.data_dir)
    with again.stream(
        match="computer.**", after=again.get("/queries/status").json()["revision"]
    ) as stream:
        stream.until("change")
    assert again.get(f"/queries/state/{described}").status == 404
