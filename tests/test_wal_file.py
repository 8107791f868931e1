"""A write-ahead log that is damaged in its middle: what stands behind is not lost silently."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from signalbox.server import maintenance
from signalbox.server.model.errors import StoreError
from signalbox.server.store.database import Database
from support.local_store import Store

NAME = "signalbox.db"
WAL = NAME + "-wal"
FRAME = 24 + 4096
COMMITS = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with all that is newer than its schema in the log, as a crash would leave it."""
    folder = tmp_path_factory.mktemp("running")
    with Store(folder / NAME) as store:
        store.database.truncate_wal()
        for number in range(COMMITS):
            store.set(n=number)
        yield folder


@pytest.fixture
def killed(running: Path, tmp_path: Path) -> Path:
    for name in (NAME, WAL):
        shutil.copy(running / name, tmp_path / name)
    return tmp_path


def commits(log: bytes) -> list[int]:
    """Where the last frame of each begins."""
    return [at for at in range(32, len(log), FRAME) if any(log[at + 4 : at + 8])]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_as_a_crash_left_it_it_is_whole(killed: Path) -> None:
    assert len(commits((killed / WAL).read_bytes())) == COMMITS
    with Store(killed / NAME) as store:
        assert store.readmodel.revision == COMMITS


PLACES: dict[str, Callable[[list[int]], int]] = {
    "magic": lambda _: 3,
    "number of the checkpoint": lambda _: 15,
    "checksum of the header": lambda _: 31,
    "first page": lambda _: 32 + 24 + 4000,
    "page": lambda found: found[2] + 24 + 77,
    "number of a page": lambda found: found[2] + 3,
    "salt": lambda found: found[2] + 9,
    "checksum": lambda found: found[2] + 20,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_commits_after_damage_are_reported_and_left_where_they_are(
    killed: Path, place: Callable[[list[int]], int]
) -> None:
    flip(killed / WAL, place(commits((killed / WAL).read_bytes())))
    before = {name: (killed / name).read_bytes() for name in (NAME, WAL)}
    with pytest.raises(StoreError, match=rf"{WAL} is damaged: the last [3-6] commits .* lost"):
        Database(killed / NAME)
    found = maintenance.verify(killed)
    assert (found["ok"], "commits after the damage are not read" in found["problems"][-1]) == (
        False,
        True,
    )
    maintenance.backup(killed, killed / "copy")
    assert before == {name: (killed / name).read_bytes() for name in (NAME, WAL)}
    (killed / WAL).unlink()
    (killed / "copy").rename(killed / NAME)
    with Store(killed / NAME) as store:
        assert store.readmodel.revision == found["revision"] < COMMITS - 1


def test_what_a_power_failure_leaves_of_the_last_commit_is_none(killed: Path) -> None:
    last = commits((killed / WAL).read_bytes())[-1]
    flip(killed / WAL, last - FRAME + 100)
    with Store(killed / NAME) as store:
        assert store.readmodel.revision == COMMITS - 1


def after_a_power_failure(folder: Path, values: list[str], torn: int) -> Path:
    """Start on `folder`, commit; what is left where the last commit lacks one frame of its own."""
    left = folder.with_name(f"{folder.name}-left")
    left.mkdir()
    with Store(folder / NAME) as store:
        for value in values:
            store.set(n=value)
        frames, _ = store.database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        for name in (NAME, WAL):
            shutil.copy(folder / name, left / name)
    before = commits((left / WAL).read_bytes()[: 32 + (frames - 1) * FRAME])[-1]
    flip(left / WAL, before + torn * FRAME + 24 + 100)
    return left


def test_what_one_power_failure_leaves_is_no_damage_at_the_next(killed: Path) -> None:
    once = after_a_power_failure(killed, ["x" * 100_000], torn=3)
    twice = after_a_power_failure(once, ["kept", "lost"], torn=1)
    with Store(twice / NAME) as store:
        assert store.readmodel.revision == COMMITS + 1
        item = store.readmodel.current.get("n")
        assert item
        assert item.raw == '"kept"'


def test_a_start_beside_a_reader_cuts_off_what_nobody_reads(killed: Path) -> None:
    left = after_a_power_failure(killed, ["x" * 100_000], torn=3)
    with closing(apsw.Connection(str(left / NAME))) as other:
        other.execute("BEGIN")
        before = other.execute("SELECT max(revision) FROM transactions").get
        with Store(left / NAME) as store:
            assert len(commits((left / WAL).read_bytes())) == COMMITS
            store.set(n="kept")
        assert other.execute("SELECT max(revision) FROM transactions").get == before == COMMITS


def test_a_replica_reads_it_from_its_log_again(tmp_path: Path) -> None:
    """It does not wait for the disk, so a power failure may leave more than one commit torn."""
    (tmp_path / "killed").mkdir()
    with Store(tmp_path / NAME) as store:
        store.database.set_meta("engine", "redis://127.0.0.1:1")
        store.database.truncate_wal()
        for number in range(COMMITS):
            store.set(n=number)
        for name in (NAME, WAL):
            shutil.copy(tmp_path / name, tmp_path / "killed" / name)
    flip(tmp_path / "killed" / WAL, 32 + 24 + 4000)
    with closing(Database(tmp_path / "killed" / NAME)) as database:
        assert database.meta("engine")


def test_beside_a_server_a_log_that_began_anew_is_sound(tmp_path: Path) -> None:
    with Store(tmp_path / NAME) as store:
        store.set(n=1)
        store.set(n=2)
        assert maintenance.verify(tmp_path)["ok"]
        store.database.restart_wal()
        assert maintenance.verify(tmp_path)["ok"]
        store.set(n=3)
        assert maintenance.verify(tmp_path)["ok"]


def test_what_a_rollback_leaves_in_the_log_is_no_damage(tmp_path: Path) -> None:
    with Store(tmp_path / NAME) as store:
        writer = store.database.writer
        writer.pragma("cache_size", 10)
        for number in range(3):
            writer.execute("BEGIN IMMEDIATE")
            writer.execute(
                "WITH RECURSIVE series (n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM series) "
                "INSERT INTO key_counts SELECT n, randomblob(3000), NULL FROM series LIMIT 50"
            )
            writer.execute("ROLLBACK")
            store.set(n=number)
        (tmp_path / "killed").mkdir()
        for name in (NAME, WAL):
            shutil.copy(tmp_path / name, tmp_path / "killed" / name)
    with closing(apsw.Connection(str(tmp_path / "killed" / NAME))) as connection:
        assert connection.execute("SELECT max(revision) FROM transactions").get == 3
    Database(tmp_path / "killed" / NAME).close()
