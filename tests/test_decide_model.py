"""Properties: any commands do what the model does, and any JSON is refused with a reason."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deciding import DictState
from model import Command, Model, RefusedError, same
from server.commands import read_attempt, read_command
from server.decide import Changes, decide
from server.errors import SignalboxError

KEY = st.sampled_from(["a", "a.x", "a.y", "a.b.x", "a-b", "b", "b.x"])
PREFIX = st.sampled_from(["a.", "a.b.", "b.", "c."])
VALUE = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        1.0,
        -2.5,
        2**80,
        "",
        "é\u2028",
        [],
        [1],
        {},
        {"x": 1},
        {"x": {"y": None}},
    ]
)
EXPECT = (
    st.just("any")
    | st.sampled_from(["absent", "present"])
    | st.integers(0, 6).map(lambda n: {"revision": n})
)
STORE = st.just("any") | st.integers(0, 6).map(lambda n: {"store_revision": n})
MEMBER = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("set"), "key": KEY, "value": VALUE, "expect": EXPECT | STORE}
    ),
    st.fixed_dictionaries({"type": st.just("delete"), "key": KEY, "expect": EXPECT}),
    st.fixed_dictionaries({"type": st.just("delete_prefix"), "prefix": PREFIX, "expect": STORE}),
    st.fixed_dictionaries(
        {"type": st.just("add"), "key": KEY, "by": st.sampled_from([1, -1, 0, 2**90])}
    ),
    st.fixed_dictionaries({"type": st.just("toggle"), "key": KEY, "expect": EXPECT}),
    st.fixed_dictionaries({"type": st.just("merge"), "key": KEY, "value": VALUE}),
    st.fixed_dictionaries(
        {"type": st.just("rename"), "key": KEY, "to": KEY, "replace": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"type": st.just("rename"), "key": PREFIX, "to": PREFIX, "replace": st.booleans()}
    ),
)
COMMAND = MEMBER | st.lists(MEMBER, max_size=6).map(
    lambda members: {"type": "batch", "commands": members}
)


@settings(deadline=None, max_examples=300)
@given(commands=st.lists(COMMAND, max_size=12))
def test_any_sequence_of_commands_does_what_the_model_does(commands: list[Command]) -> None:
    state, model = DictState(revision=0), Model()
    for command in commands:
        found, refusal = attempted(state, command)
        if refusal is not None:
            with pytest.raises(RefusedError) as caught:
                model.run(command)
            assert caught.value.code == refusal.code
            assert caught.value.revision in (None, refusal.revision)
            continue
        assert model.run(command) == len(found)
        state.apply(found)
        assert state.revision == model.revision
        assert {key: entry.revision for key, entry in state.held.items()} == {
            key: held.revision for key, held in model.held.items()
        }
        assert same(state.values(), model.values())


def attempted(state: DictState, command: Command) -> tuple[Changes, SignalboxError | None]:
    try:
        return decide(state, read_command(command)), None
    except SignalboxError as error:
        return {}, error


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    "type",
    "key",
    "value",
    "to",
    "by",
    "prefix",
    "expect",
    "replace",
    "commands",
    "id",
    "actor",
    "dry_run",
    "x",
]
KINDS = st.sampled_from(
    ["set", "delete", "delete_prefix", "add", "toggle", "merge", "rename", "batch", "undo"]
)


@settings(deadline=None, max_examples=500)
@given(
    body=st.dictionaries(
        st.sampled_from(FIELDS), ANYTHING | KEY | PREFIX | st.lists(MEMBER, max_size=2)
    ),
    kind=KINDS | ANYTHING,
)
def test_any_json_object_is_a_command_or_is_refused_with_a_reason(
    body: dict[str, Any], kind: Any
) -> None:
    attempt = read_attempt(body | {"type": kind}, "actor", "new-id")
    assert len(attempt.fingerprint) == 16
    refusal = attempt.refusal
    if attempt.command is not None:
        try:
            decide(DictState({"a": 1, "a.x": {"x": 1}}), attempt.command)
        except SignalboxError as error:
            refusal = error
    else:
        assert refusal is not None
    if refusal is not None:
        assert refusal.code in {"invalid", "type", "conflict", "not_found", "too_large"}
        assert len(refusal.message) < 500
        assert refusal.message.endswith(".")
