"""Errors of SQLite and the system get messages of our own, with a remedy."""

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import pytest

import signalbox
from signalbox.server import maintenance
from signalbox.server.model.errors import Invalid, StoreError
from signalbox.server.read.state_query import MAX_SEARCH, Filter, StateQuery
from signalbox.server.runtime.error_messages import reason
from support.harness import ROOT
from support.local_store import Store

FILE: Final = "signalbox.db"
SQLITE: Final = [
    kind for kind in vars(apsw).values() if isinstance(kind, type) and issubclass(kind, apsw.Error)
]


@pytest.mark.parametrize("kind", SQLITE, ids=lambda kind: kind.__name__)
def test_nothing_that_sqlite_says_is_passed_on(kind: type[apsw.Error]) -> None:
    said = reason(kind("SQL logic error near xyz"))
    assert "xyz" not in said
    assert said[0].islower()


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_nothing_that_the_system_says_is_passed_on(number: int) -> None:
    said = reason(OSError(number, os.strerror(number), "/some/file"))
    assert "[Errno" not in said
    assert os.strerror(number) not in said
    assert said[0].islower()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store(tmp_path / FILE) as store:
        store.set(**{f"k{n}": "123456789" * 50 for n in range(200)})
        store.database.set_meta("token.read", "r")
        store.database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return tmp_path


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As where a disk is full: nobody may write behind so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_backup_without_room_says_so_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    with (
        no_file_beyond(40_000),
        pytest.raises(StoreError, match=r"copy.db cannot be written: the disk .* full"),
    ):
        maintenance.backup(folder, target)
    assert not target.exists()


def test_a_backup_that_has_no_place_says_why(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file or folder"):
        maintenance.backup(folder, tmp_path / "gone" / "copy.db")
    with pytest.raises(StoreError, match="a part of the path is a file"):
        maintenance.backup(folder, folder / FILE / "copy.db")


DAMAGE: Final = {
    "a column of the schema": (
        b"revision INTEGER PRIMARY KEY,\n    version",
        b"revisiox INTEGER PRIMARY KEY,\n    version",
        "table transactions",
    ),
    "another column": (b"version INTEGER", b"versiox INTEGER", "table transactions"),
    "a key that is no UTF-8": (b"k11", b"k\xee1", "table changes"),
    "the header": (b"SQLite format 3", b"SQLite format 4", "header"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_reported_by_its_table_with_what_to_do(folder: Path, name: str) -> None:
    old, new, where = DAMAGE[name]
    content = (folder / FILE).read_bytes()
    assert old in content
    (folder / FILE).write_bytes(content.replace(old, new))
    found = maintenance.verify(folder)
    assert not found["ok"]
    assert any(where in problem for problem in found["problems"]), found
    assert "backup" in found["advice"]
    served = subprocess.run(
        [sys.executable, "-m", "signalbox.server", "serve", "--json", "--data-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (served.returncode, served.stdout, served.stderr.count("\n")) == (4, "", 1)
    assert f"The store {folder / FILE} is damaged" in served.stderr
    assert "backup" in served.stderr
    if name != "another column":  # of which a rebuild reads nothing
        with pytest.raises(StoreError, match="is damaged"):
            maintenance.rebuild(folder)


def test_too_long_a_text_to_search_for_is_refused_with_its_limit() -> None:
    with Store() as store:
        store.set(a="x" * MAX_SEARCH)
        wanted = Filter(search="x" * MAX_SEARCH)
        assert len(store.readmodel.current.page(wanted).items) == 1
        assert len(store.readmodel.current.page(Filter(search="%" * MAX_SEARCH)).items) == 0
        with pytest.raises(Invalid, match="search has 10001 characters; at most 10000") as refused:
            store.readmodel.current.page(Filter(search="x" * (MAX_SEARCH + 1)))
    assert refused.value.limit == MAX_SEARCH
    assert StateQuery(wanted, "key", None, 0, 1).search


def test_a_server_that_is_not_there_is_reported_without_the_words_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(signalbox.NotRunning, match=r"does not answer: nothing listens there\.$"):
        signalbox.connect(url=f"http://127.0.0.1:{port}", token="none")
