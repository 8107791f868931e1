"""A server that starts on a full disk: all is read there, and deleting makes room."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from signalbox.server import maintenance
from support.harness import Server
from support.raw_http import Client, assert_sound
from test_disk_full import BIG, ROOM, Disk, filled, kinds, limited_process


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return kinds(tmp_path_factory.mktemp("probe") / "disk")


@pytest.fixture(params=["limited", "small"])
def disk(request: pytest.FixtureRequest, ways: dict[str, Any], tmp_path: Path) -> Iterator[Disk]:
    with ways.get(request.param, limited_process)(tmp_path / "disk") as made:
        yield made


def started_again(server: StartServer, disk: Disk) -> Server:
    """On the same disk, which is as full as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not os.path.ismount(disk.folder):
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        return server(data_dir=disk.folder / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ends_well", [False, True])
def test_after_a_restart_all_is_read_and_deleting_makes_room(
    server: StartServer, disk: Disk, ends_well: bool
) -> None:
    first = server(data_dir=disk.folder / "store")
    number = len(filled(first, disk).accepted)
    assert first.stop() == 0 if ends_well else first.kill() < 0
    with Client(started_again(server, disk)) as client:
        assert len(client.state()) == number + 1
        assert client.value("big.1") == BIG + "1"
        assert client.get("tree").json()["total"] == number + 1
        deleted = client.send("delete_prefix", prefix="big.")
        assert (deleted.status, deleted.json()["changes"]) == (200, number)
        # At its limit a file needs a first try, which lets the second make room.
        tries = [client.send("add", key="after").status, client.send("delete", key="x").status]
        assert client.send("set", key="after", value=1).status == 200, tries
        assert client.value("after") == 1
    assert assert_sound(disk.folder / "store") >= number + 3


@pytest.mark.parametrize("ends_well", [False, True])
def test_what_others_leave_of_a_disk_is_enough(
    server: StartServer, ways: dict[str, Any], tmp_path: Path, ends_well: bool
) -> None:
    """Not a byte is left: what the store had taken before is used again."""
    if "small" not in ways:
        return  # only the superuser may mount one
    with ways["small"](tmp_path / "disk") as disk:
        first = server(data_dir=disk.folder / "store")
        number = len(filled(first, disk).accepted)
        assert first.stop() == 0 if ends_well else first.kill() < 0
        fill(disk.folder / "other")
        assert maintenance.verify(disk.folder / "store")["ok"]
        with Client(server(data_dir=disk.folder / "store")) as client:
            assert len(client.state()) == number + 1
            refused = client.send("set", key="more", value=1)
            assert (refused.status, refused.json()["code"]) == (503, "unavailable")
            assert "kept for deleting" in refused.json()["message"]
            assert client.send("delete_prefix", prefix="big.").status == 200
            assert client.send("set", key="after", value=1).status == 200
        assert assert_sound(disk.folder / "store") == number + 3


def fill(path: Path) -> None:
    """Take all that is left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(path.parent).f_bavail == 0
