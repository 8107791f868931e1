"""A server that starts on a full disk: all is read there, and deleting makes room."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from signalbox.server import maintenance
from signalbox.server.model.errors import StoreError
from signalbox.server.store.database import Database
from support.full_disk import (
    BIG_VALUE,
    DISK_BYTES,
    Disk,
    available_disks,
    fill_until_refused,
    limited_process,
    mount,
)
from support.harness import Server
from support.raw_http import Client, assert_sound


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return available_disks(tmp_path_factory.mktemp("probe") / "disk")


@pytest.fixture(params=["limited", "small"])
def disk(request: pytest.FixtureRequest, ways: dict[str, Any], tmp_path: Path) -> Iterator[Disk]:
    with ways.get(request.param, limited_process)(tmp_path / "disk") as made:
        yield made


def started_again(server: StartServer, disk: Disk) -> Server:
    """On the same disk, which is as full as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not os.path.ismount(disk.folder):
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    try:
        return server(data_dir=disk.folder / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ends_well", [False, True])
def test_after_a_restart_all_is_read_and_deleting_makes_room(
    server: StartServer, disk: Disk, ends_well: bool
) -> None:
    first = server(data_dir=disk.folder / "store")
    number = len(fill_until_refused(first, disk).accepted)
    assert first.stop() == 0 if ends_well else first.kill() < 0
    with Client(started_again(server, disk)) as client:
        assert len(client.state()) == number + 1
        assert client.value("big.1") == BIG_VALUE + "1"
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
        number = len(fill_until_refused(first, disk).accepted)
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


@pytest.fixture
def without_inodes(server: StartServer, tmp_path: Path) -> Iterator[Path]:
    """A store on a disk with room, but none for one more file; the same as where an inode's quota
    ends.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=16m,nr_inodes=20", "tmpfs", disk)
    except subprocess.CalledProcessError:
        pytest.skip("only the superuser may mount one")
    try:
        first = server(data_dir=disk / "store")
        first.set("lamp", 1)
        assert first.stop() == 0
        take_all_inodes(disk)
        yield disk / "store"
    finally:
        mount("-o", "remount,nr_inodes=0", disk)
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def take_all_inodes(disk: Path) -> None:
    with suppress(OSError):
        for number in count():
            (disk / f"other{number}").touch()
    assert os.statvfs(disk).f_ffree == 0


def test_where_no_file_can_be_made_all_is_read_and_writes_are_refused(
    server: StartServer, without_inodes: Path
) -> None:
    with Client(server(data_dir=without_inodes)) as client:
        assert client.state() == {"lamp": 1}
        refused = client.send("set", key="lamp", value=2)
        assert (refused.status, refused.json()["code"]) == (503, "unavailable")
        message = refused.json()["message"]
        assert f"no more files can be made in {without_inodes}" in message
        assert message.endswith("Nothing was changed.")
        assert client.get("status").json()["problem"] + " Nothing was changed." == message
        assert client.send("delete", key="lamp").status == 503
        assert client.value("lamp") == 1


def test_where_no_temporary_file_can_be_made_either_the_copy_is_in_memory(
    server: StartServer, without_inodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = without_inodes.parent / "other0"
    room.unlink()
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    take_all_inodes(room.parent)
    assert maintenance.verify(without_inodes)["ok"]
    with Client(server(data_dir=without_inodes, env={"TMPDIR": str(room)})) as client:
        assert client.state() == {"lamp": 1}


def test_a_store_left_without_its_log_s_index_or_lock_is_read_as_well(
    server: StartServer, without_inodes: Path
) -> None:
    disk = without_inodes.parent
    (disk / "other0").unlink()
    (disk / "other1").unlink()
    (disk / "other2").unlink()
    first = server(data_dir=without_inodes)
    first.set("lamp", 3)
    assert first.kill() < 0
    for name in ("signalbox.db-shm", "server.lock"):
        (without_inodes / name).unlink()
        take_all_inodes(disk)
        with Client(server(data_dir=without_inodes)) as client:
            assert client.value("lamp") == 3


def test_where_there_is_room_for_files_again_the_next_start_writes(
    server: StartServer, without_inodes: Path
) -> None:
    assert server(data_dir=without_inodes).stop() == 0
    for file in without_inodes.parent.glob("other*"):
        file.unlink()
    with Client(server(data_dir=without_inodes)) as client:
        assert client.send("set", key="lamp", value=2).status == 200


def test_a_new_store_where_no_file_can_be_made_says_so(without_inodes: Path) -> None:
    folder = without_inodes.parent / "new"
    next(without_inodes.parent.glob("other*")).unlink()
    folder.mkdir()
    with pytest.raises(StoreError, match=f"no more files can be made in {folder}"):
        Database(folder / "signalbox.db")
