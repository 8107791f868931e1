"""Decide undo, redo and restore: the changes they make, or the later changes that block them.

Pure: the event log is asked through `ReversalLog`.
"""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, Protocol

from msgspec import UNSET, Raw, Struct, UnsetType

from signalbox.server.model import horizons, values
from signalbox.server.model.commands import KEEP_REFUSED, Redo, Restore, Undo
from signalbox.server.model.decide import (
    MAX_NAMED,
    MAX_TRANSACTION_BYTES,
    Changes,
    change_size,
    check_growing,
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
from signalbox.server.model.horizons import Horizons
from signalbox.server.model.keys import RULES, Pattern, after_prefix, compile_pattern
from signalbox.server.model.rules import rules_of
from signalbox.server.model.times import iso

MAX_DESCRIBED: Final = 3
"""How many of the blocked keys a message describes."""


class TransactionHead(NamedTuple):
    """A transaction without its changes; `of` are the revisions that it reverses."""

    revision: int
    id: str
    actor: str
    type: str
    changes: int
    of: tuple[int, ...]


class KeyEffect(Struct):
    """A key's value `now`, whose change that was, and its value after the reversal (`back`).

    As compact JSON; UNSET where the key does not exist.
    """

    key: str
    actor: str
    revision: int
    at: str
    now: Raw | UnsetType = UNSET
    back: Raw | UnsetType = UNSET


class Reversal(NamedTuple):
    """The net changes and the revisions that they reverse, or the `conflict` that blocks them.

    `effects` are those on the keys that would change, or in a conflict on the blocked keys.
    """

    changes: Changes
    of: tuple[int, ...] = ()
    conflict: Conflict | None = None
    effects: list[KeyEffect] | None = None
    new_keys: AbstractSet[str] = frozenset()
    """Those of the changed keys that do not exist now."""
    examined: AbstractSet[str] = frozenset()
    """The keys that an undo or redo depends on."""


class LatestChange(NamedTuple):
    """The last change of a key, a deletion (`raw` None) included; `at` in ms UTC."""

    key: str
    revision: int
    actor: str
    at: int
    raw: str | None


class ChangedKey(NamedTuple):
    """A key that some transactions changed: the `first` of them, the key's value before that, and
    the revision of its `latest` change by anybody.
    """

    key: str
    first: int
    latest: int
    before: str | None


class ReversalLog(Protocol):
    """The questions about the event log, all answered as of one revision; keys come in order."""

    @property
    def revision(self) -> int:
        """The revision of the event log that the answers are as of."""

    def horizons(self) -> Horizons:
        """The retention horizons of the event log: what is before them cannot be reversed."""

    def transactions_of_actor(self, actor: str) -> Iterator[TransactionHead]:
        """The actor's transactions, newest first."""

    def transactions_of_command(self, identity: str) -> list[TransactionHead]:
        """The transaction of a command, or those of an import's batches, in order."""

    def transaction(self, revision: int) -> TransactionHead:
        """The head of the transaction with this revision."""

    def reversed_directly_or_not(self, revision: int) -> Iterator[TransactionHead]:
        """The transactions that this one reverses, those which these reverse, and so on."""

    def reversed_by(self, revision: int) -> int | None:
        """The last transaction that reverses this one; None where none does."""

    def changes_visible_keys(self, revision: int) -> bool:
        """Whether the transaction changed more than the app's own keys."""

    def changed_keys(self, revision: int) -> list[str]:
        """The keys that a transaction changed, without those that retention has removed."""

    def changed_by(self, revisions: Collection[int]) -> Iterator[ChangedKey]:
        """The keys that the transactions changed."""

    def revisions_changing(self, revisions: Collection[int], key: str) -> list[int]:
        """The transactions among `revisions` that changed the key, in order."""

    def previous_change(self, key: str, revision: int) -> int:
        """The last change of the key below `revision`, 0 where there is none."""

    def differing_since(
        self, pattern: Pattern, revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """The matching keys that another text is stored for than at `revision`: now, and then.

        Of a key that did not exist then, the value now is not read: it is an empty text.
        """

    def differing(
        self, keys: Collection[str], revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """As `differing_since`, of `keys` instead of those that match."""

    def existing(self, keys: Collection[str]) -> AbstractSet[str]:
        """Those of `keys` that exist."""

    def current_values(self, keys: Collection[str]) -> Iterator[tuple[str, str]]:
        """Those of `keys` that exist, with their current values."""

    def latest_changes(self, keys: Collection[str]) -> Iterator[LatestChange]:
        """The last change of each key in the event log, in the order of `keys`."""


def decide(
    log: ReversalLog,
    command: Restore | Undo | Redo,
    actor: str,
    max_effects: int = 0,
    dry_run: bool = False,
) -> Reversal:
    """Decide an undo, redo or restore. A dry run and a conflict list at most `max_effects` effects.

    Raises `Compacted`, `Conflict`, `Invalid`, `NotFound`, `NothingToUndo` or `TooLarge`. A refusal
    for its size is that of the revision at which it was counted.
    """
    check_store_revision(command.expect, log.revision)
    if isinstance(command, Restore):
        reversal = _restored(log, command)
    else:
        targets = _undo_targets(log, command, actor)
        if isinstance(command, Redo):
            targets = _redo_targets(log, command, actor)
        reversal = _reversal_of(log, targets, command)
    if not (reversal.conflict or dry_run):
        return reversal
    return reversal._replace(effects=effects_of(log, reversal.changes, max_effects))


def _restored(log: ReversalLog, command: Restore) -> Reversal:
    """What a `restore` does: net changes."""
    then = command.to_revision
    if then > log.revision:
        raise Invalid(
            f"There is no revision {then} yet; the store is at revision {log.revision}.",
            revision=log.revision,
            field="to_revision",
        )
    pattern = compile_pattern(command.match)
    unknown = log.horizons().incomplete_prefixes(then, pattern.low, pattern.high)
    if command.rules:
        unknown += log.horizons().incomplete_prefixes(then, RULES, after_prefix(RULES))
    if missing := [prefix for prefix in unknown if is_within(command, prefix)]:
        raise horizons.compacted_error(missing, then)
    changes: Changes = {}
    new_keys, size = set[str](), 0
    for key, is_now, was in log.differing_since(pattern, then):
        if is_within(command, key) and not is_equal(is_now, was):
            changes[key] = was
            if is_now is None:
                new_keys.add(key)
            size += change_size(key, was)
            check_growing(len(changes), size)
    if command.rules:
        add_rules(log, command, changes, new_keys)
    return Reversal(changes, new_keys=new_keys)


def is_within(command: Restore, key: str) -> bool:
    """Whether the command restores the key, or prefix, if it matches its pattern."""
    if command.keep != KEEP_REFUSED and key in command.keep:
        return False
    return not (command.without and key.startswith(tuple(command.without)))


def add_rules(log: ReversalLog, command: Restore, changes: Changes, new_keys: set[str]) -> None:
    """Let the rules come along that are others now than then, if they are about a key that changes:
    by their patterns now, or by those then. Raises `TooLarge`.
    """
    then = command.to_revision
    differing = {
        key: (is_now is None, was)
        for key, is_now, was in log.differing_since(compile_pattern(RULES + "**"), then)
        if is_within(command, key) and not is_equal(is_now, was)
    }
    now = log.current_values(differing)
    both = (rules_of(now), rules_of((key, was) for key, (_, was) in differing.items() if was))
    found = {
        rule.key
        for rules in both
        if rules
        for key in changes
        for rule in rules.about_uncached(key).matching
    }
    for key in sorted(found - changes.keys()):
        is_new, changes[key] = differing[key]
        new_keys |= {key} if is_new else set()
    check_size(changes)


def _undo_targets(log: ReversalLog, command: Undo | Redo, actor: str) -> list[TransactionHead]:
    """The transactions to reverse: those of the named command, else the actor's newest."""
    if isinstance(command, Redo):
        return []
    if command.of is None:
        for transaction in log.transactions_of_actor(actor):
            is_own = transaction.type not in REVERSING and log.changes_visible_keys(
                transaction.revision
            )
            if is_own and not is_reversed(log, transaction.revision):
                return [transaction]
        raise NothingToUndo(f"{actor} has done nothing that is not undone already.")
    return _not_reversed(log, _require_command(log, command.of), command.of)


def _redo_targets(log: ReversalLog, command: Redo, actor: str) -> list[TransactionHead]:
    """The undo to reverse: the named one, or that of the named command, else the actor's last."""
    if command.of is not None:
        transactions_of_command = _require_command(log, command.of)
        if transactions_of_command[0].type in REVERSING:
            return _not_reversed(log, transactions_of_command, command.of)
        undone = {
            by
            for transaction in transactions_of_command
            if (by := log.reversed_by(transaction.revision))
        }
        return _not_reversed(log, [log.transaction(by) for by in sorted(undone)], command.of)
    for transaction in log.transactions_of_actor(actor):
        if transaction.type == "undo" and not is_reversed(log, transaction.revision):
            return [transaction]
        if transaction.type not in REVERSING and log.changes_visible_keys(transaction.revision):
            break
    raise NothingToUndo(f"{actor} has undone nothing since its last command.")


def _require_command(log: ReversalLog, identity: str) -> list[TransactionHead]:
    """The transactions of the command to be undone or redone. Raises `NotFound`."""
    transactions = log.transactions_of_command(identity)
    if not transactions:
        raise NotFound(f"No transaction with the command id {identity} is kept.")
    return transactions


def _not_reversed(
    log: ReversalLog, transactions: list[TransactionHead], identity: str
) -> list[TransactionHead]:
    """The transactions that are not undone already. Raises `NothingToUndo`."""
    left = [
        transaction for transaction in transactions if not is_reversed(log, transaction.revision)
    ]
    if not left:
        raise NothingToUndo(f"{identity} is reversed already.")
    return left


def is_reversed(log: ReversalLog, revision: int) -> bool:
    """Whether a transaction is undone, and its undo has not been undone in turn."""
    is_undone, by = False, log.reversed_by(revision)
    while by is not None:
        is_undone, by = not is_undone, log.reversed_by(by)
    return is_undone


def _reversal_of(
    log: ReversalLog, targets: list[TransactionHead], command: Undo | Redo
) -> Reversal:
    """The reversal of the targets: net changes, or a conflict with later changes."""
    revisions = {target.revision for target in targets}
    _check_complete(log, targets)
    changes: Changes = {}
    blocked: dict[str, int] = {}
    found_keys, size = set[str](), 0
    keeps_refused = command.keep == KEEP_REFUSED
    keep = frozenset() if keeps_refused else frozenset(command.keep)
    for changed in log.changed_by(revisions):
        found_keys.add(changed.key)
        if changed.key in keep:
            continue
        changes[changed.key] = changed.before
        size += change_size(changed.key, changed.before)
        check_growing(len(changes), size)
        if blocking := _blocking_revision(log, changed, revisions, command.replace):
            if keeps_refused:
                del changes[changed.key]
            else:
                blocked[changed.key] = blocking
    if unknown := (keep | command.replace.keys()) - found_keys:
        raise Invalid(f"The key {min(unknown)} is not among those that would be reversed.")
    of = tuple(target.revision for target in targets)
    if blocked:
        conflict = _conflict(log, blocked, command.replace, [target.id for target in targets])
        blocked_changes = {key: changes[key] for key in blocked}
        return Reversal(blocked_changes, of, conflict, examined=found_keys)
    existing = log.existing(changes)
    to_compare = [key for key in existing if changes[key] is not None]
    equal = {key for key, raw in log.current_values(to_compare) if is_equal(raw, changes[key])}
    equal |= {key for key, raw in changes.items() if raw is None and key not in existing}
    net = {key: raw for key, raw in changes.items() if key not in equal}
    return Reversal(net, of, new_keys=net.keys() - existing, examined=found_keys)


def _check_complete(log: ReversalLog, targets: Iterable[TransactionHead]) -> None:
    """Raises `Compacted` where retention has removed what the targets' keys were before them."""
    all_horizons = log.horizons()
    newest = max(horizon.revision for horizon in all_horizons)
    for target in targets:
        if target.revision > newest:
            continue
        keys = log.changed_keys(target.revision)
        followed = {all_horizons.of(key) for key in keys}
        prefixes = sorted(each.prefix for each in followed if each.revision >= target.revision)
        if prefixes:
            raise horizons.compacted_error(prefixes, target.revision - 1)
        if len(keys) < target.changes:
            raise Compacted(f"Retention has removed changes of revision {target.revision}.")


def _blocking_revision(
    log: ReversalLog, changed: ChangedKey, revisions: Collection[int], replace: dict[str, int]
) -> int | None:
    """The revision for which the key is blocked; None where it may be reversed.

    A key in `replace` may, if its latest change is the one of the expected revision.
    """
    if changed.key not in replace:
        return _blocking_change(log, changed, revisions)
    return None if changed.latest == replace[changed.key] else changed.latest


def _blocking_change(
    log: ReversalLog, changed: ChangedKey, revisions: Collection[int]
) -> int | None:
    """The transaction whose change of the key would be lost, None where there is none.

    Goes back from the key's latest change; a change and its reversal cancel each other out.
    """
    revision = changed.latest
    while revision > changed.first:
        if revision in revisions:
            revision = log.previous_change(changed.key, revision)
            continue
        transaction = log.transaction(revision)
        undone = (
            log.revisions_changing(transaction.of, changed.key)
            if transaction.type in REVERSING
            else []
        )
        if not undone or undone[0] <= changed.first:
            return revision
        revision = log.previous_change(changed.key, undone[0])
    return None


def _conflict(
    log: ReversalLog, blocked: dict[str, int], replace: dict[str, int], of: list[str]
) -> Conflict:
    """The conflict that names the blocked keys."""
    keys = sorted(blocked)
    first = next((key for key in keys if key in replace), keys[0])
    if first in replace:
        message = f"{first} is at revision {blocked[first]}; replace expects {replace[first]}."
    else:
        message = _blocked_message(log, blocked, keys)
    return Conflict(
        message,
        key=first,
        keys=keys[:MAX_NAMED],
        of=of[:MAX_NAMED],
        revision=blocked[first],
    )


def _blocked_message(log: ReversalLog, blocked: dict[str, int], keys: list[str]) -> str:
    """The message that describes the first blocked keys."""
    described = ", ".join(
        f"{key} by {log.transaction(blocked[key]).actor} at revision {blocked[key]}"
        for key in keys[:MAX_DESCRIBED]
    )
    more = f" and {len(keys) - MAX_DESCRIBED} more" if len(keys) > MAX_DESCRIBED else ""
    return (
        f"Changed since: {described}{more}. Name each key in keep, to leave it as it is, or in "
        "replace with its revision."
    )


def effects_of(log: ReversalLog, back: Changes, max_effects: int) -> list[KeyEffect]:
    """The effects on the first `max_effects` keys, as far as one answer can hold their values."""
    effects, size = list[KeyEffect](), 0
    for change in log.latest_changes(sorted(back)[:max_effects]):
        size += len(change.raw or "") + len(back[change.key] or "")
        if size > MAX_TRANSACTION_BYTES:
            break
        now, then = _json_or_unset(change.raw), _json_or_unset(back[change.key])
        effects.append(
            KeyEffect(change.key, change.actor, change.revision, iso(change.at), now, then)
        )
    return effects


def _json_or_unset(text: str | None) -> Raw | UnsetType:
    """A key's value in the answer of a dry run; no field where the key does not exist."""
    return UNSET if text is None else Raw(text.encode())


def is_equal(one: str | None, other: str | None) -> bool:
    """Whether a key's values at two moments are equal; None is an absent key."""
    if one is None or other is None:
        return one is other
    return values.same(one, other)
