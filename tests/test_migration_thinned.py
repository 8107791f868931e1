"""`signalbox migrate` of what retention has thinned out, and after being killed on its way."""

import signal
from pathlib import Path

import apsw
import pytest

from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import shared_log
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.store.file_names import STORE_FILE
from support.brokers import new_log
from support.command_line import Shell
from support.migrations import exported_history, migrate, queried
from support.raw_http import Client, assert_sound, lines, serving


def thinned(data_dir: Path) -> None:
    """A store of which retention has removed transactions, and parts of others."""
    with serving(data_dir) as server, Client(server) as client:
        keep = {"key": "_signalbox.retention.kept", "value": {"max_age": None}}
        old = [
            [keep],
            [{"key": "a", "value": 1}, {"key": "kept.a", "value": 1}],
            [{"key": "n", "value": 1}],
            [{"key": "n", "value": 2}],
            [{"key": "a", "deleted": True}],
            [{"key": "a", "value": 2}, {"key": "kept.a", "value": 2}],
            [{"key": "n", "value": 3}],
        ]
        made = [
            {
                "revision": number,
                "id": "first" if number == 2 else f"old-{number}",
                "actor": "tester",
                "at": f"2001-01-0{number}T00:00:00.000Z",
                "type": "batch",
                "changes": changes,
            }
            for number, changes in enumerate(old, start=1)
        ]
        assert client.load(lines(*made))[-1]["status"] == "accepted"
        client.send("add", key="n", id="new", actor="tester")
        client.send("undo", of="new", actor="tester")
        assert client.ask("POST", "/commands/compact").status == 200
        # The server may have begun by itself: what is gone counts, not who has removed it.
        kept = client.get("export", history=1).body.splitlines()
        assert len(kept) == len(made) + 2 - 3
        client.send("add", key="n", actor="tester")


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_store_that_was_thinned_out_answers_as_before(tmp_path: Path, kind: str) -> None:
    shell, copy, node = Shell(tmp_path / "store"), tmp_path / "copy", tmp_path / "node"
    thinned(shell.data_dir)
    with queried(shell.data_dir) as (client, before):
        undone = client.send("undo", of="first", actor="tester").json()
        assert undone["code"] == "compacted"
    target = new_log(kind)
    assert migrate(shell, "--to", target)["revisions"] == 10
    with serving(node, "--engine", target):
        pass
    for folder in (shell.data_dir, node):
        with queried(folder) as (client, after):
            assert after == before
            again = client.send("undo", of="first", actor="tester", dry_run=True).json()
            assert again["message"] == undone["message"]
            assert client.ask("POST", "/commands/compact").json()["changes"] == 0
    migrate(shell, "--to", f"sqlite:{copy}")
    with queried(copy) as (client, after):
        assert after == before
        client.send("set", key="more", value=1)
    other = new_log("redis" if kind == "nats" else "nats")
    migrate(Shell(copy), "--to", other)
    with queried(node) as (_, after):
        assert after == before
    for folder in (shell.data_dir, node, copy):
        assert_sound(folder)


def many(data_dir: Path, number: int) -> None:
    """A store with so many transactions."""
    made = [
        {
            "revision": revision,
            "id": f"many-{revision}",
            "actor": "tester",
            "at": "2026-11-23T10:00:00.000Z",
            "type": "set",
            "changes": [{"key": f"k.{revision % 1000:03}", "value": "x" * 100}],
        }
        for revision in range(1, number + 1)
    ]
    with serving(data_dir) as server, Client(server) as client:
        assert client.load(lines(*made))[-1]["accepted"] == number


@pytest.mark.parametrize("kind", ["nats", "redis", "sqlite"])
def test_it_goes_on_after_it_was_killed(tmp_path: Path, kind: str) -> None:
    shell, number = Shell(tmp_path / "store"), 20_000
    many(shell.data_dir, number)
    target = f"sqlite:{tmp_path / 'copy'}" if kind == "sqlite" else new_log(kind)
    copied = 0
    while not 0 < copied < number:  # where it is too fast for us, it has to do it again
        with shell.started("migrate", "--to", target) as process:
            copied = await_some(target)
            process.send_signal(signal.SIGKILL)
        copied = await_some(target)
        if copied == number:
            target = f"{target}-again"
            copied = 0
    found = migrate(shell, "--to", target)
    assert (found["revisions"], found["copied"]) == (number, number - copied)
    if kind == "sqlite":
        assert exported_history(Path(target.removeprefix("sqlite:"))) == exported_history(
            shell.data_dir
        )
    else:
        assert found["engine"] == read_address(target).redacted
        assert exported_history(shell.data_dir).count(b"\n") == number


def await_some(target: str) -> int:
    """How many revisions the target has, once it has some."""
    while not (found := revisions(target)):
        pass
    return found


def revisions(target: str) -> int:
    if target.startswith("sqlite:"):
        file = Path(target.removeprefix("sqlite:")) / STORE_FILE
        return rows(file) if file.exists() else 0
    log = shared_log(read_address(target))
    try:
        return log.connect(None).revision
    except (StoreError, Unavailable):
        return 0  # nobody has founded it yet
    finally:
        log.close()


def rows(file: Path) -> int:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        return int(connection.execute("SELECT count(*) FROM transactions").get)
    except apsw.SQLError:
        return 0  # it has no tables yet
    finally:
        connection.close()
