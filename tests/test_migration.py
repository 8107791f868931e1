"""`signalbox migrate` between real engines: every revision is found, or it is told why not."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from brokers import new_log
from nats_server import NatsServer
from robust import Client, assert_sound, lines, serving
from server.app import STORE_FILE
from server.engines.address import read_address
from server.errors import StoreError, Unavailable
from server.joining import shared_log
from server.migration.moving import Migration
from shell import Shell
from test_history_import import live

REJECTED, USAGE, CANNOT_OPEN = 1, 2, 4
QUESTIONS: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("export", {"history": 1}),
    ("export", {"format": "json", "match": "_signalbox.**"}),
    ("state", {"sort": "changed"}),
    ("tree", {}),
    ("attempts", {"status": "accepted"}),
    ("attempts", {"actor": "tester", "status": "accepted"}),
    ("attempts/first", {}),
    ("attempts/compacted-2", {}),
    ("history/a", {}),
    ("history/n", {}),
    *(("state", {"at": at, "limit": 1000}) for at in range(1, 12)),
    *(("diff", {"from": at, "limit": 1000}) for at in range(1, 12)),
    ("state", {"at": "2002-01-01T00:00:00Z"}),
    ("state", {"at": "2002-01-01T00:00:00Z", "strict": 1}),
)
"""What a store and its copy answer alike."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A store with something of everything that a log can hold."""
    data_dir = tmp_path / "store"
    with serving(data_dir) as server, Client(server) as client:
        live(client)
    return Shell(data_dir)


@contextmanager
def asked(data_dir: Path) -> Iterator[tuple[Client, list[tuple[int, bytes]]]]:
    """What the store answers."""
    with serving(data_dir) as server, Client(server) as client:
        yield client, [client.get(path, **query)[::2] for path, query in QUESTIONS]


def history(data_dir: Path) -> bytes:
    with serving(data_dir) as server, Client(server) as client:
        return client.get("export", history=1).body


def migrated(shell: Shell, *options: str) -> dict[str, Any]:
    done = shell("migrate", "--json", *options)
    assert (done.status, done.err) == (0, ""), done
    found: dict[str, Any] = done.json()
    assert found["verified"]
    assert found["differences"] == []
    return found


def refused(shell: Shell, *options: str) -> tuple[int, str]:
    done = shell("migrate", *options)
    assert done.out == ""
    return done.status, done.err


def test_every_revision_is_found_after_each_move(shell: Shell, tmp_path: Path) -> None:
    with asked(shell.data_dir) as (_, before):
        pass
    copy, other = tmp_path / "copy", new_log("nats")
    for target in (new_log("nats"), new_log("redis"), f"sqlite:{copy}", other):
        found = migrated(shell, "--to", target)
        assert (found["revisions"], found["copied"]) == (9, 9)
        with asked(shell.data_dir) as (_, after):
            assert after == before
    assert found["engine"] == other
    assert_sound(shell.data_dir)
    with asked(copy) as (client, after):
        assert after == before
        assert client.get("status").json()["log"] is None
        assert client.send("redo", of="first", actor="tester").json()["revision"] == 10
    assert migrated(shell, "--to", "sqlite")["engine"] == "sqlite"
    with asked(shell.data_dir) as (client, after):
        assert after == before
        assert client.get("status").json()["log"] is None
    assert assert_sound(copy) == 10


