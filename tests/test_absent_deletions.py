"""No transaction deletes what is not there; where an old log says so, it changes nothing."""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server import maintenance
from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import LogMetadata, SharedLog, shared_log
from signalbox.server.http.commands.import_batches import Batch, batch_limits
from signalbox.server.migration.copying import copy
from signalbox.server.migration.locations import LocalLog, RemoteLog
from signalbox.server.model.commands import Attempt, read_attempt, read_line
from signalbox.server.model.decide import Changes, State, prepare_command
from signalbox.server.model.events import Change, Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.values import same
from signalbox.server.read.state_query import Filter
from signalbox.server.store import log_table
from support.brokers import new_log
from support.engine_stores import ENGINES, NodeStore, engine_store
from support.harness import Server
from support.local_store import Store
from support.raw_http import NDJSON

STORE = "signalbox.db"
NUMBERS = count(1)


@pytest.fixture(params=ENGINES, scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("absent")
    with engine_store(request.param, folder / STORE) as made:
        yield made
    assert_sound(folder, ignored=0)


def assert_sound(folder: Path, ignored: int) -> None:
    found = maintenance.verify(folder)
    assert (found["ok"], found["problems"], noted(found)) == (True, [], ignored)


def noted(found: dict[str, Any]) -> int:
    """How many deletions of absent keys are reported for information."""
    return sum(int(note.split()[0]) for note in found["notes"] if "not there" in note)


def imported(store: Store, *lines: bytes) -> Outcome:
    """Lines of one batch of an import."""
    numbered = [
        (number, prepare_command(read_line(line))) for number, line in enumerate(lines, start=1)
    ]
    batch = Batch(numbered, "me", False, batch_limits(None))
    name = f"import-{next(NUMBERS)}"
    attempt = Attempt(
        name, "me", "import", b"f", None, decide=batch.decide, preload_keys=batch.keys
    )
    return store.writer.submit(attempt)


SET = b'{"type":"set","key":"x","value":1}'
DELETE = b'{"type":"delete","key":"x"}'
THERE_AND_BACK = (
    b'{"type":"set","key":"from.a","value":1}',
    b'{"type":"rename","key":"from.","to":"to."}',
    b'{"type":"delete_prefix","prefix":"to."}',
)


@pytest.mark.parametrize("lines", [(SET, DELETE), THERE_AND_BACK])
def test_what_comes_and_goes_in_one_transaction_is_no_change(
    store: Store, lines: Sequence[bytes]
) -> None:
    for _ in range(3):
        before = store.readmodel.revision
        outcome = imported(store, *lines)
        assert (outcome.error, outcome.changes) == (None, 0)
        assert store.readmodel.revision == before
        store.set(x=1)
        store.run(type="delete", key="x")


def test_what_is_in_the_end_as_it_was_keeps_its_revision(store: Store) -> None:
    store.set(same=1, other=1)
    item = store.readmodel.current.get("same")
    outcome = imported(
        store,
        b'{"type":"set","key":"same","value":2}',
        b'{"type":"set","key":"other","value":2}',
        b'{"type":"set","key":"same","value":1.0}',
    )
    assert outcome.changes == 1
    assert store.readmodel.current.get("same") == item


def test_the_writer_refuses_what_no_transaction_can_be(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(state: State) -> Changes:
        assert state.get("never.there") is None
        return {"never.there": None}

    before = store.readmodel.revision
    attempt = read_attempt({"type": "delete", "key": "never.there"}, "me", "faulty")
    outcome = store.writer.submit(attempt._replace(decide=faulty))
    assert outcome.answer()["code"] == "internal"
    assert store.readmodel.revision == before
    assert "not there" in caplog.text


KEYS = st.sampled_from(["m.a", "m.b", "n.a"])
MEMBERS = st.one_of(
    st.builds(lambda k, v: {"type": "set", "key": k, "value": v}, KEYS, st.integers(1, 2)),
    st.builds(lambda k: {"type": "delete", "key": k}, KEYS),
    st.builds(lambda k: {"type": "toggle", "key": k}, KEYS),
    st.just({"type": "delete_prefix", "prefix": "m."}),
    st.builds(
        lambda pair: {"type": "rename", "key": pair[0], "to": pair[1], "replace": True},
        st.sampled_from([("m.a", "m.b"), ("m.b", "n.a"), ("m.", "n."), ("n.", "m.")]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(MEMBERS, min_size=1, max_size=6), min_size=1, max_size=4), st.booleans())
def test_every_change_in_the_log_changes_something(
    batches: list[list[dict[str, Any]]], is_import: bool
) -> None:
    with Store() as store:
        for members in batches:
            if is_import:
                imported(store, *(json.dumps(member).encode() for member in members))
            else:
                store.run(type="batch", commands=members)
            store.run(type="undo")
        there: dict[str, str] = {}
        for one in store.readmodel.log.transactions(0, 100):
            for key, raw, is_new in one.changes:
                assert is_new is (raw is not None and key not in there)
                before = there.pop(key, None)
                if raw is None:
                    assert before is not None
                else:
                    assert before is None or not same(raw, before)
                    there[key] = raw


# What older programs have written.


def history() -> list[Transaction]:
    """A key that comes and goes, is deleted twice more, and comes again; one that never was."""
    made = [
        [Change("x", "1", True), Change("y", "1", True)],
        [Change("x", None)],
        [Change("x", None), Change("z", "1", True)],
        [Change("never", None), Change("x", None)],
        [Change("x", "2", True)],
        [Change("x", None)],
        [Change("x", None), Change("y", "2")],
    ]
    return [
        Transaction(number, f"old-{number}", "me", 1_800_000_000_000, "batch", b"f", changes)
        for number, changes in enumerate(made, start=1)
    ]


IGNORED = 4
STATES = [set(), {"x", "y"}, {"y"}, {"y", "z"}, {"y", "z"}, {"x", "y", "z"}, {"y", "z"}, {"y", "z"}]
"""The keys at each revision."""


def assert_whole(store: Store) -> None:
    """State, totals and items of every moment, and what is undone."""
    for at, keys in enumerate(STATES):
        page = store.readmodel.at(at).page(Filter())
        assert ({item.key for item in page.items}, page.total) == (keys, len(keys))
    assert (
        store.readmodel.current.keys() == store.readmodel.current.count(Filter()) == len(STATES[-1])
    )
    assert store.readmodel.current.tree().total == len(STATES[-1])


def assert_goes_on(store: Store) -> None:
    """More of the same; what did nothing neither is undone nor stands in the way."""
    assert store.run(type="undo", of="old-6").changes == 1  # old-7 deleted x, which was gone
    assert store.run(type="undo", of="old-3").changes == 1  # z alone
    for _ in range(3):
        assert (
            store.run(type="delete", key="x").changes
            + store.run(type="set", key="x", value=1).changes
        )
    assert store.readmodel.current.keys() == store.readmodel.current.count(Filter()) == 2


def damage(path: Path) -> None:
    """The file as an older program left it: a key deleted twice has too many rows in `lives`."""
    with Store(path) as store:
        connection = store.database.writer
        log_table.insert(connection, history())
        connection.execute(
            "INSERT INTO state (key, revision, born, value) VALUES "
            "('y', 7, 1, '2'), ('z', 3, 3, '1');"
            "INSERT INTO lives (key, born, died) VALUES ('x', 1, 2), ('x', 0, 3), ('x', 5, 6)"
        )


def test_a_file_that_was_damaged_so_is_sound_after_a_rebuild(tmp_path: Path) -> None:
    damage(tmp_path / STORE)
    before = maintenance.verify(tmp_path)
    assert noted(before) == IGNORED
    after = maintenance.rebuild(tmp_path)
    assert (after["ok"], noted(after)) == (True, IGNORED)
    with Store(tmp_path / STORE) as store:
        assert_whole(store)
        assert_goes_on(store)
    assert_sound(tmp_path, IGNORED)


def test_its_history_is_the_same_log_in_another_store(tmp_path: Path) -> None:
    first, copied = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    damage(first / STORE)
    assert maintenance.rebuild(first)["ok"]
    source, target = Server(first), Server(copied)
    try:
        told = source.get("/queries/export?history=1").body
        answer = target.request("POST", "/commands/import", told, NDJSON)
        done = json.loads(answer.body.splitlines()[-1])
        assert (done["status"], done["accepted"]) == ("accepted", len(history()))
        assert target.get("/queries/export?history=1").body == told
        assert (source.stop(), target.stop()) == (0, 0)
    finally:
        source.kill()
        target.kill()
    assert_sound(copied, IGNORED)
    with Store(copied / STORE) as store:
        assert_whole(store)
        assert_goes_on(store)


def test_a_rebuild_in_small_steps_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "CHANGES_PER_STEP", 1)
    monkeypatch.setattr("signalbox.server.store.key_counts.MAX_LISTED", 0)
    damage(tmp_path / STORE)
    assert maintenance.rebuild(tmp_path)["ok"]
    with Store(tmp_path / STORE) as store:
        assert_whole(store)


@pytest.fixture(params=["nats", "redis"])
def old_log(request: pytest.FixtureRequest) -> str:
    """The address of a log with that history."""
    address = new_log(request.param)
    raw: SharedLog = shared_log(read_address(address))
    raw.connect(LogMetadata("0123456789abcdef"))
    for one in history():
        raw.append([one], one.revision - 1)
    raw.close()
    return address


def followed(path: Path, address: str, together: int) -> NodeStore:
    """A replica that has taken in the log, so many transactions at once."""
    store = NodeStore(path, address)
    while piece := store.log.read(store.readmodel.revision, together):
        store.strategy.log_applier.receive(piece)
    return store


@pytest.mark.parametrize("together", [1, 3, 100])
def test_a_replica_ignores_them_whatever_comes_together(
    tmp_path: Path, old_log: str, together: int
) -> None:
    with followed(tmp_path / STORE, old_log, together) as store:
        assert_whole(store)
        assert_goes_on(store)
    assert_sound(tmp_path, IGNORED)
    assert maintenance.rebuild(tmp_path)["ok"]


def test_a_log_with_them_is_copied_to_a_file(tmp_path: Path, old_log: str) -> None:
    source = RemoteLog(shared_log(read_address(old_log)), None)
    target = LocalLog(tmp_path, source.metadata, "file")
    assert copy(source, target, lambda _done, _end: None) == len(history())
    source.close()
    target.close()
    assert_sound(tmp_path, IGNORED)
    with Store(tmp_path / STORE) as store:
        assert_whole(store)
