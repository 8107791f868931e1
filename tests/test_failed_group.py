"""After a group could not be written, only outcomes are given that hold without it."""

from collections.abc import Iterator
from typing import Any

import pytest

from signalbox.server.model.outcomes import Outcome
from support.engine_stores import ENGINES, engine_store, full_database
from support.local_store import Store

BIG = "x" * 100_000


@pytest.fixture(params=ENGINES, scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("failed")
    with engine_store(request.param, folder / "signalbox.db") as made:
        made.set(there=1)
        yield made


def sent_while_full(store: Store, *commands: dict[str, Any]) -> list[Outcome]:
    """The outcomes of commands that share a group with one that does not fit."""
    large = {"type": "set", "key": "large", "value": BIG, "id": "large"}
    before = store.readmodel.revision
    with full_database(store):
        first, *others = store.run_all([large, *commands])
    assert first.answer()["code"] == "unavailable"
    assert store.readmodel.revision == before
    return others


def test_a_duplicate_of_a_failed_command_is_rejected_as_that_is(store: Store) -> None:
    command = {"type": "set", "key": "k", "value": 1, "id": "dup"}
    for outcome in sent_while_full(store, command, command, command):
        assert (outcome.answer()["status"], outcome.answer()["code"]) == ("rejected", "unavailable")
    assert store.readmodel.attempt("dup") is None
    assert store.readmodel.current.get("k") is None


def test_an_id_is_not_used_by_a_command_that_was_not_written(store: Store) -> None:
    one = {"type": "set", "key": "k", "value": 1, "id": "reused"}
    for outcome in sent_while_full(store, one, one | {"value": 2}):
        assert outcome.answer()["code"] == "unavailable"


def test_a_dry_run_sees_only_what_is_written(store: Store) -> None:
    write = {"type": "set", "key": "absent", "value": 1, "id": "unwritten"}
    dry = {"type": "delete", "key": "absent", "dry_run": True}
    expects = dry | {"expect": "present"}
    _, deletes, refused = sent_while_full(store, write, dry, expects)
    assert (deletes.answer()["status"], deletes.answer()["changes"]) == ("accepted", 0)
    assert (refused.answer()["code"], refused.answer()["revision"]) == ("conflict", 0)


def test_no_outcome_depends_on_what_was_not_written(store: Store) -> None:
    write = {"type": "set", "key": "absent", "value": 1}
    conflict = write | {"expect": "absent", "id": "conflict"}
    unchanged = write | {"id": "unchanged"}
    for outcome in sent_while_full(store, write, conflict, unchanged):
        assert outcome.answer()["code"] == "unavailable"
        assert "revision" not in outcome.answer()
    assert store.readmodel.attempt("conflict") is None
    assert store.readmodel.attempt("unchanged") is None


def test_outcomes_that_hold_without_the_group_are_given(store: Store) -> None:
    command = {"type": "set", "key": "early", "value": 1, "id": "early"}
    first = store.run(**command)
    again, reused, dry = sent_while_full(
        store, command, command | {"value": 2}, {"type": "toggle", "key": "there", "dry_run": True}
    )
    assert again.answer() == first.answer() | {"duplicate": True}
    assert reused.answer()["code"] == "id_reused"
    assert dry.answer()["code"] == "type"


def test_every_outcome_of_the_group_is_published_as_answered(store: Store) -> None:
    announced: list[Outcome] = []
    store.feed.add_listener(lambda _, outcomes: announced.extend(outcomes))
    command = {"type": "set", "key": "k", "value": 1, "id": "announced"}
    answered = sent_while_full(store, command, command)
    assert [one.answer() for one in announced[1:]] == [one.answer() for one in answered]


def test_a_command_of_a_failed_group_can_be_sent_again(store: Store) -> None:
    command = {"type": "set", "key": "again", "value": 1, "id": "again"}
    sent_while_full(store, command, command)
    first, second = store.run_all([command, command])
    assert (first.answer()["duplicate"], second.answer()["duplicate"]) == (False, True)
    assert first.answer()["revision"] == second.answer()["revision"] == store.readmodel.revision
