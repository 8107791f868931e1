"""The store's files vanish, are replaced or cut off under a running server: it accepts no more."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import gevent
import pytest

from conftest import StartServer
from signalbox.server import maintenance
from signalbox.server.model.errors import Unavailable
from signalbox.server.store.file_watch import SUFFIXES, OpenFilesWatch
from support.engine_stores import ENGINES, engine_store
from support.local_store import Store
from support.nodes import until
from support.raw_http import Client, assert_sound

NAME = "signalbox.db"


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "store"
    folder.mkdir()
    with engine_store(request.param, folder / NAME) as made:
        made.set(a=1)
        yield made


def file(store: Store, ending: str) -> Path:
    assert store.database.path is not None
    return store.database.path.with_name(NAME + ending)


def assert_not_written(store: Store, what: str) -> None:
    before = store.readmodel.revision
    answer = store.run(type="set", key="a", value=2).answer()
    assert (answer["status"], answer["code"]) == ("rejected", "unavailable")
    assert what in answer["message"]
    assert "Nothing was changed." in answer["message"]
    assert store.readmodel.revision == before
    assert what in (store.database.open_files.problem() or "")


def assert_refused(store: Store, what: str) -> None:
    assert_not_written(store, what)
    item = store.readmodel.current.get("a")
    assert item is not None
    assert item.raw == "1"  # queries go on


@pytest.mark.parametrize("ending", SUFFIXES)
def test_a_file_that_is_gone_is_noticed_and_may_come_back(store: Store, ending: str) -> None:
    kept = file(store, ending).rename(file(store, ".kept"))
    assert_refused(store, f"{NAME}{ending} is gone")
    kept.rename(file(store, ending))
    assert store.run(type="set", key="a", value=2).error is None
    assert store.database.open_files.problem() is None


@pytest.mark.parametrize("ending", SUFFIXES)
def test_another_file_in_its_place_is_not_written_to(store: Store, ending: str) -> None:
    shutil.copy(file(store, ending), file(store, ".copy"))
    file(store, ending).rename(file(store, ".kept"))
    file(store, ".copy").rename(file(store, ending))
    before = file(store, ending).read_bytes()
    assert_refused(store, f"{NAME}{ending} is another one now")
    assert file(store, ending).read_bytes() == before
    with pytest.raises(Unavailable, match="another one"):
        store.database.reader()


@pytest.mark.parametrize("left", [0.0, 0.6], ids=["all", "its end"])
@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_file_that_is_cut_off_is_not_written_to(store: Store, ending: str, left: float) -> None:
    if not ending:
        store.database.truncate_wal()
        assert store.database.open_files.problem() is None  # as is asked every second
    whole = file(store, ending).read_bytes()
    os.truncate(file(store, ending), int(len(whole) * left))
    assert_not_written(store, f"{NAME}{ending} is shorter than what was written to it")
    with pytest.raises(Unavailable, match="shorter"):
        store.database.reader()
    store.database.truncate_wal()
    store.database.checkpoint()
    assert file(store, ending).stat().st_size == int(len(whole) * left)
    file(store, ending).write_bytes(whole)
    assert store.database.open_files.problem() is None


def assert_written_over(store: Store, by: Path) -> None:
    """Not even the end of the server mixes it with what is in the log."""
    target = file(store, "")
    assert store.database.open_files.problem() is None
    assert by.stat().st_size >= target.stat().st_size
    shutil.copyfile(by, target)
    assert_not_written(store, f"{NAME} was written over by another program, as by a copy")
    store.database.truncate_wal()
    store.database.checkpoint()
    store.close()
    assert target.read_bytes() == by.read_bytes()


def test_a_backup_of_the_same_length_copied_over_it_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / NAME)
    store.set(a=1)
    store.database.truncate_wal()
    maintenance.backup(tmp_path, tmp_path / "backup")
    store.set(a=2)
    assert_written_over(store, tmp_path / "backup")
    for ending in ("-wal", "-shm"):
        (tmp_path / (NAME + ending)).unlink(missing_ok=True)
    assert assert_sound(tmp_path) == 1


def test_a_copy_of_an_earlier_run_s_file_over_it_is_noticed(tmp_path: Path) -> None:
    with Store(tmp_path / NAME) as before:
        before.set(a=1)
    shutil.copy(tmp_path / NAME, tmp_path / "copy")
    store = Store(tmp_path / NAME)
    store.set(b="x" * 9_000)
    store.database.truncate_wal()
    store.set(b="x")
    with (tmp_path / "copy").open("ab") as padded:
        padded.truncate((tmp_path / NAME).stat().st_size)
    assert_written_over(store, tmp_path / "copy")


def test_whoever_else_writes_by_sqlite_has_not_written_it_over(tmp_path: Path) -> None:
    with (
        Store(tmp_path / NAME) as store,
        closing(apsw.Connection(str(tmp_path / NAME))) as other,
    ):
        for number in range(5):
            store.set(a=number, b="x" * 9_000 * number)
            other.execute(f"PRAGMA wal_checkpoint; CREATE TABLE more{number} (n)").fetchall()
            assert store.database.open_files.problem() is None
            other.execute(f"DROP TABLE more{number}; PRAGMA wal_checkpoint(TRUNCATE)")
            assert store.database.open_files.problem() is None
        store.set(a=9)


def test_what_is_left_of_a_log_that_was_cut_off_stays_as_it_is(tmp_path: Path) -> None:
    with Store(tmp_path / NAME) as store:
        store.database.truncate_wal()
        store.set(a=1)
        store.set(b=1)
        before, log = (tmp_path / NAME).read_bytes(), tmp_path / f"{NAME}-wal"
        os.truncate(log, log.stat().st_size - 1)
    assert (tmp_path / NAME).read_bytes() == before
    with Store(tmp_path / NAME) as store:
        assert store.readmodel.revision == 1


def test_a_log_that_begins_anew_is_whole(tmp_path: Path) -> None:
    with (
        Store(tmp_path / NAME) as store,
        closing(apsw.Connection(str(tmp_path / NAME))) as other,
    ):
        for bring in (store.database.restart_wal, store.database.checkpoint):
            store.set(a=1)
            bring()
            assert store.database.open_files.problem() is None
        store.set(a=2)
        other.pragma("user_version")  # until it has read something it knows of no log
        other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert store.database.wal_bytes() == 0
        assert store.database.open_files.problem() is None
        store.set(a=3)


def test_a_folder_in_place_of_its_folder_is_noticed(store: Store) -> None:
    folder = file(store, "").parent
    folder.rename(folder.with_name("kept"))
    assert_refused(store, "is gone")
    shutil.copytree(folder.with_name("kept"), folder)
    assert_refused(store, "is another one now")


def test_a_link_elsewhere_does_not_keep_it_in_its_place(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").hardlink_to(file(store, ""))
    file(store, "").unlink()
    assert_refused(store, "is gone")


def test_it_is_logged_when_it_happens_and_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("signalbox.server.store.file_watch.EVERY_SECONDS", 0.01)
    woken = gevent.event.Event()
    with Store(tmp_path / NAME) as store:
        watch = OpenFilesWatch(store.database.open_files, woken.set, lambda: None)
        kept = file(store, "").rename(file(store, ".kept"))
        assert woken.wait(10)
        assert "signalbox.db is gone" in caplog.messages[-1]
        woken.clear()
        kept.rename(file(store, ""))
        assert woken.wait(10)
        assert "in their place again" in caplog.messages[-1]
        watch.close()


def test_a_server_says_so_in_status_and_leaves_what_another_has_put_there(
    server: StartServer, tmp_path: Path
) -> None:
    folder, kept = tmp_path / "store", tmp_path / "kept"
    first = server(data_dir=folder)
    with Client(first) as client:
        client.send("set", key="a", value=1)
        assert client.get("status").json()["problem"] is None
        folder.rename(kept)
        answer = client.send("set", key="a", value=2)
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert "is gone" in client.get("status").json()["problem"]
        second = server(data_dir=folder)
        with Client(second) as other:
            other.send("set", key="b", value=1)
            assert "is another one" in client.get("status").json()["problem"]
            assert client.value("a") == 1
            assert first.stop() == 0
            endpoint = json.loads((folder / "endpoint.json").read_text())
            assert endpoint["pid"] == second.pid
            assert other.value("b") == 1
        assert second.stop() == 0
    assert assert_sound(folder) == assert_sound(kept) == 1


def test_where_its_lock_is_gone_a_server_leaves_the_store_to_another(
    server: StartServer, tmp_path: Path
) -> None:
    first = server(data_dir=tmp_path)
    with Client(first) as client:
        client.send("set", key="a", value=1)
        (tmp_path / "server.lock").unlink()
        answer = client.send("set", key="a", value=2)
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert "server.lock is gone" in answer.json()["message"]
        second = server(data_dir=tmp_path)
        with Client(second) as other:
            other.send("set", key="a", value=3)
            for value in (4, 5):
                answer = client.send("set", key="a", value=value)
                assert (answer.status, answer.json()["code"]) == (503, "unavailable")
                assert "server.lock is another one now" in answer.json()["message"]
            assert "server.lock" in client.get("status").json()["problem"]
            assert first.stop() == 0
            assert json.loads((tmp_path / "endpoint.json").read_text())["pid"] == second.pid
            assert other.send("set", key="a", value=6).json()["revision"] == 3
        assert second.stop() == 0
    assert assert_sound(tmp_path) == 3


def test_a_server_whose_endpoint_was_removed_writes_it_again(
    server: StartServer, tmp_path: Path
) -> None:
    endpoint = tmp_path / "endpoint.json"
    first = server(data_dir=tmp_path)
    before = endpoint.read_bytes()
    endpoint.unlink()
    until(endpoint.exists)
    assert endpoint.read_bytes() == before
    assert first.stop() == 0
    assert not endpoint.exists()
