"""What is kept of a full disk is enough for deleting whatever is there, and for nothing else."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from signalbox.server import maintenance
from signalbox.server.model.errors import OutcomeUnknown
from signalbox.server.model.outcomes import Outcome
from support.brokers import new_log
from support.engine_stores import ENGINES, NodeStore, engine_store
from support.full_disk import mount, small_disk
from support.local_store import Store
from support.raw_http import assert_sound
from support.silent_log import TIMEOUT, SilentLog

NAME = "signalbox.db"
MANY, SIZE = 4_000, "6m"
BIG = "x" * 100_000
CONFLICT = {"type": "set", "key": "small.0.0", "value": BIG, "expect": "absent"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(tmp_path / "disk"))
        except CalledProcessError:
            pytest.skip("only the superuser may mount one")
        mount("-o", f"remount,size={SIZE}", tmp_path / "disk")
        yield tmp_path / "disk"


def fill(store: Store) -> int:
    """Many small keys, then large and small ones until no more fits; how many of these.

    After that only deletions have room, and not even the outcome of a conflict.
    """
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
    while refusal(store.run(**CONFLICT)) == "conflict":
        pass  # one takes a little less than a small key does
    return number


def left(folder: Path) -> int:
    return os.statvfs(folder).f_bavail * 4096


def take(folder: Path, size: int) -> Path:
    """Another program's file of so many bytes."""
    with (folder / "other").open("wb") as other:
        os.posix_fallocate(other.fileno(), 0, size)
    return folder / "other"


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Meanwhile nothing is left."""
    other = take(folder, left(folder))
    yield
    other.unlink()


def refusal(outcome: Outcome) -> Any:
    return outcome.error and outcome.error.code


def test_many_small_keys_are_deleted_where_nothing_else_fits(disk: Path) -> None:
    with Store(disk / NAME) as store:
        number = fill(store)
        assert number > 2
        deleted = store.run(type="delete_prefix", prefix="small.")
        assert (deleted.error, deleted.changes) == (None, MANY)
        assert store.run(type="set", key="after", value=1).error is None
        assert store.readmodel.current.keys() == number + 1
    assert_sound(disk)


@pytest.mark.parametrize("kind", ENGINES)
def test_what_is_kept_goes_to_deletions_alone(disk: Path, kind: str) -> None:
    """Also where they share a commit with what is refused, and were refused for it."""
    with engine_store(kind, disk / NAME) as store:
        fill(store)
        before = left(disk)
        assert {refusal(store.run(**CONFLICT)) for _ in range(20)} == {"unavailable"}
        assert left(disk) == before
        outcomes = store.run_all(
            [
                {"type": "set", "key": "other", "value": 1},
                CONFLICT,
                {"type": "delete_prefix", "prefix": "small.3."},
                {"type": "delete", "key": "more.0"},
            ]
        )
        found = [refusal(one) for one in outcomes]
        assert found == ["unavailable", "unavailable", None, None]


@pytest.mark.parametrize("kind", ENGINES[1:])
def test_a_deletion_whose_outcome_is_unknown_gets_its_outcome_there_too(
    disk: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NodeStore(disk / NAME, new_log(kind), TIMEOUT) as store:
        fill(store)
        SilentLog(store, monkeypatch)
        doubtful = store.run(type="delete_prefix", prefix="small.3.", id="doubt")
        assert isinstance(doubtful.error, OutcomeUnknown)
        assert [one.attempt.id for one in store.projection.unknown_outcomes()] == ["doubt"]


def test_the_ballast_of_a_running_server_stays_whoever_reads(disk: Path, tmp_path: Path) -> None:
    ballast = disk / f"{NAME}-ballast"
    with Store(disk / NAME) as store:
        store.set(a=1)
        with filled(disk):
            assert maintenance.verify(disk)["ok"]
            maintenance.backup(disk, tmp_path / "copy")
            assert ballast.exists()
        ballast.unlink()
        store.set(a=2)
        assert ballast.exists()
    with filled(disk):
        assert maintenance.verify(disk)["ok"]  # nobody else makes the files that it needs
    assert not ballast.exists()


def test_a_deletion_that_fails_gives_back_what_it_took(disk: Path) -> None:
    """Others have taken what was kept: fewer keys are deleted at once then."""
    with Store(disk / NAME) as store:
        fill(store)
        store.database.truncate_wal()
        take(disk, left(disk) - 250_000)
        before, keys = left(disk), store.readmodel.current.keys()
        for _ in range(2):
            answer = store.run(type="delete_prefix", prefix="small.").answer()
            assert answer["code"] == "unavailable"
            assert "fewer keys at once" in answer["message"]
            assert left(disk) >= before
            assert store.readmodel.current.keys() == keys
        assert store.run(type="delete_prefix", prefix="small.3.").error is None
    assert_sound(disk)
