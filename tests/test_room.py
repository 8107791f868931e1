"""What is kept of a full disk is enough for deleting whatever is there, and for nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from any_engine import ENGINES, any_store
from robust import assert_sound
from signalbox.server.model.outcomes import Outcome
from store import Store
from test_disk_full import mount, small_disk

NAME = "signalbox.db"
MANY, SIZE = 4_000, "6m"
BIG = "x" * 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small file system; None where only the superuser may mount one."""
    try:
        with small_disk(tmp_path / "disk"):
            mount("-o", f"remount,size={SIZE}", tmp_path / "disk")
            yield tmp_path / "disk"
    except CalledProcessError:
        yield None


def fill(store: Store) -> int:
    """Many small keys, then large and small ones until no more fits; how many of these."""
    for first in range(0, MANY, 1_000):
        members = [
            {"type": "set", "key": f"small.{number % 10}.{number}", "value": 1}
            for number in range(first, first + 1_000)
        ]
        assert store.run(type="batch", commands=members).error is None
    number = 0
    for value in (BIG, 1):
        while store.run(type="set", key=f"more.{number}", value=value).error is None:
            number += 1
    return number


def left(folder: Path) -> int:
    return os.statvfs(folder).f_bavail * 4096


def refusal(outcome: Outcome) -> Any:
    return outcome.error and outcome.error.code


def test_many_small_keys_are_deleted_where_nothing_else_fits(disk: Path | None) -> None:
    if disk is None:
        return
    with Store(disk / NAME) as store:
        number = fill(store)
        assert number > 2
        deleted = store.run(type="delete_prefix", prefix="small.")
        assert (deleted.error, deleted.changes) == (None, MANY)
        assert store.run(type="set", key="after", value=1).error is None
        assert store.readmodel.keys() == number + 1
    assert_sound(disk)


@pytest.mark.parametrize("kind", ENGINES)
def test_what_is_kept_goes_to_deletions_alone(disk: Path | None, kind: str) -> None:
    """Also where they share a commit with what is refused, and were refused for it."""
    if disk is None:
        return
    with any_store(kind, disk / NAME) as store:
        fill(store)
        conflict = {"type": "set", "key": "small.0.0", "value": BIG, "expect": "absent"}
        while refusal(store.run(**conflict)) == "conflict":
            pass  # one takes a little less than a small key does
        before = left(disk)
        assert {refusal(store.run(**conflict)) for _ in range(20)} == {"unavailable"}
        assert left(disk) == before
        outcomes = store.run_all(
            [
                {"type": "set", "key": "other", "value": 1},
                conflict,
                {"type": "delete_prefix", "prefix": "small.3."},
                {"type": "delete", "key": "more.0"},
            ]
        )
        found = [refusal(one) for one in outcomes]
        assert found == ["unavailable", "unavailable", None, None]


def test_a_deletion_that_fails_gives_back_what_it_took(disk: Path | None) -> None:
    """Others have taken what was kept: fewer keys are deleted at once then."""
    if disk is None:
        return
    with Store(disk / NAME) as store:
        fill(store)
        store.database.shorten()
        with (disk / "other").open("wb") as other:
            os.posix_fallocate(other.fileno(), 0, left(disk) - 500_000)
        before, keys = left(disk), store.readmodel.keys()
        for _ in range(2):
            answer = store.run(type="delete_prefix", prefix="small.").answer()
            assert answer["code"] == "unavailable"
            assert "fewer keys at once" in answer["message"]
            assert left(disk) >= before
            assert store.readmodel.keys() == keys
        assert store.run(type="delete_prefix", prefix="small.3.").error is None
    assert_sound(disk)
