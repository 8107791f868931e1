"""The decision of an undo, redo or restore made before its turn, and what of it holds then.

Pure, as `reversal` is.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from signalbox.server.model.commands import Redo, Restore, Undo
from signalbox.server.model.decide import check_size, check_store_revision
from signalbox.server.model.errors import Conflict, Invalid, SignalboxError
from signalbox.server.model.horizons import Horizons
from signalbox.server.model.keys import RULES, compile_pattern
from signalbox.server.model.reversal import (
    Reversal,
    ReversalLog,
    TransactionHead,
    add_rules,
    decide,
    effects_of,
    is_equal,
    is_within,
)


class Decision(NamedTuple):
    """What `decide` found at a `revision`: a reversal, or the refusal that it raised."""

    revision: int
    horizons: Horizons
    reversal: Reversal | None = None
    refusal: SignalboxError | None = None

    def result(self) -> Reversal:
        """The reversal. Raises the refusal."""
        if self.reversal is None:
            raise self.refusal or ValueError("neither a reversal nor a refusal")
        return self.reversal


class ChangesSince(NamedTuple):
    """The transactions after a revision, and the keys that they changed."""

    transactions: Sequence[TransactionHead]
    keys: AbstractSet[str]


def decide_at(
    log: ReversalLog, command: Restore | Undo | Redo, actor: str, max_effects: int, dry_run: bool
) -> Decision:
    """As `decide`, with the revision at which it was decided; a refusal is part of the result."""
    revision, kept = log.revision, log.horizons()
    try:
        found = decide(log, command, actor, max_effects, dry_run)
    except SignalboxError as refusal:
        return Decision(revision, kept, refusal=refusal)
    return Decision(revision, kept, found)


def revise(
    log: ReversalLog,
    command: Restore | Undo | Redo,
    actor: str,
    decision: Decision,
    since: ChangesSince,
    max_effects: int = 0,
) -> Decision | None:
    """The decision as it is after the transactions `since`; None where it must be made again.

    Raises `Conflict` where the command expects another revision of the store.
    """
    check_store_revision(command.expect, log.revision)
    if log.horizons() != decision.horizons:
        return None
    if isinstance(decision.refusal, Conflict) and log.revision != decision.revision:
        return None  # it expected another revision of the store, which this one may be
    if isinstance(command, Restore):
        return _revise_restore(log, command, decision, since, max_effects)
    if any(_concerns(log, one, command, actor) for one in since.transactions):
        return None
    if decision.reversal and not since.keys.isdisjoint(decision.reversal.examined):
        return None
    return decision._replace(revision=log.revision)


def _revise_restore(
    log: ReversalLog,
    command: Restore,
    decision: Decision,
    since: ChangesSince,
    max_effects: int,
) -> Decision | None:
    """The decision of a restore, with the keys looked at again that have changed meanwhile."""
    pattern = compile_pattern(command.match)
    keys = sorted(key for key in since.keys if pattern.matches(key) and is_within(command, key))
    if isinstance(decision.refusal, Invalid) and since.transactions:
        return None  # it was of a revision that may have come meanwhile
    if command.rules and any(key.startswith(RULES) for key in since.keys):
        return None
    if not keys or decision.reversal is None:
        return decision._replace(revision=log.revision)
    changes = {key: raw for key, raw in decision.reversal.changes.items() if key not in since.keys}
    new_keys = set(decision.reversal.new_keys - since.keys)
    for key, is_now, was in log.differing(keys, command.to_revision):
        if not is_equal(is_now, was):
            changes |= {key: was}
            new_keys |= {key} if is_now is None else set()
    if command.rules:
        changes = {key: raw for key, raw in changes.items() if pattern.matches(key)}
        add_rules(log, command, changes, new_keys)
    check_size(changes)
    effects = decision.reversal.effects
    if effects is not None:
        again = {key: changes[key] for key in since.keys & changes.keys()}
        fresh = effects_of(log, again, max_effects)
        same = [effect for effect in effects if effect.key not in since.keys]
        effects = sorted([*same, *fresh], key=lambda effect: effect.key)[:max_effects]
    reversal = Reversal(changes, effects=effects, new_keys=new_keys)
    return decision._replace(revision=log.revision, reversal=reversal)


def _concerns(log: ReversalLog, later: TransactionHead, command: Undo | Redo, actor: str) -> bool:
    """Whether a later transaction may change what is to be reversed.

    That is one by the command's actor, or with its `of`; or one by which such a one is undone, or
    is not any more.
    """
    reversed_too = log.reversed_directly_or_not(later.revision) if later.of else ()
    return any(
        one.actor == actor
        if command.of is None
        else one.id == command.of or one.id.startswith(f"{command.of}-")
        for one in (later, *reversed_too)
    )
