"""An undo, redo or restore that was decided before its turn does what it would have done then."""

from collections.abc import Iterator
from random import Random
from secrets import token_hex
from typing import Any

import pytest

from signalbox.server.model import history_decision
from signalbox.server.model.commands import Attempt, HistoryCommand, read_attempt
from signalbox.server.model.errors import Busy, Conflict
from signalbox.server.model.history_decision import Decision
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.write import history_decisions, writer
from support.local_store import Store

ACTORS = ("ann", "bob")
KEYS = ("a.x", "a.y", "b.x")
ROUNDS = 40
AT_ONCE = 6


@pytest.fixture(autouse=True)
def all_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of the history is decided in its turn at first."""
    monkeypatch.setattr(history_decisions, "SECONDS_IN_TURN", -1.0)
    monkeypatch.setattr(history_decisions, "CHECKED_AFTER_STEPS", 1)
    monkeypatch.setattr(writer, "MAX_DECISIONS", 1_000)  # here everybody interferes


def commands(random: Random, revision: int) -> Iterator[Attempt]:
    """Some that are sent together: each history command may be overtaken by others."""
    for _ in range(AT_ONCE):
        actor, known = random.choice(ACTORS), f"c{random.randrange(1, revision + 8)}"
        kind = random.choice(("set", "set", "delete", "undo", "redo", "restore"))
        body: dict[str, Any] = {"type": kind}
        if kind == "set":
            body |= {"key": random.choice(KEYS), "value": random.randrange(4), "id": known}
        elif kind == "delete":
            body |= {"key": random.choice(KEYS)}
        elif kind == "restore":
            match = random.choice(("**", "a.*", "b.x"))
            body |= {"to_revision": random.randrange(revision + 3), "match": match}
        elif random.random() < 0.5:
            body |= {"of": known}
        if kind not in ("set", "delete"):
            body |= {"dry_run": random.random() < 0.3, "effects": 3}
        yield read_attempt(body, actor, token_hex(8))


def lived(store: Store, random: Random) -> list[tuple[Attempt, Outcome]]:
    """The commands of the history, and their outcomes."""
    found = []
    for _ in range(ROUNDS):
        attempts = list(commands(random, store.readmodel.revision))
        waiting = [store.writer.enqueue(one) for one in attempts]
        found += [(one, pending.wait()) for one, pending in zip(attempts, waiting, strict=True)]
    return [(one, outcome) for one, outcome in found if isinstance(one.command, HistoryCommand)]


def decided(store: Store, attempt: Attempt) -> Decision:
    """What it would do at the end of this store's log."""
    assert isinstance(attempt.command, HistoryCommand)
    with store.readmodel.snapshot() as connection:
        log = SqlReversalLog(connection)
        return history_decision.decide_at(
            log, attempt.command, attempt.actor, attempt.effects, attempt.dry_run
        )


def decided_after(outcome: Outcome) -> int:
    """The revision of the log that the command found in its turn."""
    return outcome.revision - outcome.is_logged


def assert_same(expected: Decision, outcome: Outcome, store: Store) -> None:
    """The outcome, and its transaction in `store`, are those of the decision."""
    refusal = expected.refusal or expected.result().conflict
    if outcome.error or refusal:
        assert outcome.error
        assert refusal
        assert outcome.error.fields() == refusal.fields()
        return
    found = expected.result()
    assert (outcome.changes, outcome.effects) == (len(found.changes), found.effects)
    if outcome.is_logged:
        (transaction,) = store.engine.read(outcome.revision - 1, 1)
        made = {change.key: change.raw for change in transaction.changes}
        assert (made, transaction.of) == (found.changes, found.of)


@pytest.mark.parametrize(
    ("undo", "later"),
    [
        ({}, {"type": "redo", "of": "second"}),
        ({"of": "second"}, {"type": "redo", "of": "second"}),
        ({}, {"type": "set", "key": "c", "value": 1, "actor": "ann"}),
        ({"of": "first"}, {"type": "set", "key": "a", "value": 2}),
    ],
)
def test_it_is_decided_again_where_what_it_would_reverse_has_changed(
    undo: dict[str, Any], later: dict[str, Any]
) -> None:
    with Store() as store:
        store.run(type="set", key="a", value=1, actor="ann", id="first")
        store.run(type="set", key="b", value=1, actor="ann", id="second")
        store.run(type="undo", of="second", actor="bob")
        attempt = read_attempt({"type": "undo", **undo}, "ann", "wish")
        assert isinstance(attempt.command, HistoryCommand)
        decisions = history_decisions.HistoryDecisions(store.projection)
        decision = decisions.decide_ahead(attempt, attempt.command, None)
        assert decision
        assert decisions.revise(attempt, attempt.command, decision)
        assert not store.run(**{"actor": "bob", **later}).error
        assert decisions.revise(attempt, attempt.command, decision) is None


def test_a_refusal_of_another_revision_of_the_store_is_decided_again() -> None:
    with Store() as store:
        store.run(type="set", key="a", value=1)
        wanted = {"type": "undo", "expect": {"store_revision": 2}}
        attempt = read_attempt(wanted, "tester", "wish")
        assert isinstance(attempt.command, HistoryCommand)
        decisions = history_decisions.HistoryDecisions(store.projection)
        decision = decisions.decide_ahead(attempt, attempt.command, None)
        assert decision
        assert isinstance(decision.refusal, Conflict)
        store.run(type="set", key="b", value=1)
        assert decisions.revise(attempt, attempt.command, decision) is None


def test_one_large_transaction_since_is_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_decisions, "MAX_CHANGES_SINCE", 1)
    with Store() as store:
        store.run(type="set", key="a", value=1)
        wanted = {"type": "restore", "to_revision": 0}
        attempt = read_attempt(wanted, "tester", "wish")
        assert isinstance(attempt.command, HistoryCommand)
        decisions = history_decisions.HistoryDecisions(store.projection)
        decision = decisions.decide_ahead(attempt, attempt.command, None)
        assert decision
        store.set(b=1, c=1)
        with pytest.raises(history_decisions.TooMuchSince):
            decisions.revise(attempt, attempt.command, decision)
        later = decisions.decide_ahead(attempt, attempt.command, decision)
        assert later
        assert decisions.revise(attempt, attempt.command, later)
        assert later.result().changes.keys() == {"a", "b", "c"}


def test_a_repeated_command_gets_its_first_outcome_and_is_not_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Store() as store:
        store.run(type="set", key="a", value=1)
        first = store.run(type="undo", id="wish")
        monkeypatch.setattr(writer, "MAX_DECIDING", 0)
        again = store.run(type="undo", id="wish")
        assert again.answer() == first.answer() | {"duplicate": True}
        assert isinstance(store.run(type="redo", id="other").error, Busy)


def test_a_server_that_ends_answers_what_is_still_being_decided() -> None:
    store = Store()
    store.run(type="set", key="a", value=1)
    waiting = store.writer.enqueue(read_attempt({"type": "undo"}, "tester", "wish"))
    store.close()
    assert waiting.wait().changes == 1


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_would_have_been_decided_in_its_turn(seed: int) -> None:
    with Store() as store, Store() as replay:
        outcomes = lived(store, Random(seed))
        assert len(outcomes) > ROUNDS
        for attempt, outcome in sorted(outcomes, key=lambda one: decided_after(one[1])):
            done = replay.readmodel.revision
            if missing := decided_after(outcome) - done:
                replay.writer.append_transactions(store.engine.read(done, missing))
            assert_same(decided(replay, attempt), outcome, store)