def test_what_follows_it_follows_the_new_log(shell: Shell, tmp_path: Path) -> None:
    old, new = new_log("redis"), new_log("nats")
    node = tmp_path / "node"
    migrated(shell, "--to", old)
    with serving(node, "--engine", old) as server:
        server.set("from.node", 1)
    assert shell.ok("get", "from.node") == "1\n"
    said = shell.ok("migrate", "--to", new)
    assert f"start each of them once with --engine {new}" in said
    assert f"{old} is left as it was" in said
    with serving(node, "--engine", new) as server:
        server.set("from.node", 2)
    assert shell.ok("get", "from.node") == "2\n"
    assert Shell(tmp_path / "third").ok("--engine", old, "get", "from.node") == "1\n"


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_the_second_time_there_is_nothing_to_do(shell: Shell, tmp_path: Path, kind: str) -> None:
    target = new_log(kind)
    before = history(shell.data_dir)
    migrated(shell, "--to", target)
    assert shell.ok("migrate", "--to", target).startswith("Nothing to do")
    copy = f"sqlite:{tmp_path / 'copy'}"
    migrated(shell, "--to", copy)
    assert shell.ok("migrate", "--to", copy).startswith("0 revisions copied")
    assert history(shell.data_dir) == history(tmp_path / "copy") == before


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
        assert client.ask("POST", "/commands/compact").json()["transactions"] == 3
        client.send("add", key="n", actor="tester")


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_store_that_was_thinned_out_answers_as_before(tmp_path: Path, kind: str) -> None:
    shell, copy, node = Shell(tmp_path / "store"), tmp_path / "copy", tmp_path / "node"
    thinned(shell.data_dir)
    with asked(shell.data_dir) as (client, before):
        undone = client.send("undo", of="first", actor="tester").json()
        assert undone["code"] == "compacted"
    target = new_log(kind)
    assert migrated(shell, "--to", target)["revisions"] == 10
    with serving(node, "--engine", target):
        pass
    for folder in (shell.data_dir, node):
        with asked(folder) as (client, after):
            assert after == before
            again = client.send("undo", of="first", actor="tester", dry_run=True).json()
            assert again["message"] == undone["message"]
            assert client.ask("POST", "/commands/compact").json()["changes"] == 0
    migrated(shell, "--to", f"sqlite:{copy}")
    with asked(copy) as (client, after):
        assert after == before
        client.send("set", key="more", value=1)
    other = new_log("redis" if kind == "nats" else "nats")
    migrated(Shell(copy), "--to", other)
    with asked(node) as (_, after):
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
    found = migrated(shell, "--to", target)
    assert (found["revisions"], found["copied"]) == (number, number - copied)
    if kind == "sqlite":
        assert history(Path(target.removeprefix("sqlite:"))) == history(shell.data_dir)
    else:
        assert found["engine"] == read_address(target).shown
        assert history(shell.data_dir).count(b"\n") == number


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


