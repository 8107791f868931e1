"""Undo, redo and restore after any history do what the contract says, read off a plain model."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model import reversal
from signalbox.server.model.commands import HistoryCommand, read_attempt
from signalbox.server.model.errors import Conflict, NothingToUndo, TooLarge
from signalbox.server.model.keys import compile_pattern
from signalbox.server.model.outcomes import Outcome
from signalbox.server.write.group_commit import GroupCommit
from signalbox.server.write.history_decisions import HistoryDecisions
from support.history_model import ACTORS, COMMANDS, History, State, state_of
from support.local_store import Store

STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTORS),
        COMMANDS | st.sampled_from([{"type": "undo"}, {"type": "undo"}, {"type": "redo"}]),
    ),
    min_size=4,
    max_size=30,
)
RESTORES = st.tuples(st.integers(0, 30), st.sampled_from(["**", "a.**", "a*", "*.x", "b.**"]))


def differing(now: State, after: State) -> State:
    return {key: after.get(key) for key in now.keys() | after if now.get(key) != after.get(key)}


def effects(history: History, back: State) -> list[dict[str, Any]]:
    """The effects on keys that would become what they are in `back`, None for a deletion."""
    found = []
    for key, value in sorted(back.items()):
        revision = max(n for n, one in enumerate(history.done, 1) if key in one.before)
        effect = {"key": key, "actor": history.done[revision - 1].actor, "revision": revision}
        sides = {"now": history.now.get(key), "back": value}
        found.append(effect | {name: side for name, side in sides.items() if side is not None})
    return found


def effects_without_times(outcome: Outcome) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(outcome.effects))
    assert all(effect.pop("at") for effect in found)
    return found


def follow(store: Store, history: History, actor: str, command: dict[str, Any]) -> Outcome:
    """Run a command in the store, and tell the model what it should do."""
    preview = store.run(**command, actor=actor, dry_run=True)
    outcome = store.run(**command, actor=actor)
    assert (type(preview.error), preview.changes) == (type(outcome.error), outcome.changes)
    if command["type"] not in ("undo", "redo"):
        history.add(actor, command["type"], state_of(store))
        return outcome
    target = history.target(actor, command["type"])
    if target is None:
        assert isinstance(outcome.error, NothingToUndo)
        return outcome
    in_the_way = history.in_the_way(target)
    if in_the_way:
        assert isinstance(outcome.error, Conflict)
        assert outcome.error.keys == sorted(in_the_way)
        before = {key: history.done[target - 1].before[key] for key in in_the_way}
        assert effects_without_times(outcome) == effects(history, before)
        return outcome
    assert outcome.error is None
    assert outcome.effects is None  # it is done: no dry run asked for them
    after = history.reversed(target)
    assert effects_without_times(preview) == effects(history, differing(history.now, after))
    history.add(actor, command["type"], after, target)
    return outcome


@settings(deadline=None, max_examples=120)
@given(steps=STEPS)
def test_undo_and_redo_keep_the_later_work_of_others(
    steps: list[tuple[str, dict[str, Any]]],
) -> None:
    with Store() as store:
        history = History()
        for actor, command in steps:
            follow(store, history, actor, command)
            assert state_of(store) == history.now
            assert store.readmodel.revision == len(history.done)


@settings(deadline=None, max_examples=25)
@given(steps=STEPS)
def test_what_can_be_undone_is_the_same_after_a_restart(
    steps: list[tuple[str, dict[str, Any]]],
) -> None:
    with TemporaryDirectory() as folder:
        history = History()
        for half in (steps[: len(steps) // 2], steps[len(steps) // 2 :]):
            with Store(Path(folder) / "signalbox.db") as store:
                for actor, command in half:
                    follow(store, history, actor, command)
                assert state_of(store) == history.now


@settings(deadline=None, max_examples=60)
@given(steps=STEPS, wish=RESTORES)
def test_restoring_makes_what_matches_what_it_was_and_can_be_undone(
    steps: list[tuple[str, dict[str, Any]]], wish: tuple[int, str]
) -> None:
    with Store() as store:
        history = History()
        for actor, command in steps:
            follow(store, history, actor, command)
        then, match = min(wish[0], len(history.done)), wish[1]
        matches = compile_pattern(match).matches
        now, was = history.now, history.states[then]
        expected = {key: value for key, value in now.items() if not matches(key)}
        expected |= {key: value for key, value in was.items() if matches(key)}
        count = sum(now.get(key) != expected.get(key) for key in now.keys() | expected)
        command = {"type": "restore", "to_revision": then, "match": match, "actor": "carol"}
        preview = store.run(**command, dry_run=True)
        assert preview.changes == count
        assert effects_without_times(preview) == effects(history, differing(now, expected))
        assert state_of(store) == now
        restored = store.run(**command)
        assert (restored.error, restored.changes) == (None, count)
        assert state_of(store) == expected
        assert store.readmodel.revision == len(history.done) + (count > 0)
        if count:
            assert store.run(type="undo", actor="carol").changes == count
            assert state_of(store) == now


def test_what_others_changed_is_kept_or_replaced_key_by_key() -> None:
    with Store() as store:
        store.set(a=1, b=1, c=1)
        store.run(type="set", key="a", value=2, actor="bob")
        store.run(type="delete", key="b", actor="bob")
        refused = store.run(type="undo")
        assert isinstance(refused.error, Conflict)
        assert refused.error.keys == ["a", "b"]
        assert "a by bob at revision 2, b by bob at revision 3" in refused.error.message
        stale = store.run(type="undo", keep=["a"], replace={"b": 2})
        assert isinstance(stale.error, Conflict)
        assert (stale.error.key, stale.error.revision) == ("b", 3)
        assert [effect["key"] for effect in effects_without_times(stale)] == ["b"]
        both = store.run(type="undo", replace={"b": 2})
        assert isinstance(both.error, Conflict)
        assert (both.error.key, both.error.keys) == ("b", ["a", "b"])
        assert store.run(type="undo", keep=["a"], replace={"b": 3}).error is None
        assert state_of(store) == {"a": 2}
        assert store.run(type="redo").error is None
        assert state_of(store) == {"a": 2, "c": 1}


def test_effects_are_listed_as_far_as_one_answer_holds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reversal, "MAX_TRANSACTION_BYTES", 100)
    with Store() as store:
        store.set(a="x" * 40, b="x" * 40, c="x" * 40)
        preview = store.run(type="undo", dry_run=True)
        assert ([effect["key"] for effect in effects_without_times(preview)], preview.changes) == (
            ["a", "b"],
            3,
        )


def test_what_an_engine_cannot_hold_is_refused_without_effects() -> None:
    with Store() as store:
        store.set(a="x" * 500)
        store.set(a=1)
        group = GroupCommit(store.projection, at=0, max_bytes=300)
        attempt = read_attempt({"type": "undo", "dry_run": True}, "tester", "wish")
        assert isinstance(attempt.command, HistoryCommand)
        decided = HistoryDecisions(store.projection).decide_ahead(attempt, attempt.command, None)
        group.add(attempt, decided)
        assert isinstance(group.outcomes[0].error, TooLarge)
        assert group.outcomes[0].effects is None


def test_a_command_and_its_undo_in_one_commit_are_decided_in_turn() -> None:
    with Store() as store:
        outcomes = store.run_all(
            [
                {"type": "set", "key": "a", "value": 1},
                {"type": "undo"},
                {"type": "set", "key": "a", "value": 2},
                {"type": "restore", "to_revision": 1},
                {"type": "undo"},
                {"type": "undo"},
                {"type": "redo"},
            ]
        )
        assert [outcome.revision for outcome in outcomes] == [1, 2, 3, 4, 5, 6, 7]
        assert state_of(store) == {"a": 2}


def test_a_named_command_of_anybody_is_undone_below_later_work() -> None:
    with Store() as store:
        store.run(type="set", key="a", value=1, id="first", actor="bob")
        store.run(type="set", key="b", value=1, actor="bob")
        assert store.run(type="undo", of="first").error is None
        assert state_of(store) == {"b": 1}
        again = store.run(type="undo", of="first")
        assert isinstance(again.error, NothingToUndo)
        assert store.run(type="redo", of="first").error is None
        assert state_of(store) == {"a": 1, "b": 1}
