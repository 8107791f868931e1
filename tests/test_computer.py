"""The source *this computer*: follows its setting, and what it writes is true."""

from time import monotonic
from typing import Any

import psutil

from conftest import StartServer
from harness import Event, Server

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


def test_a_setting_it_cannot_follow_is_refused(server: StartServer) -> None:
    box = server()
    for value in ({"enabled": True, "every": 0.01}, {"enabled": 1}, True, {"other": 1}):
        answer = box.post({"type": "set", "key": SETTING, "value": value})
        assert (answer.status, answer.json()["code"]) == (422, "invalid")
