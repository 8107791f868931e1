"""An outcome that depends on a node's replica is given only if the log confirms its end."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from signalbox.server.engines.shared_log import Partitioned
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.decide import prepare_attempt
from signalbox.server.model.outcomes import Outcome
from support.brokers import new_log
from support.engine_stores import NodeStore
from support.nodes import HALF, TOO_LARGE

FIRST = {"type": "set", "key": "k", "value": 1, "id": "first"}


@pytest.fixture(scope="module", params=["nats", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeStore]:
    folder: Path = tmp_path_factory.mktemp("unconfirmed")
    with NodeStore(folder / "signalbox.db", new_log(request.param)) as made:
        made.set(large=HALF, k=0)
        made.run(**FIRST)
        yield made


def refuse(*_: Any) -> Any:
    raise Partitioned("The server may be cut off.")


@pytest.fixture
def partitioned(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    """The log cannot confirm its end, and refuses appends."""
    monkeypatch.setattr(store.log, "confirmed_revision", refuse)
    monkeypatch.setattr(store.log, "append", refuse)
    return store


def outcomes_of(store: NodeStore, *commands: dict[str, Any]) -> list[Outcome]:
    """The outcomes of commands that wait together."""
    waiting = [
        store.writer.enqueue(prepare_attempt(read_attempt(command, "tester", token_hex(8))))
        for command in commands
    ]
    return [one.wait() for one in waiting]


RESTING: dict[str, dict[str, Any]] = {
    "unchanged": {"type": "set", "key": "k", "value": 1},
    "a conflict": {"type": "set", "key": "k", "value": 2, "expect": "absent"},
    "too large with what is there": TOO_LARGE,
    "a dry run": {"type": "set", "key": "k", "value": 2, "dry_run": True},
    "a dry run, unchanged": {"type": "set", "key": "k", "value": 1, "dry_run": True},
    "a dry run, refused": {"type": "delete", "key": "k", "expect": "absent", "dry_run": True},
    "a dry run, too large": TOO_LARGE | {"dry_run": True},
}
CODES = [None, "conflict", "too_large", None, None, "conflict", "too_large"]


@pytest.mark.parametrize("beside", [[], [{"type": "add", "key": "new"}]], ids=["alone", "beside"])
@pytest.mark.parametrize("name", RESTING)
def test_outcomes_that_depend_on_the_state_are_refused(
    partitioned: NodeStore, name: str, beside: list[dict[str, Any]]
) -> None:
    for outcome in outcomes_of(partitioned, *beside, RESTING[name]):
        assert outcome.answer()["code"] == "unavailable"
        assert outcome.changes == 0


def test_outcomes_that_no_state_can_change_are_given(partitioned: NodeStore) -> None:
    invalid = {"type": "set", "key": "_signalbox.theme", "value": 3}
    duplicate, reused, refused = outcomes_of(partitioned, FIRST, FIRST | {"value": 2}, invalid)
    assert duplicate.answer()["duplicate"] is True
    assert (reused.answer()["code"], refused.answer()["code"]) == ("id_reused", "invalid")


def test_with_a_confirmed_log_all_outcomes_are_given(store: NodeStore) -> None:
    outcomes = outcomes_of(store, *RESTING.values())
    assert [one.answer().get("code") for one in outcomes] == CODES
