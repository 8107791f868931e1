"""Properties: any commands do what the model does, and any JSON is refused with a reason."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.commands import HistoryCommand, read_attempt, read_command
from signalbox.server.model.decide import Changes, decide
from signalbox.server.model.errors import SignalboxError
from support.command_model import Command, Model, RefusedError, same
from support.dict_state import DictState
from support.random_commands import COMMAND, KEY, MEMBER, PREFIX


@settings(deadline=None, max_examples=300)
@given(commands=st.lists(COMMAND, max_size=12))
def test_any_sequence_of_commands_does_what_the_model_does(commands: list[Command]) -> None:
    state, model = DictState(revision=0), Model()
    for command in commands:
        found, refusal = attempted(state, command)
        if refusal is not None:
            expected = model.answer(command)
            assert isinstance(expected, RefusedError)
            assert expected.code == refusal.code
            assert expected.revision in (None, refusal.revision)
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
    "of",
    "keep",
    "to_revision",
    "match",
    "without",
    "commands",
    "id",
    "actor",
    "dry_run",
    "x",
]
KINDS = st.sampled_from(
    "set delete delete_prefix add toggle merge rename batch restore undo redo".split()
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
    if isinstance(attempt.command, HistoryCommand):
        return  # what it changes is read from the log, not decided from the state
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
