"""A store of which a part is lost is refused: no empty one is made in its place."""

import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from conftest import StartServer
from signalbox.server import maintenance
from signalbox.server.model.errors import StoreError
from signalbox.server.store.database import Database
from support.command_line import Shell
from support.local_store import Store
from support.raw_http import Client

NAME = "signalbox.db"
WAL, SIGN = NAME + "-wal", NAME + "-made"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A young store that is open, as a crash would leave it: all of it is in its log."""
    folder = tmp_path_factory.mktemp("young")
    with Store(folder / NAME) as store:
        store.set(a=1)
        (folder / "endpoint.json").write_text("{}")
        yield folder


@pytest.fixture
def young(running: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    for name in (NAME, WAL, "endpoint.json"):
        shutil.copy(running / name, folder / name)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def assert_refused(folder: Path, *parts: str) -> None:
    before = contents(folder)
    with pytest.raises(StoreError) as caught:
        Database(folder / NAME)
    for part in (*parts, "Nothing was changed", "a backup", "to begin anew"):
        assert part in str(caught.value)
    assert before == {name: data for name, data in contents(folder).items() if name in before}


def test_as_a_crash_left_it_it_is_whole(young: Path) -> None:
    with Store(young / NAME) as store:
        assert store.readmodel.current.keys() == 1


@pytest.mark.parametrize("was_served", [True, False])
def test_without_its_write_ahead_log(young: Path, was_served: bool) -> None:
    (young / WAL).unlink()
    if not was_served:
        (young / "endpoint.json").unlink()
    assert_refused(young, "has no table", f"{WAL} is missing", f"{NAME} (4,096 bytes)")
    with pytest.raises(StoreError, match="has no table"):
        maintenance.verify(young)


def test_with_an_empty_write_ahead_log(young: Path) -> None:
    (young / WAL).write_bytes(b"")
    assert_refused(young, "has no table", "missing or empty")


def test_with_a_write_ahead_log_that_is_none(young: Path) -> None:
    (young / WAL).write_bytes(bytes((young / WAL).stat().st_size))
    with pytest.raises(StoreError, match="cannot be read"):
        Database(young / NAME)


def test_without_its_file(young: Path) -> None:
    (young / NAME).unlink()
    assert_refused(young, f"{NAME} is missing", WAL)


def test_with_an_empty_file(young: Path) -> None:
    (young / NAME).write_bytes(b"")
    assert_refused(young, f"{NAME} is empty", f"{NAME} (0 bytes) and {WAL}")
    (young / WAL).unlink()
    assert_refused(young, f"{NAME} is empty")


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A store whose server has ended in order: all of it is in its file."""
    folder = tmp_path / "store"
    folder.mkdir()
    with Store(folder / NAME) as store:
        store.set(a=1)
    assert sorted(contents(folder)) == [NAME, SIGN]
    return folder


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_a_lost_file_is_not_replaced_by_an_empty_store(ended: Path, what: str) -> None:
    (ended / NAME).write_bytes(b"") if what == "empty" else (ended / NAME).unlink()
    assert_refused(ended, f"{NAME} is {what}", f"{SIGN} (")
    for work in (maintenance.verify, maintenance.rebuild, maintenance.rotate_tokens):
        with pytest.raises(StoreError, match=f"is {what}"):
            work(ended)
    for words in (["get", "a"], ["migrate", "--to", "sqlite:other"]):
        done = Shell(ended)(*words)
        assert (done.status, done.out, f"is {what}" in done.err) == (4, "", True)
    for file in ended.iterdir():
        if file.name.startswith(NAME):
            file.unlink()
    with Store(ended / NAME) as store:
        assert store.readmodel.current.keys() == 0


@pytest.mark.parametrize("size", [1, 50, 100, 512, 4095, 4096, 8192, -4096])
def test_a_file_that_was_cut_is_refused_and_stays(ended: Path, size: int) -> None:
    whole = (ended / NAME).read_bytes()
    (ended / NAME).write_bytes(cut := whole[:size])
    with pytest.raises(StoreError, match="has no table: what" if size == 1 else "damaged"):
        Database(ended / NAME)
    assert not maintenance.verify(ended)["ok"]
    assert (ended / NAME).read_bytes() == cut


def test_a_file_of_zeros_is_refused_and_stays(ended: Path) -> None:
    (ended / NAME).write_bytes(zeros := bytes((ended / NAME).stat().st_size))
    with pytest.raises(StoreError, match="damaged"):
        Database(ended / NAME)
    assert (ended / NAME).read_bytes() == zeros


def test_a_store_from_before_such_signs_gets_one_and_a_backup_its_own(
    ended: Path, tmp_path: Path
) -> None:
    sign = (ended / SIGN).read_bytes()
    (ended / SIGN).unlink()
    Database(ended / NAME).close()
    assert (ended / SIGN).read_bytes() == sign
    with Store(tmp_path / NAME) as other:
        other.set(b=1)
    shutil.copy(tmp_path / NAME, ended / NAME)
    Database(ended / NAME).close()
    assert (ended / SIGN).read_bytes() == (tmp_path / SIGN).read_bytes() != sign


