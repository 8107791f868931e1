"""Decide commands: what a command changes in a state, or why it is refused.

Pure: no I/O, no clock. Undo, redo and restore are decided in `reversal`.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from signalbox.server.model import values
from signalbox.server.model.app_settings import check_setting
from signalbox.server.model.commands import (
    Add,
    Attempt,
    Batch,
    Command,
    Delete,
    DeletePrefix,
    EncodedSet,
    Expect,
    ExpectRevision,
    Member,
    Merge,
    Rename,
    Set,
    Toggle,
)
from signalbox.server.model.errors import (
    Conflict,
    Invalid,
    NotFound,
    SignalboxError,
    TooLarge,
    WrongType,
    quoted,
)
from signalbox.server.model.events import Entry
from signalbox.server.model.keys import RESERVED, RULES, check_key
from signalbox.server.model.rules import RuleSet

MAX_CHANGES: Final = 100_000
MAX_TRANSACTION_BYTES: Final = 16 * 1024 * 1024
MAX_UNCHECKED: Final = MAX_TRANSACTION_BYTES // (values.MAX_BYTES + 256)
"""Changes that cannot be too large together, whatever their values."""
MAX_NAMED: Final = 100
"""Keys that a refusal names, at most."""

Changes = dict[str, str | None]
"""From key to its new value as compact JSON text, None for a deletion."""


class State(Protocol):
    """The state that a command is decided against."""

    @property
    def revision(self) -> int:
        """The revision of the last transaction in the state."""

    @property
    def rules(self) -> RuleSet:
        """The rules that the state has."""

    def get(self, key: str) -> Entry | None:
        """The key's entry in the state; None where the key does not exist."""

    def exists(self, key: str) -> bool:
        """Whether the key exists in the state, without reading its value."""
        ...

    def look_up(self, keys: Collection[str]) -> None:
        """Load the entries of many keys together, since `get` will ask for most of them."""
        ...

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every key of the state that begins with `prefix`, with its entry."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """As `scan`: every key of the state that begins with `prefix`, without its value."""
        ...

    def count(self, prefix: str) -> int:
        """How many keys of the state begin with `prefix`, without looking at each."""
        ...


class Overlay:
    """A state with uncommitted changes on top of it, as the next command sees it."""

    def __init__(self, base: State) -> None:
        """An overlay of the state `base`, without changes yet."""
        self._base = base
        self._revisions: dict[str, int] = {}
        self.changes: Changes = {}
        self.revision = base.revision
        self._rules: RuleSet | None = None

    @property
    def rules(self) -> RuleSet:
        """The rules after the overlay's uncommitted changes."""
        if self._rules is None:
            self._rules = self._base.rules.changed(self.changes)
        return self._rules

    def apply(self, changes: Changes, revision: int) -> None:
        """Add the changes of a transaction with this revision to the overlay."""
        self.changes |= changes
        self._revisions |= dict.fromkeys(changes, revision)
        self._rules = None if self._rules is None else self._rules.changed(changes)

    def get(self, key: str) -> Entry | None:
        """The key's entry after the overlay's uncommitted changes, else that of the state below."""
        if key not in self.changes:
            return self._base.get(key)
        raw = self.changes[key]
        return None if raw is None else Entry(raw, self._revisions[key])

    def exists(self, key: str) -> bool:
        """Whether the key exists after the overlay's uncommitted changes."""
        if key not in self.changes:
            return self._base.exists(key)
        return self.changes[key] is not None

    def look_up(self, keys: Collection[str]) -> None:
        """Load entries of the state below, but for keys that the overlay's changes hide."""
        self._base.look_up([key for key in keys if key not in self.changes])

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every key that begins with `prefix`: the unchanged ones, then the changed ones."""
        for key, entry in self._base.scan(prefix):
            if key not in self.changes:
                yield key, entry
        for key, raw in list(self.changes.items()):
            if raw is not None and key.startswith(prefix):
                yield key, Entry(raw, self._revisions[key])

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key of the overlay that begins with `prefix`, as `scan` has them."""
        for key in self._base.keys(prefix):
            if key not in self.changes:
                yield key
        for key, raw in list(self.changes.items()):
            if raw is not None and key.startswith(prefix):
                yield key

    def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`: those of the state below, and what the changes add."""
        differences = [
            (raw is not None) - self._base.exists(key)
            for key, raw in self.changes.items()
            if key.startswith(prefix)
        ]
        return self._base.count(prefix) + sum(differences)


class Draft(Overlay):
    """The changes of one transaction, composed step by step and always net.

    So none deletes an absent key, or sets a key to the value that it has.
    """

    def add(self, changes: Changes) -> None:
        """Add changes that `decide` has made on this draft."""
        if self.changes.keys().isdisjoint(changes):
            self.apply(changes, self.revision + 1)
            return
        for key, raw in changes.items():
            self._set(key, raw)

    def _set(self, key: str, raw: str | None) -> None:
        """Set or delete a key; a change back to what the state has is none."""
        if key.startswith(RULES):
            self._rules = None
        if key in self.changes and _is_equal(self._base.get(key), raw):
            del self.changes[key], self._revisions[key]
        else:
            self.changes[key] = raw
            self._revisions[key] = self.revision + 1


def prepare_attempt(attempt: Attempt, pause: Callable[[], None] | None = None) -> Attempt:
    """As `prepare_command`; what that refuses becomes the attempt's refusal."""
    if attempt.command is None or isinstance(attempt.command, EncodedSet):
        return attempt
    try:
        return attempt._replace(command=prepare_command(attempt.command, pause))
    except SignalboxError as error:
        return attempt._replace(command=None, refusal=error)


def prepare_command(
    command: Command, pause: Callable[[], None] | None = None
) -> Command | EncodedSet:
    """Check and encode the values of `command` ahead, which does not depend on the state.

    `pause` is called after each member of a batch. Raises `Invalid` or `TooLarge` for a value that
    no state could hold.
    """
    if isinstance(command, Batch):
        members = list[Any]()
        for member in command.commands:
            members.append(prepare_command(member))
            if pause:
                pause()
        return msgspec.structs.replace(command, commands=members)
    if isinstance(command, Set):
        return EncodedSet(
            command.key, checked_and_encoded(command.key, command.value), command.expect
        )
    return command


def decide(state: State, command: Command | EncodedSet) -> Changes:
    """The net changes of `command`, at most `MAX_CHANGES`; values that are equal already are none.

    Raises `Conflict`, `Invalid`, `NotFound`, `TooLarge` or `WrongType`: then there are none.
    """
    if not isinstance(command, Batch):
        changes = _net_member_changes(state, command)
    else:
        draft = Draft(state)
        draft.look_up([key for each in command.commands if (key := getattr(each, "key", None))])
        for member in command.commands:
            draft.add(_net_member_changes(draft, member))
            if len(draft.changes) > MAX_CHANGES:
                raise too_many(len(draft.changes), "at least ")  # other members would make more
        changes = draft.changes
    check_size(changes)
    return changes


def decide_sets(state: State, commands: Iterable[EncodedSet]) -> Changes:
    """As `decide` for each, where they set different keys and expect nothing of them."""
    return {
        command.key: command.raw
        for command in commands
        if not _is_equal(state.get(command.key), command.raw)
    }


def _net_member_changes(state: State, member: Any) -> Changes:
    """The net changes of one command, which may be a member of a batch, if its `expect` is met."""
    if member.expect != "any":
        _check_expectation(state, member)
    if isinstance(member, EncodedSet):
        key, raw = member.key, member.raw
        return {} if _is_equal(state.get(key), raw) else {key: raw}
    changes = _DECIDERS[type(member)](state, member)
    if isinstance(member, DeletePrefix):
        return changes  # they are many, and only of keys that exist
    return {
        key: raw
        for key, raw in changes.items()
        if (state.exists(key) if raw is None else not _is_equal(state.get(key), raw))
    }


def _set(_: State, command: Set) -> Changes:
    """The change of a `set` command."""
    return {command.key: checked_and_encoded(command.key, command.value)}


def _delete(state: State, command: Delete) -> Changes:
    """The change of a `delete` command; none where the key does not exist."""
    return {command.key: None} if state.exists(command.key) else {}


def _delete_prefix(state: State, command: DeletePrefix) -> Changes:
    """The changes of a `delete_prefix` command."""
    if (count := state.count(command.prefix)) > MAX_CHANGES:
        raise too_many(count)
    return dict.fromkeys(state.keys(command.prefix))


def _add(state: State, command: Add) -> Changes:
    """The changes of an `add` command."""
    entry = state.get(command.key)
    before = values.decode(entry.raw.encode()) if entry else 0
    if not values.is_number(before):
        raise _wrong_type(command.key, entry, "number")
    total = values.total(before, command.by)
    if isinstance(total, float) and not math.isfinite(total):
        raise Invalid(
            f"The sum for {command.key} is beyond what a 64-bit float can hold; "
            f"by is {values.encode(command.by):.40}.",
            key=command.key,
        )
    return {command.key: checked_and_encoded(command.key, total)}


def _toggle(state: State, command: Toggle) -> Changes:
    """The change of a `toggle` command: a key that does not exist becomes true."""
    entry = state.get(command.key)
    if entry and entry.raw not in ("true", "false"):
        raise _wrong_type(command.key, entry, "boolean")
    return {command.key: checked_and_encoded(command.key, not (entry and entry.raw == "true"))}


def _merge(state: State, command: Merge) -> Changes:
    """The change of a `merge` command."""
    entry = state.get(command.key)
    before = values.decode(entry.raw.encode()) if entry else None
    return {command.key: checked_and_encoded(command.key, _merged(before, command.value))}


def _merged(target: Any, patch: Any) -> Any:
    """The result of a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _rename(state: State, command: Rename) -> Changes:
    """The changes of a `rename` command."""
    moved = _keys_to_rename(state, command)
    targets = {command.to + key[len(command.key) :]: entry.raw for key, entry in moved.items()}
    for target, raw in targets.items():
        check_key(target)
        _check_setting(target, raw)
    state.look_up(targets)
    if not command.replace:
        _refuse_overwriting(state, targets)
    return dict.fromkeys(moved) | targets


def _keys_to_rename(state: State, command: Rename) -> dict[str, Entry]:
    """The keys that a `rename` moves, with their entries. Raises `NotFound`."""
    if command.key.endswith("."):
        count = state.count(command.key)
        overlaps = command.to.startswith(command.key) or command.key.startswith(command.to)
        if count * (1 if overlaps else 2) > MAX_CHANGES:
            raise too_many(2 * count)
        moved = dict(state.scan(command.key))
    else:
        entry = state.get(command.key)
        moved = {command.key: entry} if entry else {}
    if not moved:
        raise NotFound(f"There is no key {quoted(command.key)} to rename.", key=command.key)
    return moved


def _refuse_overwriting(state: State, targets: Mapping[str, str]) -> None:
    """Raises `Conflict` where a target key of a `rename` exists."""
    taken = {key: entry for key in targets if (entry := state.get(key))}
    if taken:
        first = min(taken)
        revision = _committed_revision(state, taken[first].revision)
        raise Conflict(
            f"{len(taken)} of the target keys exist already, the first is {first} "
            f"{_revision_words(revision)}; replace: true overwrites them.",
            key=first,
            keys=sorted(taken)[:MAX_NAMED],
            revision=revision,
        )


_DECIDERS: Final[dict[type, Callable[[State, Any], Changes]]] = {
    Set: _set,
    Delete: _delete,
    DeletePrefix: _delete_prefix,
    Add: _add,
    Toggle: _toggle,
    Merge: _merge,
    Rename: _rename,
}


def checked_and_encoded(key: str, value: Any) -> str:
    """A command's value as compact JSON. Raises `Invalid` or `TooLarge` where it is not allowed."""
    raw = values.encode(value)
    values.check_size(raw, key)  # first: what is small is soon looked through
    values.check(value, key)
    check_setting(key, value)
    return raw


def _check_setting(key: str, raw: str) -> None:
    """Raises `Invalid` where the key is one of the app's own and cannot have this value."""
    if key.startswith(RESERVED):
        check_setting(key, values.decode(raw.encode()))


def too_many(changes: int, least: str = "") -> TooLarge:
    """The refusal of so many changes; `least` is "at least " where there may be more."""
    return TooLarge(
        f"That would make {least}{changes} changes; one transaction holds {MAX_CHANGES}.",
        limit=MAX_CHANGES,
    )


def check_size(changes: Changes) -> None:
    """Raises `TooLarge` for more changes, or longer ones, than one transaction holds."""
    if len(changes) <= MAX_UNCHECKED:
        return
    if len(changes) > MAX_CHANGES:
        raise too_many(len(changes))
    size = sum(change_size(key, raw) for key, raw in changes.items())
    if size > MAX_TRANSACTION_BYTES:
        raise _too_many_bytes(size)


def check_growing(changes: int, size: int) -> None:
    """As `check_size`, of that many changes with `size` bytes, to which more may come."""
    if changes > MAX_CHANGES:
        raise too_many(changes, "at least ")
    if size > MAX_TRANSACTION_BYTES:
        raise _too_many_bytes(size, "at least ")


def change_size(key: str, raw: str | None) -> int:
    """The bytes of a change that count for the size of its transaction."""
    return 0 if raw is None else values.size(key) + values.size(raw)


def _too_many_bytes(size: int, least: str = "") -> TooLarge:
    """The refusal of changes of so many bytes; `least` is "at least " where they may be more."""
    return TooLarge(
        f"The changes have {least}{size} bytes; one transaction holds {MAX_TRANSACTION_BYTES}.",
        limit=MAX_TRANSACTION_BYTES,
    )


def _is_equal(entry: Entry | None, raw: str | None) -> bool:
    """Whether the key has this value already; None is an absent key, or a deletion."""
    if entry is None or raw is None:
        return entry is None and raw is None
    return values.same(entry.raw, raw)


def _check_expectation(state: State, command: Member | EncodedSet) -> None:
    """Raises `Conflict` where the command's `expect` is not met."""
    expect = command.expect
    if isinstance(expect, ExpectRevision) and expect.store_revision is not msgspec.UNSET:
        check_store_revision(expect, state.revision)
        return
    key = command.prefix if isinstance(command, DeletePrefix) else command.key
    actual = entry.revision if (entry := state.get(key)) else 0
    if not _is_expected(expect, actual):
        revision = _committed_revision(state, actual)
        raise Conflict(_expectation_message(key, expect, revision), key=key, revision=revision)


def check_store_revision(expect: Expect, actual: int) -> None:
    """Raises `Conflict` where another revision of the store is expected."""
    if not isinstance(expect, ExpectRevision) or expect.store_revision is msgspec.UNSET:
        return
    if expect.store_revision != actual:
        raise Conflict(
            f"The store is at revision {actual}, not {expect.store_revision}.", revision=actual
        )


def _is_expected(expect: Any, actual: int) -> bool:
    """Whether a key at revision `actual`, 0 where it is absent, meets a command's `expect`."""
    if isinstance(expect, ExpectRevision):
        return bool(expect.revision == actual)
    return bool((actual > 0) == (expect == "present"))


def _expectation_message(key: str, expect: Any, actual: int | None) -> str:
    """The reason of a `Conflict`: what the key is, and what the command expected."""
    found = "does not exist" if actual == 0 else f"is {_revision_words(actual)}"
    wanted = f"revision {expect.revision}" if isinstance(expect, ExpectRevision) else expect
    return f"{key} {found}; expected was {wanted}."


def _committed_revision(state: State, revision: int) -> int | None:
    """A key's revision for a refusal; None where the refused transaction itself has set the key."""
    return revision if revision <= state.revision else None


def _revision_words(revision: int | None) -> str:
    """A key's revision as the message of a conflict names it."""
    return f"at revision {revision}" if revision else "set by an earlier command of the batch"


def _wrong_type(key: str, entry: Entry | None, wanted: str) -> WrongType:
    """The refusal of a command that needs another type of value than the key has."""
    found = values.type_of(entry.raw) if entry else "nothing"
    return WrongType(f"{key} is of type {found}; this command needs a {wanted}.", key=key)
