"""A store's history on plain dicts: what the contract says about moments, undo and redo."""

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st

from signalbox.server.read.state_query import Filter
from support.local_store import Store

State = dict[str, Any]

KEYS = ["a", "a.x", "a.y", "a-b", "a-b.x", "b.x", "b.y.z", "c", "_signalbox.theme"]
PREFIXES = ["a.", "a-b.", "b.", "b.y."]
ACTORS = ["ann", "bob"]


def allowed_value(key: str, number: int) -> Any:
    """The app's own keys take only some values."""
    return ["light", "dark", "system"][number % 3] if key.startswith("_signalbox.") else number


@st.composite
def _settings(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(KEYS))
    return {"type": "set", "key": key, "value": allowed_value(key, draw(st.integers(0, 3)))}


_DELETIONS = st.sampled_from(KEYS).map(lambda key: {"type": "delete", "key": key})
_OF_PREFIXES = st.sampled_from(PREFIXES).map(lambda each: {"type": "delete_prefix", "prefix": each})
_RENAMES = st.sampled_from(
    [
        {"type": "rename", "key": "a.", "to": "z.", "replace": True},
        {"type": "rename", "key": "z.", "to": "b.", "replace": True},
        {"type": "rename", "key": "a", "to": "c", "replace": True},
    ]
)
MEMBERS = _settings() | _settings() | _DELETIONS
COMMANDS = (
    MEMBERS
    | MEMBERS
    | _OF_PREFIXES
    | _RENAMES
    | st.lists(MEMBERS, min_size=2, max_size=4).map(
        lambda each: {"type": "batch", "commands": each}
    )
)


def visible(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("_signalbox.")}


def state_of(store: Store, at: int | None = None) -> State:
    """Everything at a revision, the app's own keys included."""
    pages = [
        store.readmodel.at(at).page(Filter(match), limit=1000) for match in ("**", "_signalbox.**")
    ]
    return {item.key: json.loads(item.raw) for page in pages for item in page.items}


class ModelTransaction(NamedTuple):
    """A transaction: what each key was before and after (None: not there)."""

    actor: str
    type: str
    before: State
    after: State
    of: int | None = None
    """The transaction that an undo or redo reverses."""


class History:
    """Transactions by revision, from 1 on, and the state after each."""

    def __init__(self) -> None:
        self.done: list[ModelTransaction] = []
        self.states: list[State] = [{}]

    @property
    def now(self) -> State:
        return self.states[-1]

    def add(self, actor: str, kind: str, after: State, of: int | None = None) -> None:
        """A command left `after`; it is a transaction if that differs."""
        keys = {key for key in self.now.keys() | after if self.now.get(key) != after.get(key)}
        if keys:
            before = {key: self.now.get(key) for key in keys}
            self.done.append(
                ModelTransaction(actor, kind, before, {key: after.get(key) for key in keys}, of)
            )
            self.states.append(dict(after))

    def is_undone(self, revision: int) -> bool:
        return any(
            one.of == revision and not self.is_undone(number)
            for number, one in enumerate(self.done, start=1)
        )

    def target(self, actor: str, kind: str) -> int | None:
        """What undo or redo without a name reverses, None for nothing."""
        for revision in range(len(self.done), 0, -1):
            one = self.done[revision - 1]
            is_own = one.type not in ("undo", "redo") and any(visible(one.before))
            if one.actor != actor:
                continue
            if kind == "undo" and is_own and not self.is_undone(revision):
                return revision
            if kind == "redo" and one.type == "undo" and not self.is_undone(revision):
                return revision
            if kind == "redo" and is_own:
                return None
        return None

    def in_the_way(self, target: int) -> set[str]:
        """Keys of a transaction that a later one, not itself undone, has changed.

        A later undo of what is later too has cancelled with that.
        """
        found = set()
        for revision in range(target + 1, len(self.done) + 1):
            later = self.done[revision - 1]
            cancels = later.of is not None and later.of > target
            if not cancels and not self.is_undone(revision):
                found |= later.before.keys() & self.done[target - 1].before.keys()
        return found

    def reversed(self, target: int) -> State:
        """The state after undoing a transaction."""
        after = self.now | self.done[target - 1].before
        return {key: value for key, value in after.items() if value is not None}
