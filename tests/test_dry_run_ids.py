"""A dry run with an id that was used before gets the answer that sending it would get."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest

from support.engine_stores import ENGINES, engine_store, full_database
from support.local_store import Store

DRY: Final = {"dry_run": True}
NUMBERS: Final = count(1)

USED: Final[dict[str, dict[str, Any]]] = {
    "accepted": {"type": "add", "key": "n"},
    "unchanged": {"type": "delete", "key": "absent"},
    "conflict": {"type": "set", "key": "there", "value": 2, "expect": "absent"},
    "invalid": {"type": "set", "key": "a..b", "value": 1},
    "no setting": {"type": "set", "key": "_signalbox.theme", "value": 3},
    "batch": {"type": "batch", "commands": [{"type": "toggle", "key": "lamp"}]},
    "undo": {"type": "undo", "of": "base"},
}
OTHER: Final = {"type": "set", "key": "other", "value": 1}


@pytest.fixture(params=ENGINES, scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("dry")
    with engine_store(request.param, folder / "signalbox.db") as made:
        made.run(type="set", key="there", value=1, id="base")
        yield made


@pytest.fixture
def command(request: pytest.FixtureRequest) -> dict[str, Any]:
    return USED[request.param] | {"id": f"id-{next(NUMBERS)}"}


def as_answered(first: dict[str, Any]) -> dict[str, Any]:
    """What a dry run answers about it."""
    return first | {"duplicate": True} | (DRY if first["status"] == "accepted" else {})


@pytest.mark.parametrize("command", USED, indirect=True)
def test_it_is_told_the_first_outcome(store: Store, command: dict[str, Any]) -> None:
    first = store.run(**command).answer()
    revision = store.readmodel.revision
    assert store.run(**command, **DRY).answer() == as_answered(first)
    assert store.readmodel.revision == revision
    assert store.run(**command).answer() == first | {"duplicate": True}


@pytest.mark.parametrize("command", USED, indirect=True)
def test_of_another_command_it_is_told_that_the_id_was_used(
    store: Store, command: dict[str, Any]
) -> None:
    store.run(**command)
    answer = store.run(**OTHER, **DRY, id=command["id"]).answer()
    assert (answer["status"], answer["code"]) == ("rejected", "id_reused")


@pytest.mark.parametrize("command", ["accepted", "unchanged", "conflict"], indirect=True)
def test_it_is_told_so_of_what_shares_its_commit(store: Store, command: dict[str, Any]) -> None:
    other = OTHER | {"id": command["id"]}
    before, first, dry, reused = store.run_all([command | DRY, command, command | DRY, other | DRY])
    assert before.answer().get("duplicate") in (None, False)
    assert dry.answer() == as_answered(first.answer())
    assert reused.answer()["code"] == "id_reused"


def test_it_is_told_nothing_of_what_was_not_written(store: Store) -> None:
    large = {"type": "set", "key": "large", "value": "x" * 100_000, "id": "large"}
    with full_database(store):
        first, dry, reused = store.run_all([large, large | DRY, OTHER | DRY | {"id": "large"}])
    assert first.answer()["code"] == "unavailable"
    for answer in (dry.answer(), reused.answer()):
        assert (answer["revision"], answer["duplicate"], answer["changes"]) == (None, False, 1)


def test_a_dry_run_uses_no_id(store: Store) -> None:
    command = {"type": "add", "key": "n", "id": "dry"}
    for _ in range(2):
        assert store.run(**command, **DRY).answer()["duplicate"] is False
    assert store.run(**OTHER, id="dry").answer()["status"] == "accepted"
