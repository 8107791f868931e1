"""Pure: what undo, redo and restore change, read off the event log, and what stands in the way."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from msgspec import UNSET, Raw, Struct, UnsetType

from signalbox.server.model import horizons, values
from signalbox.server.model.commands import Redo, Restore, Undo
from signalbox.server.model.decide import (
    MAX_CHANGES,
    MAX_NAMED,
    MAX_TRANSACTION_BYTES,
    Changes,
    check_size,
    check_store_revision,
)
from signalbox.server.model.errors import (
    Compacted,
    Conflict,
    Invalid,
    NotFound,
    NothingToUndo,
)
from signalbox.server.model.events import REVERSING
from signalbox.server.model.horizons import Horizon
from signalbox.server.model.keys import compile_pattern
from signalbox.server.model.times import iso

NAMED: Final = 3
"""How many of the keys in the way a message tells about."""


class Done(NamedTuple):
    """A transaction; `of` are the revisions that it reverses."""

    revision: int
    id: str
    actor: str
    type: str
    changes: int
    of: tuple[int, ...]


class KeyEffect(Struct):
    """What a key is `now`, by whose change, and what it would be again (`back`), as compact JSON;
    UNSET where there is no such key.
    """

    key: str
    actor: str
    revision: int
    at: str
    now: Raw | UnsetType = UNSET
    back: Raw | UnsetType = UNSET


class Reversal(NamedTuple):
    """The net changes and the revisions that they reverse, or the `conflict` in the way of them.

    `effects` are those on the keys that would change, or of a conflict on the keys in the way.
    """

    changes: Changes
    of: tuple[int, ...] = ()
    conflict: Conflict | None = None
    effects: list[KeyEffect] | None = None


class Latest(NamedTuple):
    """The last change of a key, a deletion (`raw` None) included; `at` in ms UTC."""

    key: str
    revision: int
    actor: str
    at: int
    raw: str | None


class Effect(NamedTuple):
    """What some transactions did to a key: the `first` of them, what the key was before that, and
    the revision of its `latest` change by anybody.
    """

    key: str
    first: int
    latest: int
    before: str | None


class Log(Protocol):
    """What may be asked of the event log, all of one revision; keys come in order."""

    @property
    def revision(self) -> int: ...

    def horizons(self) -> list[Horizon]: ...

    def newest_of(self, actor: str) -> Iterator[Done]:
        """The actor's transactions, newest first."""

    def named(self, identity: str) -> list[Done]:
        """The transaction of a command, or those of an import's batches, in order."""

    def done(self, revision: int) -> Done: ...

    def reversed_by(self, revision: int) -> int | None:
        """The last transaction that reverses this one."""

    def touches_visible(self, revision: int) -> bool:
        """Whether it changed more than the app's own keys."""

    def keys_of(self, revision: int) -> list[str]:
        """The keys that a transaction changed, as far as they are kept."""

    def effects(self, revisions: Collection[int]) -> Iterator[Effect]:
        """What transactions did, key by key."""

    def touched(self, revisions: Collection[int], key: str) -> list[int]:
        """Those of the transactions that changed the key, in order."""

    def before(self, key: str, revision: int) -> int:
        """The last change of the key below `revision`, 0 where there is none."""

    def now_and_then(
        self, match: str, revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """Every matching key that has changed since: what it is, and what it was then."""

    def now(self, keys: Collection[str]) -> dict[str, str]:
        """Those of the keys that exist, with their values."""

    def latest(self, keys: Collection[str]) -> Iterator[Latest]:
        """The last change of each key, in the order of `keys`."""


def decide(
    log: Log, command: Restore | Undo | Redo, actor: str, listed: int = 0, dry_run: bool = False
) -> Reversal:
    """What the command would do. So many `effects` are listed: of a dry run, and of a conflict.

    Raises `Compacted`, `Conflict`, `Invalid`, `NotFound`, `NothingToUndo` or `TooLarge`.
    """
    check_store_revision(command.expect, log.revision)
    if isinstance(command, Restore):
        found = Reversal(_restored(log, command))
    else:
        targets = _to_undo(log, command, actor)
        if isinstance(command, Redo):
            targets = _to_redo(log, command, actor)
        found = _reversed(log, targets, command)
    if not (found.conflict or dry_run):
        return found
    return found._replace(effects=_effects(log, found.changes, listed))


def _restored(log: Log, command: Restore) -> Changes:
    then, without = command.to_revision, tuple(command.without)
    if then > log.revision:
        raise Invalid(
            f"The field to_revision is {then}; the store is at revision {log.revision}.",
            revision=log.revision,
        )
    pattern = compile_pattern(command.match)
    unknown = horizons.incomplete_prefixes(log.horizons(), then, pattern.low, pattern.high)
    if missing := [prefix for prefix in unknown if not (without and prefix.startswith(without))]:
        raise horizons.compacted_error(missing, then)
    changes: Changes = {}
    for key, is_now, was in log.now_and_then(command.match, then):
        if not (without and key.startswith(without)) and not _same(is_now, was):
            changes[key] = was
            if len(changes) > MAX_CHANGES:
                break
    check_size(changes)
    return changes


def _to_undo(log: Log, command: Undo | Redo, actor: str) -> list[Done]:
    """The transactions to reverse: those that are named, else the actor's newest."""
    if isinstance(command, Redo):
        return []
    if command.of is None:
        for one in log.newest_of(actor):
            is_own = one.type not in REVERSING and log.touches_visible(one.revision)
            if is_own and not is_reversed(log, one.revision):
                return [one]
        raise NothingToUndo(f"{actor} has done nothing that is not undone already.")
    return _in_force(log, _named(log, command.of), command.of)


def _to_redo(log: Log, command: Redo, actor: str) -> list[Done]:
    """The undo to reverse: the one that is named, or undid what is named, else the actor's last."""
    if command.of is not None:
        named = _named(log, command.of)
        if named[0].type in REVERSING:
            return _in_force(log, named, command.of)
        undone = {by for one in named if (by := log.reversed_by(one.revision))}
        return _in_force(log, [log.done(by) for by in sorted(undone)], command.of)
    for one in log.newest_of(actor):
        if one.type == "undo" and not is_reversed(log, one.revision):
            return [one]
        if one.type not in REVERSING and log.touches_visible(one.revision):
            break
    raise NothingToUndo(f"{actor} has undone nothing since its last command.")


def _named(log: Log, identity: str) -> list[Done]:
    found = log.named(identity)
    if not found:
        raise NotFound(f"No transaction with the command id {identity} is kept.")
    return found


def _in_force(log: Log, found: list[Done], identity: str) -> list[Done]:
    left = [one for one in found if not is_reversed(log, one.revision)]
    if not left:
        raise NothingToUndo(f"{identity} is reversed already.")
    return left


def is_reversed(log: Log, revision: int) -> bool:
    """Whether a transaction is undone, and that not undone in turn."""
    is_undone, by = False, log.reversed_by(revision)
    while by is not None:
        is_undone, by = not is_undone, log.reversed_by(by)
    return is_undone


def _reversed(log: Log, targets: list[Done], command: Undo | Redo) -> Reversal:
    revisions = {one.revision for one in targets}
    _check_kept(log, targets)
    changes: Changes = {}
    in_the_way: dict[str, int] = {}
    seen = set[str]()
    keep = frozenset(command.keep)
    asked = keep | command.replace.keys()
    for effect in log.effects(revisions):
        blocker = _blocker(log, effect, revisions)
        if effect.key in command.replace:
            if effect.latest != command.replace[effect.key]:
                in_the_way[effect.key] = effect.latest
        elif blocker and effect.key not in keep:
            in_the_way[effect.key] = blocker
        seen.add(effect.key)
        if effect.key not in keep:
            changes[effect.key] = effect.before
            if len(changes) > MAX_CHANGES:
                check_size(changes)
    if unknown := asked - seen:
        raise Invalid(f"The key {min(unknown)} is not among those that would be reversed.")
    of = tuple(one.revision for one in targets)
    if in_the_way:
        conflict = _conflict(log, in_the_way, command.replace, [one.id for one in targets])
        return Reversal({key: changes[key] for key in in_the_way}, of, conflict)
    check_size(changes)
    now = log.now(changes)
    return Reversal({key: raw for key, raw in changes.items() if not _same(now.get(key), raw)}, of)


def _check_kept(log: Log, targets: Iterable[Done]) -> None:
    """What was before them must be known: of what lies at a horizon or before, it is not."""
    kept = log.horizons()
    newest = max(each.revision for each in kept)
    for one in targets:
        if one.revision > newest:
            continue
        keys = log.keys_of(one.revision)
        followed = {horizons.horizon_of(kept, key) for key in keys}
        prefixes = sorted(each.prefix for each in followed if each.revision >= one.revision)
        if prefixes:
            raise horizons.compacted_error(prefixes, one.revision - 1)
        if len(keys) < one.changes:
            raise Compacted(f"Retention has removed changes of revision {one.revision}.")


def _blocker(log: Log, effect: Effect, revisions: Collection[int]) -> int | None:
    """The transaction whose change of the key would be lost, None where there is none.

    Goes back from the key's latest change. What was reversed since cancels out with its reversal.
    """
    revision = effect.latest
    while revision > effect.first:
        if revision in revisions:
            revision = log.before(effect.key, revision)
            continue
        done = log.done(revision)
        undone = log.touched(done.of, effect.key) if done.type in REVERSING else []
        if not undone or undone[0] <= effect.first:
            return revision
        revision = log.before(effect.key, undone[0])
    return None


def _conflict(
    log: Log, in_the_way: dict[str, int], replace: dict[str, int], of: list[str]
) -> Conflict:
    keys = sorted(in_the_way)
    first = next((key for key in keys if key in replace), keys[0])
    if first in replace:
        message = f"{first} is at revision {in_the_way[first]}; replace expects {replace[first]}."
    else:
        message = _changed_since(log, in_the_way, keys)
    return Conflict(
        message,
        key=first,
        keys=keys[:MAX_NAMED],
        of=of[:MAX_NAMED],
        revision=in_the_way[first],
    )


def _changed_since(log: Log, in_the_way: dict[str, int], keys: list[str]) -> str:
    told = ", ".join(
        f"{key} by {log.done(in_the_way[key]).actor} at revision {in_the_way[key]}"
        for key in keys[:NAMED]
    )
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return (
        f"Changed since: {told}{more}. Name each key in keep, to leave it as it is, or in replace "
        "with its revision."
    )


def _effects(log: Log, back: Changes, listed: int) -> list[KeyEffect]:
    """Of the first `listed` keys of `back`, as far as one answer holds their values."""
    found, size = list[KeyEffect](), 0
    for one in log.latest(sorted(back)[:listed]):
        size += len(one.raw or "") + len(back[one.key] or "")
        if size > MAX_TRANSACTION_BYTES:
            break
        now, then = _raw(one.raw), _raw(back[one.key])
        found.append(KeyEffect(one.key, one.actor, one.revision, iso(one.at), now, then))
    return found


def _raw(text: str | None) -> Raw | UnsetType:
    return UNSET if text is None else Raw(text.encode())


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    return values.same(one, other)
