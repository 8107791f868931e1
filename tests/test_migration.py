"""`signalbox migrate` between real engines: every revision is found, or a message says why not."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from shlex import quote

import apsw
import pytest

from signalbox.server.engines.shared_log import LogMetadata, shared_log
from signalbox.server.migration.locations import RemoteLog, parse_location
from signalbox.server.migration.moving import Migration
from signalbox.server.model.errors import StoreError
from signalbox.server.model.events import Change, Transaction
from signalbox.server.store.file_names import STORE_FILE
from support.brokers import new_log
from support.command_line import Shell
from support.harness import ROOT
from support.migrations import (
    exported_history,
    migrate,
    queried,
    refused_migration,
    write_varied_history,
)
from support.nats_server import NatsServer
from support.raw_http import Client, assert_sound, lines, serving
from support.redis_server import RedisServer

pytestmark = pytest.mark.long

REJECTED, USAGE, CANNOT_OPEN = 1, 2, 4


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A store with something of everything that a log can hold."""
    data_dir = tmp_path / "store"
    with serving(data_dir) as server, Client(server) as client:
        write_varied_history(client)
    return Shell(data_dir)


def test_every_revision_is_found_after_each_move(shell: Shell, tmp_path: Path) -> None:
    with queried(shell.data_dir) as (_, before):
        pass
    copy, other = tmp_path / "copy", new_log("nats")
    for target in (new_log("nats"), new_log("redis"), f"sqlite:{copy}", other):
        found = migrate(shell, "--to", target)
        assert (found["revisions"], found["copied"]) == (9, 9)
        with queried(shell.data_dir) as (_, after):
            assert after == before
    assert found["engine"] == other
    assert_sound(shell.data_dir)
    with queried(copy) as (client, after):
        assert after == before
        assert client.get("status").json()["log"] is None
        assert client.send("redo", of="first", actor="tester").json()["revision"] == 10
    assert migrate(shell, "--to", "sqlite")["engine"] == "sqlite"
    with queried(shell.data_dir) as (client, after):
        assert after == before
        assert client.get("status").json()["log"] is None
    assert assert_sound(copy) == 10


def test_what_follows_it_follows_the_new_log(shell: Shell, tmp_path: Path) -> None:
    old, new = new_log("redis"), new_log("nats")
    node = tmp_path / "node"
    migrate(shell, "--to", old)
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
    with serving(tmp_path / "fourth", "--engine", new) as server:
        server.set("from.fourth", 1)
    found = migrate(Shell(node), "--to", "sqlite")  # its replica lacks the last one
    assert (found["copied"], found["revisions"]) == (1, 12)
    assert Shell(node).ok("get", "from.fourth") == "1\n"
    assert assert_sound(node) == 12


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_the_second_time_there_is_nothing_to_do(shell: Shell, tmp_path: Path, kind: str) -> None:
    target = new_log(kind)
    before = exported_history(shell.data_dir)
    migrate(shell, "--to", target)
    assert shell.ok("migrate", "--to", target).startswith("Nothing to do")
    copy = f"sqlite:{tmp_path / 'copy'}"
    migrate(shell, "--to", copy)
    assert shell.ok("migrate", "--to", copy).startswith("0 revisions copied")
    assert exported_history(shell.data_dir) == exported_history(tmp_path / "copy") == before


