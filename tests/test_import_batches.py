"""Batches of an import: decided together as one by one, short where others send commands."""

from collections.abc import Iterator
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.formats.text_lines import Row
from signalbox.server.http.commands import import_batches
from signalbox.server.http.commands.command_import import Import
from signalbox.server.http.commands.import_batches import (
    SHORT_BATCH_LINES,
    Batch,
    BatchLimits,
    batch_limits,
    check_line,
)
from signalbox.server.model import values
from signalbox.server.model.commands import Attempt, read_command
from signalbox.server.model.decide import Changes, Draft, decide, prepare_command
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.keys import RULES
from support.dict_state import DictState
from support.local_store import Store
from support.random_commands import MEMBER

FEW = st.sampled_from(["a", "b", "c", "d"])
EQUAL_OR_NOT = st.sampled_from([0, 1, 1.0, "a long text"])
SET = st.fixed_dictionaries({"type": st.just("set"), "key": FEW, "value": EQUAL_OR_NOT})
RULE = {"match": "a", "on": {"const": 1}, "requires": {"b": {"const": 1}}}
"""`a` may be 1 as long as `b` is."""
SET_RULE = st.fixed_dictionaries(
    {"type": st.just("set"), "key": st.just(RULES + "r"), "value": st.just(RULE)}
)
LINES = 9_000


def one_by_one(
    state: DictState, commands: list[Any], limit: int
) -> tuple[Changes, list[tuple[int, str]]]:
    """What the lines change and which are rejected, where each is decided after the one before."""
    draft, size, rejected = Draft(state), 0, []
    for number, command in enumerate(commands, start=1):
        try:
            made = decide(draft, command)
            check_line(draft, made, "me")
            grown = size + sum(
                values.size(key) + values.size(raw or "") for key, raw in made.items()
            )
            if grown > limit:
                raise BatchLimits(0, 0, limit, limit).refusal(grown, 0, atomic=False)
        except SignalboxError as error:
            rejected.append((number, error.message))
        else:
            draft.add(made)
            size = grown
    return draft.changes, rejected


def prepared(member: dict[str, Any]) -> list[Any]:
    """The command, none where it is none, such as one that renames a key to itself."""
    try:
        return [prepare_command(read_command(member))]
    except SignalboxError:
        return []


@settings(deadline=None, max_examples=400)
@given(
    held=st.dictionaries(FEW, EQUAL_OR_NOT),
    has_rule=st.booleans(),
    members=st.lists(SET, max_size=12)
    | st.lists(SET | SET | SET | SET_RULE, max_size=12)
    | st.lists(SET | SET | SET | MEMBER, max_size=12),
    limit=st.sampled_from([10, 20, 10_000, 10_000]),
    piece=st.integers(1, 5),
)
def test_lines_are_decided_together_as_one_by_one(
    held: dict[str, Any], has_rule: bool, members: list[dict[str, Any]], limit: int, piece: int
) -> None:
    held = held | ({RULES + "r": RULE} if has_rule else {})
    commands = [command for member in members for command in prepared(member)]
    batch = Batch(list(enumerate(commands, start=1)), "me", False, BatchLimits(0, 0, limit, limit))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_batches, "SLICE", piece)
        changes = batch.decide(DictState(held))
    rejected = [(number, error.message) for number, error in batch.rejections]
    assert (changes, rejected) == one_by_one(DictState(held), commands, limit)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


def imported(store: Store) -> dict[str, Any]:
    """The summary of an import of `LINES` lines that arrive at once."""
    text = [b'{"type":"set","key":"k.%d","value":1}' % number for number in range(LINES)]
    rows = [Row(number, line) for number, line in enumerate(text, start=1)]
    arriving = iter([rows])
    reader: Any = SimpleNamespace(
        is_stopping=False,
        error=None,
        file=SimpleNamespace(error=None, format="ndjson"),
        next_rows=lambda _: next(arriving, None),
    )
    *_, summary = Import(store.writer, "load", "me", atomic=False).run(reader)
    found: dict[str, Any] = values.decode(summary)
    assert (found["status"], found["accepted"]) == ("accepted", LINES)
    return found


def test_batches_are_short_while_somebody_sends_commands(store: Store) -> None:
    store.writer.last_submitted = inf
    assert imported(store)["batches"] == -(-LINES // SHORT_BATCH_LINES)


def test_an_import_that_is_alone_has_long_batches(store: Store) -> None:
    assert imported(store)["batches"] == 1


def test_a_command_is_committed_before_a_batch_that_is_queued_behind_it(store: Store) -> None:
    groups: list[list[str]] = []
    store.feed.add_listener(lambda _, outcomes: groups.append([o.attempt.id for o in outcomes]))
    line = prepare_command(read_command({"type": "set", "key": "b", "value": 1}))
    batch = Batch([(1, line)], "me", False, batch_limits(None))
    single = Attempt("single", "me", "set", b"", line)
    long = Attempt("load-1", "me", "import", b"", None, decide=batch.decide)
    later = single._replace(id="later")
    for waiting in [store.writer.enqueue(attempt) for attempt in (single, long, later)]:
        waiting.wait()
    assert groups == [["single"], ["load-1", "later"]]
