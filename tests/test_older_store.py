"""A store that an older Signalbox wrote is taken over, and its past with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from signalbox.server import maintenance
from support.first_schema_store import make_store
from support.harness import Server
from support.raw_http import Client, serving, values


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "store"
    folder.mkdir()
    make_store(folder / "signalbox.db")
    with serving(folder) as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as one:
        yield one


def test_every_moment_of_it_can_be_queried(client: Client) -> None:
    assert client.state() == {"lamp.on": True, "train.epoch": 7, "train.note": "grüß"}
    assert [values(client, at=revision) for revision in range(6)] == [
        {},
        {"lamp.on": False},
        {"lamp.on": True},
        {"gone": [1], "lamp.on": True},
        {"lamp.on": True},
        {"lamp.on": True, "train.note": "grüß"},
    ]
    assert client.get("tree", at=3).json()["total"] == 2


def test_what_was_done_then_can_be_undone(client: Client) -> None:
    assert client.send("undo", of="c4").status == 200
    assert client.value("gone") == [1]
    assert client.send("undo", actor="tester").status == 200
    assert "train.epoch" not in client.state()


def test_what_was_refused_then_is_refused_alike_again(client: Client) -> None:
    again = client.send("rename", id="c7", actor="tester", key="none", to="some")
    assert (again.status, again.json()) == (
        404,
        {
            "id": "c7",
            "status": "rejected",
            "code": "not_found",
            "message": "There is no key none to rename.",
            "key": "none",
            "duplicate": True,
        },
    )


def test_its_log_gives_the_same_state(tmp_path: Path) -> None:
    make_store(tmp_path / "signalbox.db")
    assert maintenance.rebuild(tmp_path)["ok"]
    assert maintenance.verify(tmp_path)["ok"]