@pytest.mark.parametrize("kind", ["nats", "redis", "sqlite"])
def test_a_place_that_has_something_else_is_refused(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    other = tmp_path / "other"
    target = f"sqlite:{other}" if kind == "sqlite" else new_log(kind)
    with serving(other, *([] if kind == "sqlite" else ["--engine", target])) as server:
        server.set("mine", 1)
    status, said = refused_migration(shell, "--to", target)
    assert status == REJECTED
    assert "has the store" in said
    assert shell.ok("status").count("SQLite") == 1
    assert Shell(other).ok("get", "mine") == "1\n"


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_target_that_is_replaced_meanwhile_is_left_alone(tmp_path: Path, kind: str) -> None:
    start = NatsServer if kind == "nats" else RedisServer
    first = start(tmp_path / "first")
    place = parse_location(f"{first.url}/0" if kind == "redis" else first.url, tmp_path)
    assert place.address is not None
    with closing(RemoteLog(shared_log(place.address), LogMetadata("ours"))) as target:
        first.kill()
        with start(tmp_path / "second", port=first.port):
            other = shared_log(place.address)
            other.connect(LogMetadata("another"))
            with pytest.raises(StoreError, match="has the store another now"):
                target.append(
                    [Transaction(1, "x", "me", 1, "set", b"", [Change("a", "1", True)])], 0
                )
            assert other.last_revision() == 0
            other.close()


@pytest.mark.parametrize("kind", ["nats", "redis", "sqlite"])
def test_a_copy_that_has_gone_on_is_not_overwritten(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    target = f"sqlite:{tmp_path / 'copy'}" if kind == "sqlite" else new_log(kind)
    source = "sqlite" if kind == "sqlite" else f"sqlite:{tmp_path / 'first'}"
    if kind != "sqlite":
        migrate(shell, "--to", source)
    migrate(shell, "--to", target)
    copy = Shell(tmp_path / "copy") if kind == "sqlite" else shell
    copy.ok("set", "mine", "1")
    again = ("--from", source, "--to", target)
    status, said = refused_migration(shell, *again)
    assert status == REJECTED
    assert f"{target} is at revision 10, {source} only at 9: it has gone on by itself" in said
    origin = shell if kind == "sqlite" else Shell(tmp_path / "first")
    origin.ok("set", "other", "1")
    status, said = refused_migration(shell, *again)
    assert (status, "at revision 10" in said) == (REJECTED, True)
    assert "both have gone on by themselves. Nothing was merged." in said
    assert ("another folder" if kind == "sqlite" else f"NEW --engine {quote(target)}") in said
    assert "signalbox import" in said
    assert copy.ok("get", "mine") == "1\n"


def test_what_differs_is_reported_and_nothing_is_switched(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    migrate(shell, "--to", f"sqlite:{copy}")
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
    migrate(shell, "--to", old)
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
        moved = migration.switch()
        assert (moved.revisions, moved.problems, moved.new_revisions) == (12, [], 1)
        assert (moved.is_log_moved, moved.log_location) == (False, old)
    found = migrate(shell, "--to", new)
    assert (found["copied"], found["engine"]) == (1, new)
    assert shell.ok("get", "late") == "1\n"


def test_no_server_may_run_on_it(shell: Shell, tmp_path: Path) -> None:
    with serving(shell.data_dir):
        status, said = refused_migration(shell, "--to", f"sqlite:{tmp_path / 'copy'}")
    assert status == CANNOT_OPEN
    assert re.match(r"signalbox: Another Signalbox server .*is using", said)
    migrate(shell, "--to", f"sqlite:{tmp_path / 'copy'}")
    with serving(tmp_path / "copy"):
        assert refused_migration(shell, "--to", f"sqlite:{tmp_path / 'copy'}")[0] == CANNOT_OPEN


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_a_server_does_not_take_is_reported_before_anything_is_copied(
    tmp_path: Path, kind: str
) -> None:
    shell = Shell(tmp_path / "store")
    with serving(shell.data_dir) as server, Client(server) as client:
        client.send("set", key="a", value=1)
        body = lines(*({"type": "set", "key": f"k.{n}", "value": "x" * 200_000} for n in range(8)))
        assert client.load(body)[-1]["batches"] == 1
    if kind == "redis":
        migrate(shell, "--to", new_log("redis"))
    with NatsServer(tmp_path / "nats") as nats:
        status, said = refused_migration(shell, "--to", f"{nats.url}/store")
        assert status == REJECTED
        assert "Revision 2 has 1600" in said
        assert "Nothing was copied, and the log there stays empty" in said
        assert "max_payload" in said
        place = parse_location(f"{nats.url}/store", tmp_path)
        assert place.address is not None
        with closing(RemoteLog(shared_log(place.address), None)) as target:
            assert target.last_revision() == 0
    with NatsServer(tmp_path / "nats", "max_payload: 8MB", nats.port) as nats:
        assert migrate(shell, "--to", f"{nats.url}/store")["copied"] == 2


def test_what_is_just_too_large_is_found_before_anything_is_copied(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "store")
    with serving(shell.data_dir) as server, Client(server) as client:
        client.send("set", key="a", value=1)
        client.send("set", key="b", value="x" * 130_000)
    with NatsServer(tmp_path / "nats", f"max_payload: {512 + 130_010}") as nats:
        status, said = refused_migration(shell, "--to", f"{nats.url}/store")
        assert (status, "Revision 2 has 1300" in said) == (REJECTED, True)
        assert "Nothing was copied" in said


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
def test_where_it_cannot_go_is_reported(
    shell: Shell, options: tuple[str, ...], status: int, said: str
) -> None:
    found, text = refused_migration(shell, *options)
    assert (found, said in text) == (status, True)


def test_a_store_that_is_not_there_goes_nowhere(tmp_path: Path) -> None:
    status, said = refused_migration(Shell(tmp_path / "none"), "--to", new_log("nats"))
    assert (status, "There is no store" in said) == (CANNOT_OPEN, True)


def test_from_one_log_to_another_without_a_store_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    first, second = new_log("nats"), new_log("redis")
    migrate(shell, "--to", first)
    elsewhere = Shell(tmp_path / "elsewhere")
    found = migrate(elsewhere, "--from", first, "--to", second)
    assert (found["copied"], found["engine"]) == (9, None)
    assert (
        json.loads(Shell(tmp_path / "node").ok("--engine", second, "status", "--json"))["revision"]
        == 9
    )


def run_advice(said: str) -> str:
    """What the last command that a message names says when it is run as it stands."""
    command = said.rpartition("signalbox ")[2]
    done = subprocess.run(
        f"{quote(sys.executable)} -m signalbox {command}",
        shell=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "SIGNALBOX" not in name},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_replica_of_a_log_that_is_lost_can_lead_again(shell: Shell, tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as nats:
        migrate(shell, "--to", f"{nats.url}/store")
    status, said = refused_migration(shell, "--to", "sqlite")
    assert status == CANNOT_OPEN
    assert "up to revision 9, can be moved instead" in said
    assert "in its own file from now on" in run_advice(said)
    shell.ok("set", "more", "1")


def test_a_replica_founds_a_log_that_is_lost_anew(shell: Shell, tmp_path: Path) -> None:
    old, new = NatsServer(tmp_path / "nats"), new_log("redis")
    migrate(shell, "--to", f"{old.url}/store")
    old.kill()
    elsewhere = Shell(tmp_path / "elsewhere")
    said = elsewhere.ok("migrate", "--from", f"sqlite:{shell.data_dir}", "--to", new)
    assert said.startswith("9 revisions copied")
    assert str(elsewhere.data_dir) not in said
    assert f"has its log at {new} from now on" in run_advice(said)
    shell.ok("set", "more", "1")
    assert Shell(tmp_path / "node").ok("--engine", new, "get", "more") == "1\n"


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_log_that_is_lost_comes_back_at_the_same_address(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    start = NatsServer if kind == "nats" else RedisServer
    first, node = start(tmp_path / "first"), Shell(tmp_path / "node")
    target = f"{first.url}/store" if kind == "nats" else f"{first.url}/0?stream=store"
    migrate(shell, "--to", target)
    node.ok("--engine", target, "ls")
    shell.ok("set", "late", "1")
    first.kill()
    with start(tmp_path / "second", port=first.port):
        assert (shell("ls").status, node("ls").status) == (CANNOT_OPEN, CANNOT_OPEN)
        assert shell.ok("verify").startswith("sound: revision 10,")
        assert node.ok("verify").startswith("sound: revision 9,")
        said = shell.ok("migrate", "--from", "sqlite", "--to", target)
        assert f"has its log at {target}, as before" in said
        assert "left as it was" not in said
        assert node.ok("get", "late") == "1\n"


def test_one_revision_is_printed_in_the_singular(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "store")
    shell.ok("set", "a", "1")
    assert shell.ok("migrate", "--to", new_log("nats")).startswith("1 revision copied from")


def test_a_terminal_shows_a_bar(shell: Shell, tmp_path: Path) -> None:
    done = shell.on_terminal("migrate", "--to", f"sqlite:{tmp_path / 'copy'}")
    assert done.status == 0
    assert "Copying" in done.out
    assert "9 revisions copied" in done.out
