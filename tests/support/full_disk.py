"""Disks that a test can fill: a small file system, or a limit on the size of the server's files."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.harness import Server
from support.raw_http import Client

DISK_BYTES = 3 * 1024 * 1024
BIG_VALUE = "x" * 100_000


class Disk:
    """A folder on a disk that can be full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        """From now on nothing more fits than a little."""

    def free(self, server: Server) -> None:
        """There is room again."""


class SmallDisk(Disk):
    """A file system of its own with few bytes; `free` gives it more."""

    def free(self, server: Server) -> None:  # noqa: ARG002 - the disk is not the server's alone
        mount("-o", f"remount,size={20 * DISK_BYTES}", self.folder)


class LimitedProcess(Disk):
    """No file of the server may grow beyond a size, as where a quota ends."""

    def fill(self, server: Server) -> None:
        self._limit(server, DISK_BYTES)

    def free(self, server: Server) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: Server, size: int) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def limited_process(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    yield LimitedProcess(folder)


def available_disks(probe: Path) -> dict[str, Any]:
    """The ways to fill a disk that this machine allows; one always is."""
    try:
        with small_disk(probe):
            return {"limited": limited_process, "small": small_disk}
    except subprocess.CalledProcessError:  # only the superuser may mount
        return {"limited": limited_process}


class FullDisk(NamedTuple):
    """A server whose disk is full, and what it had accepted until then."""

    server: Server
    disk: Disk
    accepted: list[dict[str, Any]]
    refused: dict[str, Any]


def fill_until_refused(server: Server, disk: Disk) -> FullDisk:
    """Write until nothing more fits, nor in what one that has failed gave back."""
    accepted: list[dict[str, Any]] = []
    with Client(server) as client:
        client.send("set", key="before", value=1, id="before")
        disk.fill(server)
        refused = 0
        while refused < 2:
            answer = client.send(**big_command(len(accepted)))
            refused = 0 if answer.status == 200 else refused + 1
            if answer.status == 200:
                accepted.append(answer.json())
        assert len(accepted) > 3
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        return FullDisk(server, disk, accepted, answer.json())


def big_command(number: int) -> dict[str, Any]:
    return {
        "type": "set",
        "id": f"big-{number}",
        "key": f"big.{number}",
        "value": BIG_VALUE + str(number),
    }
