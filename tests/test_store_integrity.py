"""Every transaction carries a checksum: whatever is altered behind the program's back is named."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import pytest

from conftest import StartServer
from signalbox.server import maintenance
from signalbox.server.migration.moving import Migration
from signalbox.server.model import events
from signalbox.server.model.errors import StoreError, UnknownVersion
from signalbox.server.model.events import Change, Transaction
from signalbox.server.store import log_table
from signalbox.server.write import removal, retention_plans
from support.local_store import Store
from support.raw_http import Client, lines

FLIPS: Final = 300
FILE: Final = "signalbox.db"
TABLES: Final = (
    *("meta", "transactions", "changes", "attempts", "reversals", "state", "lives"),
    *("key_counts", "horizons"),
)


def fill(store: Store) -> None:
    """Something in every table: keys that come and go, undo and redo, refusals, a setting."""
    store.set(lamp=True, lamp__level=3, note="grüß dich", odd={"x": [1, 1.0, None]})
    store.run(type="set", key="lamp.level", value=4, actor="cron")
    store.run(type="delete", key="note")
    store.run(type="undo")
    store.run(type="redo")
    store.run(type="add", key="odd", id="refused")
    store.run(type="set", key="lamp", value=True, id="unchanged")
    store.run(type="set", key="_signalbox.retention.k", value={"max_age": "7d"})
    many = [{"type": "set", "key": f"k.{n}", "value": "x" * n} for n in range(60)]
    store.run(type="batch", commands=many, id="many")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a store that was closed in order."""
    folder = tmp_path_factory.mktemp("whole")
    with Store(folder / FILE) as store:
        fill(store)
        store.database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return (folder / FILE).read_bytes()


@pytest.fixture
def folder(tmp_path: Path, whole: bytes) -> Path:
    (tmp_path / FILE).write_bytes(whole)
    return tmp_path


def edit(folder: Path, *statements: str) -> None:
    connection = apsw.Connection(str(folder / FILE))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def dump(path: Path) -> list[Any]:
    """All that can be read of it."""
    connection = apsw.Connection(str(path))
    found: list[Any] = [connection.pragma("user_version")]
    found += connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    for table in TABLES:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        shown = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in columns)
        found += connection.execute(f"SELECT {shown} FROM {table}").fetchall()
    connection.close()
    return found


def test_a_store_is_sound_with_something_in_every_table(folder: Path) -> None:
    found = maintenance.verify(folder)
    assert (found["ok"], found["problems"], found["notes"]) == (True, [], [])
    connection = apsw.Connection(str(folder / FILE))
    for table in TABLES:
        assert connection.execute(f"SELECT count(*) FROM {table}").get, table


