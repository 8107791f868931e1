"""A full disk, for real: writes are refused whole, reads go on, and room lets writes go on."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from support.full_disk import (
    BIG_VALUE,
    Disk,
    FullDisk,
    available_disks,
    big_command,
    fill_until_refused,
    limited_process,
)
from support.harness import ROOT
from support.raw_http import Client, assert_sound, lines


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return available_disks(tmp_path_factory.mktemp("probe") / "disk")


@pytest.fixture(params=["limited", "small"])
def full(
    request: pytest.FixtureRequest, ways: dict[str, Any], server: StartServer, tmp_path: Path
) -> Iterator[FullDisk]:
    way = ways.get(request.param, limited_process)
    opened: AbstractContextManager[Disk] = way(tmp_path / "disk")
    with opened as disk:
        yield fill_until_refused(server(data_dir=disk.folder / "store"), disk)


def test_a_write_that_does_not_fit_is_refused_whole(full: FullDisk) -> None:
    number = len(full.accepted)
    assert full.refused["id"] == f"big-{number}"
    assert (full.refused["status"], full.refused["code"]) == ("rejected", "unavailable")
    assert "Nothing was changed" in full.refused["message"]
    with Client(full.server) as client:
        assert client.get("status").json()["revision"] == number + 1
        assert client.get(f"state/big.{number}").status == 404
        assert client.get(f"attempts/big-{number}").status == 404


def test_reads_go_on_while_the_disk_is_full(full: FullDisk) -> None:
    number = len(full.accepted)
    with Client(full.server) as client:
        assert client.value("big.2") == BIG_VALUE + "2"
        assert client.get("state", match="big.**", limit=1).json()["total"] == number
        assert client.get("state", search="xxx", limit=1).json()["total"] == number
        assert client.get("tree").json()["total"] == number + 1
        assert len(client.state()) == number + 1
        assert client.get("attempts").json()["items"][0]["id"] == f"big-{number - 1}"
    with full.server.stream(after=0) as stream:
        assert len(stream.until("caught-up")) == number + 2


def test_what_needs_no_room_is_answered_and_every_attempt_announced(full: FullDisk) -> None:
    with full.server.stream(acks=True) as stream, Client(full.server) as client:
        stream.until("caught-up")
        again = client.send(**big_command(1))
        assert again.json() == full.accepted[1] | {"duplicate": True}
        assert client.send(**big_command(99), dry_run=True).json()["changes"] == 1
        refused = client.send(**big_command(99))
        assert refused.status == 503
        acks = [stream.until("ack")[-1].data for _ in range(3)]
    assert [(ack["id"], ack.get("code")) for ack in acks] == [
        ("big-1", None),
        ("big-99", None),
        ("big-99", "unavailable"),
    ]


def test_one_that_does_not_fit_leaves_nothing_of_a_batch_or_an_import(full: FullDisk) -> None:
    members = [{"type": "set", "key": f"part.{number}", "value": BIG_VALUE} for number in range(30)]
    with Client(full.server) as client:
        assert client.send("batch", commands=members).status == 503
        summary = client.load(lines(*members), id="load")[-1]
        assert (summary["status"], summary["code"]) == ("rejected", "unavailable")
        assert summary["accepted"] == summary["changes"] == 0
        assert client.get("state", match="part.**").json()["total"] == 0
        full.disk.free(full.server)
        assert client.load(lines(*members), id="load")[-1]["accepted"] == 30
        assert client.get("state", match="part.**").json()["total"] == 30


def test_writes_go_on_when_there_is_room_and_nothing_acknowledged_is_lost(
    full: FullDisk, server: StartServer
) -> None:
    number = len(full.accepted)
    full.disk.free(full.server)
    with Client(full.server) as client:
        late = client.send(**big_command(number)).json()
        assert (late["status"], late["duplicate"]) == ("accepted", False)
        assert late["revision"] == number + 2
    assert full.server.kill() < 0
    data_dir = full.disk.folder / "store"
    assert assert_sound(data_dir) == number + 2
    with Client(server(data_dir=data_dir)) as client:
        for each in range(number + 1):
            assert client.value(f"big.{each}") == BIG_VALUE + str(each)


def test_an_orderly_end_on_a_full_disk_keeps_everything(full: FullDisk) -> None:
    assert full.server.stop() == 0
    assert full.server.stderr.read_text() == ""
    assert assert_sound(full.disk.folder / "store") == len(full.accepted) + 1


def test_a_start_without_room_ends_with_one_line_and_exit_4(tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "signalbox.server",
            "serve",
            "--json",
            "--data-dir",
            tmp_path / "store",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=little_room,
    )
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.startswith("signalbox: ")
    assert "signalbox.db" in ended.stderr
    assert ended.stderr.count("\n") == 1