@pytest.mark.parametrize("kind", ["nats", "redis", "sqlite"])
def test_a_place_that_has_something_else_is_refused(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    other = tmp_path / "other"
    target = f"sqlite:{other}" if kind == "sqlite" else new_log(kind)
    with serving(other, *([] if kind == "sqlite" else ["--engine", target])) as server:
        server.set("mine", 1)
    status, said = refused(shell, "--to", target)
    assert status == REJECTED
    assert "has the store" in said
    assert shell.ok("status").count("SQLite") == 1
    assert Shell(other).ok("get", "mine") == "1\n"


@pytest.mark.parametrize("kind", ["nats", "redis", "sqlite"])
def test_a_copy_that_has_gone_on_is_not_overwritten(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    target = f"sqlite:{tmp_path / 'copy'}" if kind == "sqlite" else new_log(kind)
    source = "sqlite" if kind == "sqlite" else f"sqlite:{tmp_path / 'first'}"
    if kind != "sqlite":
        migrated(shell, "--to", source)
    migrated(shell, "--to", target)
    copy = Shell(tmp_path / "copy") if kind == "sqlite" else shell
    copy.ok("set", "mine", "1")
    again = ("--from", source, "--to", target)
    assert refused(shell, *again)[0] == REJECTED
    origin = shell if kind == "sqlite" else Shell(tmp_path / "first")
    origin.ok("set", "other", "1")
    status, said = refused(shell, *again)
    assert (status, "at revision 10" in said) == (REJECTED, True)
    assert copy.ok("get", "mine") == "1\n"


def test_what_differs_is_told_and_nothing_settled(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    migrated(shell, "--to", f"sqlite:{copy}")
    connection = apsw.Connection(str(copy / STORE_FILE))
    connection.execute("UPDATE changes SET value = '\"forged\"' WHERE revision = 1")
    connection.close()
    done = shell("migrate", "--to", f"sqlite:{copy}", "--json")
    assert done.status == REJECTED
    found = done.json()
    assert not found["verified"]
    (problem,) = found["differences"]
    assert problem.startswith("change: sqlite has 1 a ")
    assert f'sqlite:{copy} has 1 a "forged" 1' in problem


def test_what_the_source_gets_meanwhile_is_copied_too(shell: Shell, tmp_path: Path) -> None:
    old, new = new_log("nats"), new_log("redis")
    migrated(shell, "--to", old)
    with (
        serving(tmp_path / "node", "--engine", old) as server,
        Migration(shell.data_dir, new, None) as migration,
    ):

        def go_on(done: int, _: int) -> None:
            if done < 12:
                server.set("n", done)

        migration.copy(go_on)
        migration.compare(go_on)
        server.set("late", 1)
        moved = migration.settle()
        assert (moved.revisions, moved.problems, moved.behind) == (12, [], 1)
        assert (moved.is_led, moved.follows) == (False, old)
    found = migrated(shell, "--to", new)
    assert (found["copied"], found["engine"]) == (1, new)
    assert shell.ok("get", "late") == "1\n"


def test_no_server_may_run_on_it(shell: Shell, tmp_path: Path) -> None:
    with serving(shell.data_dir):
        status, said = refused(shell, "--to", f"sqlite:{tmp_path / 'copy'}")
    assert status == CANNOT_OPEN
    assert "Another Signalbox server is using" in said
    migrated(shell, "--to", f"sqlite:{tmp_path / 'copy'}")
    with serving(tmp_path / "copy"):
        assert refused(shell, "--to", f"sqlite:{tmp_path / 'copy'}")[0] == CANNOT_OPEN


def test_what_a_server_does_not_take_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "store")
    with serving(shell.data_dir) as server, Client(server) as client:
        client.send("set", key="a", value=1)
        body = lines(*({"type": "set", "key": f"k.{n}", "value": "x" * 200_000} for n in range(8)))
        assert client.load(body)[-1]["batches"] == 1
    with NatsServer(tmp_path / "nats") as nats:
        status, said = refused(shell, "--to", f"{nats.url}/store")
        assert status == REJECTED
        assert "Revision 2 has 1600" in said
        assert "max_payload" in said
    with NatsServer(tmp_path / "wide", "max_payload: 8MB") as nats:
        migrated(shell, "--to", f"{nats.url}/store")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--to", "kafka://here"), USAGE, "nats://HOST:PORT/STREAM"),
        (("--to", "memory"), USAGE, "memory"),
        ((), USAGE, "--to"),
        (("--to", "redis://127.0.0.1:1"), CANNOT_OPEN, "cannot be reached"),
        (("--from", "sqlite:/nowhere/at/all", "--to", "redis://127.0.0.1:1"), CANNOT_OPEN, ""),
    ],
)
def test_where_it_cannot_go_is_told(
    shell: Shell, options: tuple[str, ...], status: int, said: str
) -> None:
    found, text = refused(shell, *options)
    assert (found, said in text) == (status, True)


def test_a_store_that_is_not_there_goes_nowhere(tmp_path: Path) -> None:
    status, said = refused(Shell(tmp_path / "none"), "--to", new_log("nats"))
    assert (status, "There is no store" in said) == (CANNOT_OPEN, True)


def test_from_one_log_to_another_without_a_store_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    first, second = new_log("nats"), new_log("redis")
    migrated(shell, "--to", first)
    elsewhere = Shell(tmp_path / "elsewhere")
    found = migrated(elsewhere, "--from", first, "--to", second)
    assert (found["copied"], found["engine"]) == (9, None)
    assert (
        json.loads(Shell(tmp_path / "node").ok("--engine", second, "status", "--json"))["revision"]
        == 9
    )


def test_the_replica_of_a_log_that_is_lost_can_lead_again(shell: Shell, tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as nats:
        migrated(shell, "--to", f"{nats.url}/store")
    assert refused(shell, "--to", "sqlite")[0] == CANNOT_OPEN
    said = shell.ok("migrate", "--from", "sqlite", "--to", "sqlite")
    assert "in its own file from now on" in said
    shell.ok("set", "more", "1")


def test_a_terminal_shows_a_bar(shell: Shell, tmp_path: Path) -> None:
    done = shell.on_terminal("migrate", "--to", f"sqlite:{tmp_path / 'copy'}")
    assert done.status == 0
    assert "Copying" in done.out
    assert "9 revisions copied" in done.out
