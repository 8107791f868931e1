"""What lies in a store's place and can be none is refused, in words, and left as it is."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import apsw
import pytest

import signalbox.client
from conftest import StartServer
from signalbox.server import maintenance
from signalbox.server.model.errors import StoreError, StoreInUse
from signalbox.server.store import checks_before_opening
from signalbox.server.store.data_dir import lock_data_dir
from signalbox.server.store.database import Database
from support.command_line import PROGRAM, Shell
from support.harness import SECONDS

NAME = "signalbox.db"
COMMANDS = [["get", "a"], ["set", "a", "1"], ["verify"], ["rebuild"], ["backup", "copy"], ["token"]]
THEIRS = {
    "tables": "CREATE TABLE bills (n INTEGER); INSERT INTO bills VALUES (7)",
    "a table named as ours": "CREATE TABLE meta (name TEXT, value TEXT)",
    "tables and a version": "CREATE TABLE bills (n INTEGER); PRAGMA user_version = 1",
    "tables and our version": "CREATE TABLE bills (n INTEGER); PRAGMA user_version = 3",
    "a mark": "CREATE TABLE bills (n INTEGER); PRAGMA application_id = 1196444487",
    "a mark and no table": "PRAGMA application_id = 1196444487",
    "a write-ahead log": "PRAGMA journal_mode = WAL; CREATE TABLE bills (n INTEGER)",
}


def database(folder: Path, sql: str) -> Path:
    folder.mkdir()
    with closing(apsw.Connection(str(folder / NAME))) as connection:
        connection.execute(sql).fetchall()
    return folder / NAME


@pytest.mark.parametrize("sql", THEIRS.values(), ids=list(THEIRS))
def test_another_programs_database_is_left_as_it_is(tmp_path: Path, sql: str) -> None:
    path = database(tmp_path / "store", sql)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"another program's database .* nothing was changed"):
        Database(path)
    assert {path.name: before} == {one.name: one.read_bytes() for one in path.parent.iterdir()}


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
def test_every_command_says_that_it_is_another_programs(
    tmp_path: Path, arguments: list[str]
) -> None:
    path = database(tmp_path / "store", THEIRS["tables"])
    before = path.read_bytes()
    done = Shell(path.parent)(*arguments)
    assert (done.status, done.out) == (4, "")
    assert f"{path} is another program's database" in done.err
    assert done.err.count("\n") == 1
    assert path.read_bytes() == before


def test_the_write_ahead_log_of_another_program_stays(tmp_path: Path) -> None:
    path = database(tmp_path / "whole", THEIRS["a write-ahead log"])
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("INSERT INTO bills VALUES (7)")
        left = tmp_path / "left"
        left.mkdir()
        for file in (path, path.with_name(f"{NAME}-wal")):
            (left / file.name).write_bytes(file.read_bytes())
    before = {file: file.read_bytes() for file in left.iterdir()}
    with pytest.raises(StoreError, match="another program's database"):
        Database(left / NAME)
    assert before == {file: file.read_bytes() for file in before}


def test_a_store_whose_mark_is_damaged_is_still_ours(tmp_path: Path) -> None:
    Database(tmp_path / NAME).close()
    with closing(apsw.Connection(str(tmp_path / NAME))) as connection:
        connection.pragma("application_id", 1)
    Database(tmp_path / NAME).close()
    assert maintenance.verify(tmp_path)["ok"]


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("command", ["verify", "rebuild", "ls"])
@pytest.mark.parametrize(
    ("make", "what"),
    [(os.mkdir, "a folder"), (os.mkfifo, "a pipe"), (a_socket, "a socket")],
    ids=["folder", "pipe", "socket"],
)
def test_what_is_no_file_is_reported_at_once(
    tmp_path: Path, make: Callable[[Path], None], what: str, command: str
) -> None:
    """A process of its own, since one that waits for a pipe could not be ended otherwise."""
    make(tmp_path / NAME)
    done = subprocess.run(
        [*PROGRAM, "--data-dir", str(tmp_path), command],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{tmp_path / NAME} cannot be opened as a Signalbox store: it is " in done.stderr
    assert what in done.stderr


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


BESIDE = ("-made", "-wal", "-shm", "-journal", "-ballast")
IN_ALL_WAYS = [(os.mkdir, "a folder"), (os.mkfifo, "a pipe"), (a_device, "a device")]


@pytest.mark.parametrize(
    "name", [*(NAME + ending for ending in BESIDE), "server.lock", "endpoint.json", "endpoint.new"]
)
@pytest.mark.parametrize(("make", "what"), IN_ALL_WAYS, ids=["folder", "pipe", "device"])
def test_what_is_no_file_beside_the_store_is_named_at_once(
    tmp_path: Path, make: Callable[[Path], None], what: str, name: str
) -> None:
    Database(tmp_path / NAME).close()
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    done = Shell(tmp_path)("get", "a")
    assert (done.status, done.out) == (4, "")
    assert done.err.startswith(f"signalbox: {tmp_path / name} is ")
    assert (what in done.err, done.err.count("\n")) == (True, 1)
    if name.startswith(NAME):
        with pytest.raises(StoreError, match=f"{name} is "):
            maintenance.verify(tmp_path)
    else:
        assert maintenance.verify(tmp_path)["ok"]


def test_a_server_whose_endpoint_becomes_a_pipe_is_not_held_up(
    server: StartServer, tmp_path: Path
) -> None:
    started = server(data_dir=tmp_path / "store")
    endpoint = started.data_dir / "endpoint.json"
    endpoint.unlink()
    os.mkfifo(endpoint)
    assert signalbox.client.find(started.data_dir) is None
    assert started.stop() == 0
    endpoint.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells")
@pytest.mark.parametrize("linked", [(NAME,), (f"{NAME}-wal",), (NAME, f"{NAME}-wal")])
def test_two_servers_never_write_to_one_file_by_two_names(
    server: StartServer, tmp_path: Path, linked: tuple[str, ...]
) -> None:
    first, folder = server(data_dir=tmp_path / "first"), tmp_path / "second"
    first.set("a", 1)
    folder.mkdir()
    for name in (NAME, f"{NAME}-wal"):
        (os.link if name in linked else shutil.copy)(first.data_dir / name, folder / name)
    with pytest.raises(StoreError, match=f"hard link .* process {first.pid} has open"):
        Database(folder / NAME)
    first.set("a", 2)
    assert first.stop() == 0
    assert maintenance.verify(first.data_dir)["revision"] == 2


def test_a_hard_link_that_nobody_else_writes_to_is_a_store(tmp_path: Path) -> None:
    Database(tmp_path / NAME).close()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / NAME).hardlink_to(tmp_path / NAME)
    with (tmp_path / NAME).open("rb"), closing(Database(tmp_path / "snapshot" / NAME)) as database:
        assert database.meta("store")


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells")
def test_a_process_that_ends_meanwhile_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(tmp_path / NAME).close()
    (tmp_path / "link").hardlink_to(tmp_path / NAME)

    def after_its_end(listed: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def end_and_list(path: Any) -> Any:
            if str(path) == f"/proc/{process.pid}/fd":
                process.kill()
                process.wait()
            return listed(path)

        return end_and_list

    with subprocess.Popen(["sleep", "60"]) as process:
        for name in ("scandir", "listdir"):
            monkeypatch.setattr(os, name, after_its_end(getattr(os, name)))
        checks_before_opening.check_not_open_elsewhere(tmp_path / NAME)
        assert process.returncode is not None


def test_a_symbolic_link_to_a_store_is_that_store(server: StartServer, tmp_path: Path) -> None:
    """It has one server, by whatever name; its log, its lock and its sign are beside the file."""
    first, folder = server(data_dir=tmp_path / "first"), tmp_path / "second"
    first.set("a", 1)
    folder.mkdir()
    (folder / NAME).symlink_to(first.data_dir / NAME)
    assert maintenance.verify(folder)["revision"] == 1
    with pytest.raises(StoreInUse):
        maintenance.rotate_tokens(folder)
    assert first.kill() < 0
    second = server(data_dir=folder)
    second.set("a", 2)
    with pytest.raises(StoreInUse):
        maintenance.rotate_tokens(first.data_dir)
    assert second.stop() == 0
    assert maintenance.verify(first.data_dir)["revision"] == 2
    assert [file.name for file in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("arguments", [*COMMANDS, ["serve"]], ids=lambda words: words[0])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_symbolic_link_to_nothing_begins_no_store(
    tmp_path: Path, arguments: list[str], what: str
) -> None:
    """As where its disk is not mounted, and the folder for that is empty."""
    (tmp_path / "disk").mkdir()
    if what == "folder":
        link, target = tmp_path / "store", tmp_path / "disk" / "store"
    else:
        link, target = tmp_path / "store" / NAME, tmp_path / "disk" / NAME
        (tmp_path / "store").mkdir()
    link.symlink_to(target)
    shell = Shell(tmp_path / "store")
    done = shell.as_process(*arguments) if arguments == ["serve"] else shell(*arguments)
    assert (done.status, done.out) == (4, "")
    assert f"{link} is a symbolic link to {target}, where nothing is" in done.err
    assert done.err.count("\n") == 1
    assert list((tmp_path / "disk").iterdir()) == []
    with pytest.raises(StoreError, match="is a symbolic link to"):
        Database(tmp_path / "store" / NAME)


def test_links_to_two_stores_in_one_folder_have_a_server_each(tmp_path: Path) -> None:
    """And leave what another server has in that folder alone."""
    there = tmp_path / "stores"
    there.mkdir()
    (there / "endpoint.json").write_text("{}")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).symlink_to(there / f"{name}.db")
        (there / f"{name}.db").touch()  # as where the first start had no room
    with ExitStack() as stack:
        for name in ("a", "b"):
            stack.callback(lock_data_dir(tmp_path / name, 0).release)
            stack.enter_context(closing(Database(tmp_path / name / NAME)))
        with pytest.raises(StoreInUse):
            lock_data_dir(tmp_path / "b", 0)
    assert (there / "endpoint.json").exists()
    assert {"a.db", "a.db-lock", "b.db", "b.db-lock"} <= {one.name for one in there.iterdir()}
