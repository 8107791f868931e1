"""A store where nothing can be written is read, verified and exported; writes are refused."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import time

import apsw
import pytest

from signalbox.server import maintenance
from signalbox.server.app import App
from signalbox.server.model.errors import StoreError
from signalbox.server.settings import read_settings
from support.command_line import Shell
from support.harness import Server
from support.local_store import Store, Ticks
from support.raw_http import Client, lines, serving

LONG_AGO = time() - 380 * 86_400
"""What is so old goes at the start where retention runs."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a killed server has left on a medium that was made read-only since: all is in the log
    that lies beside the file. Only the superuser may mount; others take the right to write.
    """
    medium, home = tmp_path_factory.mktemp("medium"), tmp_path_factory.mktemp("home")
    is_mounted = os.geteuid() == 0
    if is_mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", medium], check=True)
    folder = medium / "store"
    with Store(home / "signalbox.db", Ticks(LONG_AGO)) as living:
        living.set(lamp=1, house__door="shut")
        living.set(lamp=2)
        shutil.copytree(home, folder)
    assert (folder / "signalbox.db-wal").stat().st_size > 0
    (folder / "signalbox.db-shm").unlink()
    protect(medium, folder, is_mounted)
    yield folder
    if is_mounted:
        subprocess.run(["umount", medium], check=True)
    folder.parent.chmod(0o700)


def protect(medium: Path, folder: Path, is_mounted: bool) -> None:
    if is_mounted:
        subprocess.run(["mount", "-o", "remount,ro", medium], check=True)
        return
    for file in folder.iterdir():
        file.chmod(0o400)
    folder.chmod(0o500)


@pytest.fixture(scope="module")
def server(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its copy goes with it."""
    room = tmp_path_factory.mktemp("room")
    # The harness keeps what a server says beside its data directory.
    given = tmp_path_factory.mktemp("link") / "store"
    given.symlink_to(store)
    with serving(given, env={"TMPDIR": str(room)}) as server:
        assert [file.name[:10] for file in room.iterdir()] == ["signalbox-"]
        yield server
    assert list(room.iterdir()) == []


def test_everything_can_be_queried(server: Server) -> None:
    with Client(server) as client:
        assert client.state() == {"lamp": 2, "house.door": "shut"}
        assert client.get("tree").json()["total"] == 2
        assert client.get("state/lamp", at=1).json()["value"] == 1
        assert len(client.get("history/lamp").json()["items"]) == 2
        assert len(client.get("export", history=1).body.splitlines()) == 2
        assert len(client.get("attempts").json()["items"]) == 2
        status = client.get("status").json()
    assert (status["revision"], status["oldest_revision"]) == (2, 1)
    assert status["durability"] == "read-only: nothing can be written"
    with server.stream() as stream:
        assert len(stream.until("caught-up")[0].data["items"]) == 2


def test_writes_are_refused_in_plain_words(server: Server) -> None:
    with Client(server) as client:
        for command in (
            {"type": "set", "key": "lamp", "value": 3},
            {"type": "set", "key": "lamp", "value": 2},
            {"type": "undo", "of": "x"},
            {"type": "delete", "key": "lamp"},
        ):
            answer = client.send(**command)
            if command["type"] != "undo":
                assert (answer.status, answer.json()["code"]) == (503, "unavailable")
                assert "read-only" in answer.json()["message"]
                assert "Nothing was changed" in answer.json()["message"]
        done = client.load(lines({"type": "set", "key": "new", "value": 1}))[-1]
        assert (done["code"], done["accepted"]) == ("unavailable", 0)
        assert client.send("set", key="lamp", value=3, dry_run=True).json()["changes"] == 1
        assert client.state() == {"lamp": 2, "house.door": "shut"}


def test_the_command_line_reads_it_without_a_server(store: Path) -> None:
    shell = Shell(store)
    assert shell.ok("get", "lamp") == "2\n"
    refused = shell("set", "lamp", "3")
    assert (refused.status, "read-only" in refused.err) == (1, True)


def test_it_is_verified_and_backed_up_with_the_log_beside_the_file(
    store: Path, tmp_path: Path
) -> None:
    before = sorted(file.name for file in store.iterdir())
    found = maintenance.verify(store)
    assert (found["ok"], found["revision"], found["keys"]) == (True, 2, 2)
    copy = tmp_path / "signalbox.db"
    maintenance.backup(store, copy)
    assert maintenance.verify(tmp_path)["revision"] == 2
    assert sorted(file.name for file in store.iterdir()) == before


def test_what_must_write_there_says_why_it_cannot(store: Path) -> None:
    for work in (maintenance.rebuild, maintenance.rotate_tokens):
        with pytest.raises(StoreError, match=r"cannot be used: (it is read-only|this user)"):
            work(store)


def test_without_room_for_the_copy_that_is_the_message(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreError, match=r"no such file or folder.*TMPDIR"):
        maintenance.verify(store)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Path]]:
    """A store that is read-only for whoever reads it; its owner writes on."""
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(maintenance, "is_read_only", lambda _: True)
    with Store(tmp_path / "theirs" / "signalbox.db") as store:
        store.set(n=0)
        yield store, tmp_path / "theirs"


def between(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> list[str]:
    """Have `work` done after each store's file that is copied; the names of all that are."""
    names: list[str] = []

    def copy(source: Path, target: Path) -> None:
        copyfile(source, target)
        names.append(source.name)
        if source.suffix == ".db":
            work()

    copyfile = shutil.copyfile
    monkeypatch.setattr("signalbox.server.store.read_only.shutil.copyfile", copy)
    return names


def begin_anew(store: Store) -> None:
    """Its log."""
    store.database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    store.set(n=store.readmodel.revision)


def test_a_copy_beside_somebody_who_writes_is_of_one_moment(
    written: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = written

    def write() -> None:
        store.set(n=1, more="x" * 9_000)
        store.set(n=2)
        store.database.checkpoint()

    between(monkeypatch, write)
    found = maintenance.verify(folder)
    assert (found["ok"], found["revision"]) == (True, 3)


def test_a_copy_whose_log_began_anew_meanwhile_is_made_again(
    written: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = written

    def write() -> None:
        if len(names) == 1:
            begin_anew(store)

    names = between(monkeypatch, write)
    found = maintenance.verify(folder)
    assert (found["ok"], found["revision"]) == (True, 2)
    assert names == ["signalbox.db", "signalbox.db-wal"] * 2


def test_a_copy_that_is_never_of_one_moment_is_not_used(
    written: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = written
    between(monkeypatch, lambda: begin_anew(store))
    with pytest.raises(StoreError, match=r"another program writes to it while it is copied: end"):
        maintenance.verify(folder)


def test_what_is_no_store_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.server.app.is_read_only", lambda _: True)
    path = tmp_path / "signalbox.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE bills (n INTEGER)")
    with pytest.raises(StoreError, match=re.escape(f"{path} is another program's database")):
        App(read_settings({"data_dir": str(tmp_path)}))
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError, match=re.escape(f"The store {path} is damaged")):
        App(read_settings({"data_dir": str(tmp_path)}))
