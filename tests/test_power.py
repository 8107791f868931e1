"""Power failure at any moment: what was acknowledged is there, whole, and nothing is half there."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from signalbox.server.maintenance import verify
from signalbox.server.model.errors import StoreError
from signalbox.server.store import attempts_table, database
from signalbox.server.store.database import Database
from signalbox.server.store.file_names import STORE_FILE
from support.local_store import Store
from support.power_failure import VFS_NAME, Acknowledged, Delete, Disk, Moment, Sync, recorder

pytestmark = pytest.mark.long

State = dict[str, str]


class History(NamedTuple):
    """What happened to the disk, the state after each revision, and which answers were sent."""

    trace: list[Moment]
    states: list[State]
    told: list[tuple[int, str]]
    """After how many moments which command id was answered."""


def commands() -> Iterator[list[dict[str, Any]]]:
    """Groups that wait together: small, large, rejected, unchanged, many keys, deletions."""
    yield [{"type": "set", "key": "first", "value": 1}]
    for number in range(6):
        yield [{"type": "set", "key": f"a.{number}", "value": "x" * 700 * number}]
        yield [{"type": "toggle", "key": "first"}, {"type": "set", "key": "first", "value": 1}]
        yield [{"type": "add", "key": f"n.{part}", "by": number + 1} for part in range(5)]
    many = [{"type": "set", "key": f"m.{number}", "value": "y" * 40} for number in range(600)]
    yield [{"type": "batch", "commands": many}]
    yield [{"type": "rename", "key": "a.", "to": "b.c."}]
    yield [{"type": "delete_prefix", "prefix": "m."}]
    yield [{"type": "set", "key": "last", "value": "z" * 20_000}]


def lived(folder: Path, prepare: Callable[[Database], None] = lambda _: None) -> History:
    """Run all commands on a recorded disk, with small checkpoints and one orderly restart."""
    with recorder() as recorded:
        path = Path(f"file:{folder / STORE_FILE}?vfs={VFS_NAME}")
        history = History(recorded.trace, [{}], [])
        groups = list(commands())
        for part in (groups[:12], groups[12:]):
            with Store(path) as store:
                store.database.writer.pragma("wal_autocheckpoint", 12)
                prepare(store.database)
                for group in part:
                    live(store, history, group)
        return history


def live(store: Store, history: History, group: list[dict[str, Any]]) -> None:
    found = store.run_all(group)
    for transaction in store.engine.read(len(history.states) - 1, 100):
        state = dict(history.states[-1])
        for change in transaction.changes:
            state.pop(change.key, None)
            if change.raw is not None:
                state[change.key] = change.raw
        history.states.append(state)
    history.trace.append(Acknowledged(store.readmodel.revision))
    history.told.extend((len(history.trace), outcome.attempt.id) for outcome in found)


def complaint(image: Path, history: History, played: int) -> str:
    """What is wrong with the store that the power cut after `played` moments left, if anything."""
    told = [one.revision for one in history.trace[:played] if isinstance(one, Acknowledged)]
    due = [identity for when, identity in history.told if when <= played]
    try:
        state, gone = opened(image, due)
    except StoreError as error:
        return str(error)
    found = verify(image)
    if not found["ok"]:
        return f"verify finds {found['problems']}"
    if found["revision"] < max(told, default=0):
        return f"revision {max(told)} was acknowledged, {found['revision']} is there"
    if state != history.states[found["revision"]]:
        return f"the state is not that of revision {found['revision']}"
    return f"the outcomes of {gone} were told and are gone" if gone else ""


def opened(image: Path, due: list[str]) -> tuple[State, list[str]]:
    """The state that a server finds at its next start, and which of the `due` outcomes it lacks."""
    store = Database(image / STORE_FILE)
    try:
        state = dict(store.writer.execute("SELECT key, value FROM state"))
        gone = [
            identity
            for identity in due
            if attempts_table.first_answer(store.writer, identity) is None
        ]
    finally:
        store.close()
    return state, gone


def complaints(
    history: History, folder: Path, moments: set[int], survives: random.Random | None
) -> Iterator[str]:
    """Cut the power after each of these numbers of moments and look at what is left."""
    disk, image = Disk(), folder / "image"
    for played, moment in enumerate(history.trace, start=1):
        disk.play(moment)
        if played in moments:
            disk.cut(image, survives)
            if any(isinstance(one, Acknowledged) for one in history.trace[:played]):
                (image / "endpoint.json").write_text("{}")  # a server answered
            if said := complaint(image, history, played):
                yield f"after {played} moments: {said}"


def decisive(history: History) -> set[int]:
    """The moments right before and after each sync, deletion and acknowledgement."""
    return {
        near
        for played, moment in enumerate(history.trace, start=1)
        if isinstance(moment, Sync | Delete | Acknowledged)
        for near in (played - 1, played)
    }


@pytest.fixture(scope="module", params=[database.CHECKPOINT_DUE_PAGES, 4], ids=["within", "beside"])
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """Checkpoints are made within a commit, or beside it, which is sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "CHECKPOINT_DUE_PAGES", request.param)
        yield lived(tmp_path_factory.mktemp("recorded"))


def test_the_recorded_life_checkpoints_and_syncs(history: History) -> None:
    """Otherwise the tests below would see nothing."""
    synced = [moment.name for moment in history.trace if isinstance(moment, Sync)]
    assert synced.count(STORE_FILE) > 5
    assert synced.count(STORE_FILE + "-wal") > len(list(commands()))
    assert len(history.states) > 25


def test_what_was_acknowledged_survives_the_loss_of_all_that_was_not_synced(
    history: History, tmp_path: Path
) -> None:
    assert list(complaints(history, tmp_path, decisive(history), None)) == []


def test_writes_that_are_partly_there_make_no_half_transaction(
    history: History, tmp_path: Path
) -> None:
    chance = random.Random(20261123)
    every = set(range(1, len(history.trace) + 1))
    assert list(complaints(history, tmp_path, every, chance)) == []


def test_without_syncs_the_same_look_finds_losses(tmp_path: Path) -> None:
    """The harness can see: a store that does not sync loses what it acknowledged."""

    def careless(store: Database) -> None:
        store.writer.pragma("synchronous", "OFF")

    (tmp_path / "made").mkdir()
    history = lived(tmp_path / "made", careless)
    found = list(complaints(history, tmp_path, decisive(history), None))
    assert any("was acknowledged" in said for said in found)