ALTERED: Final = {
    "a value": ("UPDATE changes SET value = '5' WHERE revision = 2", "lamp.level in transaction 2"),
    "a deletion": ("UPDATE changes SET is_new = 1 WHERE revision = 3", "note in transaction 3"),
    "an actor": ("UPDATE transactions SET actor = 'cro_' WHERE revision = 2", "Transaction 2"),
    "a time": ("UPDATE transactions SET at = at + 1 WHERE revision = 7", "Transaction 7"),
    "a type": ("UPDATE transactions SET type = 'add' WHERE revision = 2", "Transaction 2"),
    "an id": ("UPDATE transactions SET command_id = 'other' WHERE revision = 7", "Transaction 7"),
    "a fingerprint": (
        "UPDATE transactions SET fingerprint = x'00' WHERE revision = 2",
        "Transaction 2",
    ),
    "what is reversed": ("UPDATE reversals SET target = 2 WHERE revision = 4", "Transaction 4"),
    "the version": ("UPDATE transactions SET version = 1 WHERE revision = 2", "Transaction 2"),
    "a checksum": ("UPDATE transactions SET checksum = NULL WHERE revision = 2", "Transaction 2"),
    "no transaction": (
        "DELETE FROM transactions WHERE revision = 7",
        "in transaction 7 belongs to no transaction",
    ),
    "an outcome": (
        "UPDATE attempts SET details = replace(details, 'rejected', 'accepted')",
        "The table attempts",
    ),
    "a horizon": ("UPDATE horizons SET at = 1", "The table horizons"),
    "the store's id": ("UPDATE meta SET value = '0' WHERE name = 'store'", "The table meta"),
    "how many keys lay where": (
        "UPDATE key_counts SET buckets = zeroblob(8)",
        "The table key_counts",
    ),
    "the schema": (
        "ALTER TABLE attempts RENAME COLUMN details TO detail",
        "The definition of table attempts",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_is_named(folder: Path, name: str) -> None:
    statement, named = ALTERED[name]
    edit(folder, statement)
    found = maintenance.verify(folder)
    assert not found["ok"]
    assert any(named in problem for problem in found["problems"]), found["problems"]
    assert "backup" in found["advice"]


def test_a_flipped_bit_is_refused_or_named_unless_it_is_outside_of_the_content(
    tmp_path: Path, whole: bytes
) -> None:
    path, chance = tmp_path / FILE, random.Random(12)
    path.write_bytes(whole)
    before, harmless = dump(path), 0
    for _ in range(FLIPS):
        content, place = bytearray(whole), chance.randrange(len(whole))
        content[place] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            is_sound = maintenance.verify(tmp_path)["ok"]
        except StoreError:
            continue
        if is_sound:
            harmless += 1
            assert dump(path) == before, place
    assert harmless < FLIPS


def remove(connection: apsw.Connection) -> None:
    sweep = removal.Sweep(connection)
    step = sweep.remove(connection, 1_000)
    assert step.removed.changes.total() == 1
    sweep.advance(step)
    assert sweep.is_done
    sweep.store_progress(connection)


def test_what_retention_leaves_of_a_transaction_still_fits(tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        fill(store)
        store.run(type="set", key="k.7", value="new")
        now = int(store.clock() * 1000) + 8 * 86_400_000
        wanted = retention_plans.plans(store.database.writer, now)
        store.writer.run_between_commits(
            lambda writer: retention_plans.advance_horizons(writer, wanted)
        )
        store.writer.run_between_commits(remove)
        (many,) = (one for one in log_table.read(store.database.writer, 0, 99) if one.id == "many")
        assert (many.compacted, len(many.changes)) == (1, 59)
    assert maintenance.verify(tmp_path)["problems"] == []
    edit(tmp_path, "UPDATE changes SET value = '\"y\"' WHERE key = 'k.8'")
    assert any("k.8" in one for one in maintenance.verify(tmp_path)["problems"])


# What an older Signalbox has written.


@pytest.fixture
def older(folder: Path) -> Path:
    """The store as the second schema had it."""
    drops = [
        f"ALTER TABLE {table} DROP COLUMN checksum"
        for table in TABLES
        if table not in ("reversals", "state", "lives")
    ]
    edit(
        folder,
        *drops,
        "UPDATE transactions SET version = 1",
        "DELETE FROM meta WHERE name = 'unsealed'",
        "PRAGMA user_version = 2",
    )
    return folder


def test_an_older_store_is_verified_as_it_is_and_stays_so(older: Path) -> None:
    before = (older / FILE).read_bytes()
    found = maintenance.verify(older)
    assert (found["ok"], len(found["notes"])) == (True, 1)
    assert "7 transactions" in found["notes"][0]
    assert (older / FILE).read_bytes() == before


def test_an_older_store_goes_on_with_checksums(older: Path) -> None:
    with Store(older / FILE) as store:
        store.run(type="set", key="late", value=1)
        assert store.database.writer.pragma("user_version") == 3
        assert list(log_table.checksums(store.database.writer, 1, 99)) == [8]
    assert maintenance.verify(older)["ok"]
    edit(older, "UPDATE changes SET value = '2' WHERE revision = 8")
    assert "late in transaction 8" in maintenance.verify(older)["problems"][0]


# Logs that nodes share.


def one(revision: int = 3) -> Transaction:
    changes = [Change("a", "1", True), Change("b", None)]
    return Transaction(revision, "c1", "me", 1_000, "set", b"f" * 16, changes, of=(1,))


def test_an_event_that_is_not_as_it_was_written_is_refused_by_its_revision() -> None:
    data = events.encode(one())
    assert events.decode(data, 3) == one()
    refused = 0
    for place in range(len(data)):
        for bit in range(8):
            content = bytearray(data)
            content[place] ^= 1 << bit
            with pytest.raises(StoreError, match=r"revision 3|Transaction 3"):
                events.decode(bytes(content), 3)
            refused += 1
    assert refused == 8 * len(data)
    with pytest.raises(StoreError, match="revision 4"):
        events.decode(data, 4)


def test_an_event_of_the_first_version_becomes_one_of_today() -> None:
    _, *content, of, compacted, _ = one()
    data = msgspec.msgpack.encode((1, *content, of, compacted))
    assert events.decode(data, 3) == one()


def test_an_event_of_a_later_version_stops_loudly() -> None:
    data = msgspec.msgpack.encode((4, "whatever", 1))
    with pytest.raises(UnknownVersion, match="version 4"):
        events.decode(data, 3)


# Histories that are exported, and logs that are moved.


@pytest.fixture
def history(server: StartServer) -> Iterator[tuple[Client, list[dict[str, Any]]]]:
    """A new store's client, and the exported lines of another."""
    with Client(server()) as told, Client(server()) as client:
        for value in range(3):
            told.send("set", key="lamp", value=value)
        told.send("batch", commands=[{"type": "set", "key": k, "value": 1} for k in ("a", "b")])
        (partly,) = told.get("export", history=1, match="a").body.splitlines()
        assert "checksum" not in json.loads(partly)
        yield client, [json.loads(line) for line in told.get("export", history=1).body.splitlines()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"changes": [{"key": "lamp", "value": 7}]},
        {"actor": "nobody"},
        {"at": "2099-01-01T00:00:00.000Z"},
        {"checksum": "00000000"},
    ],
)
def test_a_line_of_a_history_that_was_altered_is_refused_by_its_number(
    history: tuple[Client, list[dict[str, Any]]], wrong: dict[str, Any]
) -> None:
    client, records = history
    assert all(re.fullmatch("[0-9a-f]{8}", record["checksum"]) for record in records)
    done = client.load(lines(*records[:2], records[2] | wrong))[-1]
    assert (done["status"], done["accepted"]) == ("rejected", 2)  # those that stand before it
    assert re.search(r"Line 3: .*checksum", done["message"])
    del records[2]["checksum"]  # as an older Signalbox has exported it
    assert client.load(lines(*records))[-1]["accepted"] == 2  # the others


def test_a_damaged_log_is_not_moved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("target")
    edit(folder, "UPDATE changes SET value = '5' WHERE revision = 2")
    with (
        Migration(folder, f"sqlite:{target / 'new'}", None) as migration,
        pytest.raises(StoreError, match=r"Revision 2 \(set by cron\).* is damaged"),
    ):
        migration.copy(lambda *_: None)


def test_an_id_that_may_be_used_again_leaves_the_transaction_sound(tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        store.run(type="set", key="a", value=1, id="once")
        log_table.release_id(store.database.writer, "once")
        (found,) = log_table.read(store.database.writer, 0, 1)
        assert found.id == "once@1"
    assert maintenance.verify(tmp_path)["ok"]
