"""Which folder the command line takes for a store, and that it makes none where it only looks."""

import shutil
from pathlib import Path

import pytest

import signalbox
from signalbox.server.model.errors import StoreError
from signalbox.server.settings import read_settings
from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving

READS = [
    ["get", "a"], ["ls"], ["tree"], ["log"], ["status"], ["history", "a"], ["diff", "1", "now"],
    ["export"], ["watch"], ["verify"], ["backup", "file"], ["rebuild"], ["token"],
    ["token", "--rotate"], ["compact"], ["undo"], ["redo"], ["restore", "1"],
]  # fmt: skip
ON_THE_FILE = [["verify"], ["backup", "file"], ["rebuild"], ["token"], ["token", "--rotate"]]


def none_in(folder: Path) -> tuple[int, str]:
    return 4, f"signalbox: There is no store in {folder}.\n"


@pytest.mark.parametrize("arguments", READS)
def test_a_folder_that_a_variable_names_must_have_a_store(
    tmp_path: Path, arguments: list[str]
) -> None:
    done = Shell(tmp_path / "typo")(*arguments)
    assert (done.status, done.err) == none_in(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", READS)
def test_what_a_server_left_behind_is_no_store(tmp_path: Path, arguments: list[str]) -> None:
    """Its `endpoint.json` names a port where nobody listens."""
    folder = tmp_path / "left"
    server = Server(folder, "--engine", "memory")
    stale = (folder / "endpoint.json").read_bytes()
    server.kill()
    (folder / "endpoint.json").write_bytes(stale)
    before = sorted(folder.iterdir())
    assert folder / "signalbox.db" not in before
    done = Shell(tmp_path / "other")("--data-dir", str(folder), *arguments)
    assert (done.status, done.err) == none_in(folder)
    assert sorted(folder.iterdir()) == before


def test_a_server_without_a_file_does_not_begin_beside_a_file(tmp_path: Path) -> None:
    """What it accepted would seem to be in the store, and be gone."""
    Server(tmp_path, "--engine", "sqlite").stop()
    with pytest.raises(AssertionError, match="the engine memory would not use"):
        Server(tmp_path, "--engine", "memory")


def test_a_server_without_a_file_has_a_store(tmp_path: Path) -> None:
    server = Server(tmp_path / "store", "--engine", "memory")
    try:
        server.set("a", 1)
        assert Shell(server.data_dir).ok("get", "a") == "1\n"
    finally:
        server.kill()


@pytest.mark.parametrize("arguments", ON_THE_FILE)
def test_no_engine_makes_a_file_where_there_is_none(tmp_path: Path, arguments: list[str]) -> None:
    done = Shell(tmp_path / "typo")("--engine", "redis://127.0.0.1:1", *arguments)
    assert (done.status, done.err) == none_in(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["get", "a"], ["set", "a", "1"], ["path"], ["verify"]])
def test_an_empty_variable_names_no_folder(tmp_path: Path, arguments: list[str]) -> None:
    empty = {"SIGNALBOX_DATA_DIR": "", "XDG_DATA_HOME": str(tmp_path)}
    done = Shell(tmp_path)(*arguments, env=empty)
    assert done.status == 4
    assert done.err == "signalbox: SIGNALBOX_DATA_DIR is empty; it is the folder of the store.\n"
    assert list(tmp_path.iterdir()) == []


def test_nor_does_it_for_a_program_or_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", "")
    with pytest.raises(signalbox.NotRunning, match="is empty"):
        signalbox.connect()
    with pytest.raises(StoreError, match="data_dir is empty"):
        read_settings({})
    assert read_settings({"data_dir": "/here"}).data_dir == Path("/here")


def test_a_folder_that_is_given_outweighs_an_empty_variable(tmp_path: Path) -> None:
    words = ["--engine", "sqlite", "--data-dir", str(tmp_path / "given"), "set", "a", "1"]
    done = Shell(tmp_path)(*words, env={"SIGNALBOX_DATA_DIR": ""})
    assert (done.status, done.err) == (0, "")


def test_path_tells_where_a_store_would_be_and_makes_no_folder(tmp_path: Path) -> None:
    assert Shell(tmp_path / "new").ok("path") == f"{tmp_path / 'new' / 'signalbox.db'}\n"
    assert list(tmp_path.iterdir()) == []


def test_writing_makes_the_folder_that_a_variable_names(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "new")
    shell.ok("set", "a", "1")
    assert shell.ok("get", "a") == "1\n"


def test_a_stretch_is_of_a_store_that_is_there(tmp_path: Path) -> None:
    """Neither its own folder is made nor that which it would be sent to."""
    shell, into = Shell(tmp_path / "typo"), str(tmp_path / "into")
    for words in (["--data-dir", str(tmp_path / "named")], []):
        done = shell(*words, "replay", "--from", "0", "--into", into)
        assert (done.status, done.err) == none_in(Path(words[-1]) if words else shell.data_dir)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_may_be_sent_to_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Shell(tmp_path / "unused").ok("replay", str(tmp_path / "file"), "--into", str(tmp_path / "new"))
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["file", "new"]


def test_a_store_that_is_moved_is_one_that_is_there(tmp_path: Path) -> None:
    """Neither its folder is made nor one that has no store gets a lock."""
    shell, typo = Shell(tmp_path / "typo"), tmp_path / "none"
    done = shell("migrate", "--to", f"sqlite:{tmp_path / 'new'}")
    assert (done.status, done.err) == none_in(shell.data_dir)
    done = shell("migrate", "--from", f"sqlite:{typo}", "--to", f"sqlite:{tmp_path / 'new'}")
    assert (done.status, done.err) == none_in(typo)
    done = shell("migrate", "--from", f"sqlite:{typo}", "--to", "sqlite")
    assert (done.status, done.err) == none_in(typo)
    assert list(tmp_path.iterdir()) == []
    typo.mkdir()
    assert shell("--data-dir", str(typo), "migrate", "--to", "redis://127.0.0.1:1").status == 4
    assert list(typo.iterdir()) == []


def test_a_backup_is_a_file_until_it_is_in_a_folder(tmp_path: Path) -> None:
    with serving(tmp_path / "store") as server:
        server.set("k", 1)
        backup, folder = tmp_path / "b.db", tmp_path / "x"
        Shell(server.data_dir).ok("backup", str(backup))
    told = f"The data directory {backup} is a file; needed is the folder in which the store is.\n"
    for words in (["ls"], ["set", "k", "1"], ["verify"]):
        done = Shell(tmp_path)(*words, "--data-dir", str(backup))
        assert (done.status, done.err) == (4, f"signalbox: {told}")
    folder.mkdir()
    shutil.copy(backup, folder / "signalbox.db")
    assert Shell(tmp_path).ok("ls", "--data-dir", str(folder)) == "k\t1\n"