def test_what_was_removed_while_it_was_open_is_refused_by_the_next(ended: Path) -> None:
    """No command was refused, so nobody knows."""
    database = Database(ended / NAME)
    (ended / NAME).unlink()
    assert "says what is missing" in (database.open_files.problem() or "")
    database.close()
    (ended / WAL).unlink(missing_ok=True)
    assert_refused(ended, f"{NAME} is missing", f"{SIGN} (")


def test_what_was_removed_while_it_was_open_is_begun_anew_once_a_command_was_refused_for_it(
    ended: Path,
) -> None:
    with Store(ended / NAME) as store:
        (ended / NAME).unlink()
        assert store.run(type="set", key="a", value=1).error is not None
    (ended / WAL).unlink(missing_ok=True)
    with Store(ended / NAME) as store:
        assert store.readmodel.current.keys() == 0


def test_where_nothing_was_a_store_is_made(tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text("{}")
    with Store(tmp_path / NAME) as store:
        assert store.readmodel.current.keys() == 0
    assert not (tmp_path / "endpoint.json").exists(), "it would say that a store was served here"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can become larger than so many bytes meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
@pytest.mark.parametrize("size", [0, 1024, 4096, 4200, 8192, 16_384])
def test_where_a_store_could_not_be_made_the_next_start_makes_it(tmp_path: Path, size: int) -> None:
    with room_for(size), pytest.raises(StoreError):
        Database(tmp_path / NAME)
    with Store(tmp_path / NAME) as store:
        assert store.readmodel.current.keys() == 0


def test_what_is_not_made_yet_is_not_called_damaged(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / NAME))) as connection:
        connection.pragma("journal_mode", "WAL")  # as far as a power failure let it come
    with pytest.raises(StoreError, match=r"There is no store in .* yet"):
        maintenance.verify(tmp_path)
    with Store(tmp_path / NAME):
        assert maintenance.verify(tmp_path)["ok"]


def test_a_start_that_had_no_room_leaves_what_the_next_begins_with(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"")
    with Store(tmp_path / NAME) as store:
        assert store.readmodel.current.keys() == 0


def test_a_command_says_what_is_there_instead_of_that_there_is_no_such_key(
    server: StartServer, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    killed = server(data_dir=folder)
    with Client(killed) as client:
        client.send("set", key="a", value=1)
    assert killed.kill() < 0
    (folder / WAL).unlink()
    done = Shell(folder)("get", "a")
    assert (done.status, done.out) == (4, "")
    assert "has no table" in done.err


def sets(folder: Path, **values: object) -> None:
    with Store(folder / NAME) as store:
        store.set(**values)


def crashed(folder: Path, to: Path) -> Path:
    """A copy of what is in the folder while a store there, with a commit in its log, is open."""
    with Store(folder / NAME) as store:
        store.set(last=1)
        return Path(shutil.copytree(folder, to))


def assert_log_is_not_of_it(folder: Path, *parts: str) -> None:
    before = contents(folder)
    with pytest.raises(StoreError) as caught:
        Database(folder / NAME)
    for part in (f"{WAL} does not belong to {NAME}", *parts, f"move {WAL} and {NAME}-shm away"):
        assert part in str(caught.value)
    assert {**contents(folder), f"{NAME}-shm": b""} == {**before, f"{NAME}-shm": b""}


def test_the_log_of_another_store_is_refused(ended: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = crashed(tmp_path / "other", tmp_path / "killed")
    shutil.copy(other / WAL, ended / WAL)
    assert_log_is_not_of_it(ended, f"{SIGN} names")
    with pytest.raises(StoreError, match="does not belong"):
        maintenance.verify(ended)
    for ending in ("-wal", "-shm"):
        (ended / f"{NAME}{ending}").unlink(missing_ok=True)
    assert maintenance.verify(ended)["ok"]
    with Store(ended / NAME) as store:
        assert store.readmodel.current.get("a") is not None


def test_a_backup_below_the_log_of_a_crash_is_refused(ended: Path, tmp_path: Path) -> None:
    maintenance.backup(ended, tmp_path / "backup.db")
    sets(ended, **{f"k{number}": "v" * 200 for number in range(500)})
    killed = crashed(ended, tmp_path / "killed")
    Database(Path(shutil.copytree(killed, tmp_path / "whole")) / NAME).close()
    shutil.copyfile(tmp_path / "backup.db", killed / NAME)
    assert_log_is_not_of_it(killed, "lacks a part")
    for ending in ("-wal", "-shm"):
        (killed / f"{NAME}{ending}").unlink(missing_ok=True)
    with Store(killed / NAME) as store:
        assert store.readmodel.current.keys() == 1


def test_a_replica_that_crashes_before_its_next_start_is_still_itself(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    with closing(Database(tmp_path / "open" / NAME)) as database:
        database.make_replica("0123456789abcdef", None, ())
        killed = Path(shutil.copytree(tmp_path / "open", tmp_path / "killed"))
    for _ in range(2):
        with closing(Database(killed / NAME)) as database:
            assert database.meta("store") == "0123456789abcdef"
    assert b"0123456789abcdef" in (killed / SIGN).read_bytes()
