"""The write-ahead log is used again from its start instead of growing with each commit."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from conftest import StartServer
from signalbox.server.store.database import (
    CHECKPOINT_PAGES,
    LARGE_COMMIT_PAGES,
    LARGE_DUE_PAGES,
    Database,
)
from signalbox.server.store.file_names import STORE_FILE
from signalbox.server.write.compactor import Compactor
from support.fake_computer_clock import FakeComputer
from support.harness import Server
from support.local_store import Store
from support.raw_http import Client

MAX_BYTES = 8 * 1024 * 1024
SENDERS = 4
SETS = 500


def send(server: Server, sender: int) -> None:
    with Client(server) as client:
        for number in range(SETS):
            client.send("set", key=f"key.{sender}.{number}", value=number)


def test_it_stays_small_while_many_write(server: StartServer) -> None:
    """Each of these commits adds pages: together some ten times as much."""
    one = server()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda sender: send(one, sender), range(SENDERS)))
    assert one.get("/queries/status").json()["revision"] == SENDERS * SETS
    log = one.data_dir / f"{STORE_FILE}-wal"
    assert 0 < log.stat().st_size < MAX_BYTES


def test_a_compaction_that_fails_leaves_checkpoints_as_they_were(tmp_path: Path) -> None:
    """During one a checkpoint follows each few commits, which would slow down all that write."""
    computer = FakeComputer()
    with Store(tmp_path / STORE_FILE, computer.clock()) as store:
        compactor = Compactor(
            store.readmodel, store.feed, store.writer, computer.clock(), dict, lambda: None
        )
        for number in range(3):
            store.set(a=number)
        store.run(type="set", key="_signalbox.retention", value={"max_age": "1m"})
        computer.wait(3600)
        store.database.writer.execute(
            "CREATE TRIGGER keep BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'kept'); END"
        )
        with pytest.raises(apsw.ConstraintError):
            compactor.compact()
        assert store.database.writer.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES
        store.database.writer.execute("DROP TRIGGER keep")
        assert compactor.compact()["changes"] > 0
        compactor.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "signalbox.db")
    yield made
    made.close()


def commit_pages(database: Database, pages: int) -> list[Callable[[], None]]:
    """Commit a text of so many pages; the checkpoints that are due then, which nobody runs yet."""
    due: list[Callable[[], None]] = []
    database.set_meta(f"text of {pages}", "x" * 4096 * pages)
    database.checkpoint_when_due(due.append, lambda finish: finish())
    return due


def test_large_commits_are_checkpointed_together(database: Database) -> None:
    pages = LARGE_COMMIT_PAGES + 100
    at_once = LARGE_DUE_PAGES // pages
    assert not any(commit_pages(database, pages + number) for number in range(at_once))
    assert commit_pages(database, pages + at_once) == [database.checkpoint]


def test_a_small_commit_has_those_checkpointed_that_large_ones_have_left(
    database: Database,
) -> None:
    assert commit_pages(database, LARGE_COMMIT_PAGES + 100) == []
    (checkpoint,) = commit_pages(database, 1)
    checkpoint()
    pages, in_file = database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    assert pages == in_file > LARGE_COMMIT_PAGES
