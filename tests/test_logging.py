"""The server's log: on stderr or in a file that stays small and that its owner alone can read."""

import errno
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from signalbox.client import NotRunning
from signalbox.desktop.server_process import ServerProcess, open_log
from signalbox.desktop.window_log import log_to_file
from signalbox.server import log_file, logging_setup
from signalbox.server.log_file import (
    MAX_BYTES,
    RETRY_SECONDS,
    LogFile,
    old_log,
    rotate_if_large,
)
from signalbox.server.model.errors import StoreError
from support.harness import ROOT, SECONDS, Server
from support.nodes import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def handler(file: Path) -> Iterator[LogFile]:
    opened = LogFile(file)
    yield opened
    opened.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("signalbox", logging.WARNING, "", 0, text, None, None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_appended_to_and_begins_anew_when_it_is_large(handler: LogFile, file: Path) -> None:
    for text in ("first", "x" * (MAX_BYTES - 100), "y" * 200, "last"):
        handler.emit(record(text))
    assert file.read_text() == "y" * 200 + "\nlast\n"
    assert old_log(file).read_text().startswith("first\nxxx")
    assert old_log(file).name == "server.old.log"
    assert (mode(file), mode(old_log(file))) == (0o600, 0o600)
    assert sorted(path.name for path in file.parent.iterdir()) == ["server.log", "server.old.log"]


def test_the_old_log_is_kept_until_there_is_a_new_one(
    handler: LogFile, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_log(file).write_text("the old log")
    tries, now = [], [1_000.0]

    def full_disk(_: Path, target: Path) -> None:
        tries.append(target)
        target.write_text("a part")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(log_file, "monotonic", lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full_disk)
        for text in ("x" * MAX_BYTES, "second", "third"):
            handler.emit(record(text))
        assert len(tries) == 1, "not at each record"
        now[0] += RETRY_SECONDS
        handler.emit(record("fourth"))
        assert len(tries) == 2
    assert old_log(file).read_text() == "the old log"
    assert file.read_text() == "x" * MAX_BYTES + "\nsecond\nthird\nfourth\n"
    now[0] += RETRY_SECONDS
    handler.emit(record("fifth"))
    assert file.read_text() == "fifth\n"
    assert old_log(file).read_text().endswith("fourth\n")
    assert sorted(path.name for path in file.parent.iterdir()) == ["server.log", "server.old.log"]


def test_who_writes_to_it_beside_the_server_leaves_no_hole(handler: LogFile, file: Path) -> None:
    with open_log(file) as stderr:
        stderr.write(b"x" * MAX_BYTES)
        stderr.flush()
        handler.emit(record("logged"))
        stderr.write(b"and on")
    assert file.read_bytes() == b"logged\nand on"
    assert old_log(file).stat().st_size == MAX_BYTES


def test_what_earlier_servers_left_is_bounded_where_nothing_is_logged(file: Path) -> None:
    with open_log(file) as stderr:
        stderr.write(b"x" * MAX_BYTES)
    rotate_if_large(file)
    assert file.stat().st_size == MAX_BYTES
    with open_log(file) as stderr:
        stderr.write(b"x")
    rotate_if_large(file)
    assert (file.stat().st_size, old_log(file).stat().st_size) == (0, MAX_BYTES + 1)
    assert mode(old_log(file)) == 0o600


def test_a_server_logs_to_its_file_instead_of_stderr(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    server = Server(tmp_path / "store", "--log", str(file))
    assert (file.read_bytes(), old_log(file).stat().st_size) == (b"", MAX_BYTES + 1)
    store = tmp_path / "store" / "signalbox.db"
    store.rename(store.with_name("elsewhere"))
    until(lambda: "was removed or replaced" in file.read_text())
    (line,) = file.read_text().splitlines()
    assert line[24:].startswith("WARNING ")
    server.kill()
    assert server.stderr.read_text() == ""


def test_a_log_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for log, why in (
        (tmp_path, "is a folder, where Signalbox has a file of its own"),
        (tmp_path / "no" / "server.log", "cannot be written: there is no such file or folder."),
    ):
        with pytest.raises(AssertionError, match=f"signalbox: .*{log} {why}"):
            Server(tmp_path / "store", "--log", str(log))


@pytest.mark.parametrize("name", ["server.log", "server.old.log"])
def test_a_log_that_is_no_file_is_named_at_once(file: Path, name: str) -> None:
    os.mkfifo(file.with_name(name))
    with pytest.raises(StoreError, match=f"{name} is a pipe, a socket or a device"):
        LogFile(file)


WINDOW: Final = """
import logging, sys, threading
from pathlib import Path
from signalbox.desktop import window_log

def fail():
    raise KeyError("unforeseen")

window_log.log_to_stderr()
if sys.argv[1:]:
    window_log.log_to_file(Path(sys.argv[1]))
logging.getLogger("signalbox.desktop.window").warning("one")
logging.getLogger("signalbox").warning("signalbox: two")
threading.Thread(target=fail).start()
"""


@pytest.mark.parametrize("has_file", [True, False])
def test_the_window_logs_to_stderr_and_to_a_file_of_its_own(file: Path, has_file: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WINDOW, *([file] if has_file else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines[:3] == ["signalbox: one", "signalbox: two", "signalbox: Unexpected error."]
    assert lines[-1] == "KeyError: 'unforeseen'"
    assert file.exists() is has_file
    if has_file:
        logged = file.read_text().splitlines()
        assert [line[24:] for line in logged[:2]] == ["WARNING one", "WARNING signalbox: two"]
        assert logged[-1] == "KeyError: 'unforeseen'"
        assert mode(file) == 0o600


def test_a_log_of_the_window_that_is_no_file_is_named_at_once(file: Path) -> None:
    file.mkdir()
    with pytest.raises(NotRunning, match=r"server\.log is a folder"):
        log_to_file(file)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_what_a_crash_prints_is_in_the_log_of_the_window(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.start()
    os.kill(server.endpoint.pid, signal.SIGABRT)
    assert server._process is not None  # noqa: SLF001 - nothing else waits for its end
    with pytest.raises(subprocess.TimeoutExpired):
        server._process.wait(0)  # noqa: SLF001
    assert server._process.wait(SECONDS) == -signal.SIGABRT  # noqa: SLF001
    server.close()
    server.box.close()
    assert "Fatal Python error: Aborted" in server.log.read_text()
    assert mode(server.log) == 0o600


def test_what_ends_a_greenlet_is_logged_without_the_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error = KeyError("unforeseen")
    logging_setup._log_exception({"HTTP_AUTHORIZATION": "secret"}, KeyError, error, None)  # noqa: SLF001
    assert "Unexpected error." in caplog.text
    assert "unforeseen" in caplog.text
    assert "secret" not in caplog.text
