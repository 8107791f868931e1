"""Group commit: attempts that are decided one after another and made durable together."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from signalbox.server.engines.engine_interface import Engine
from signalbox.server.model.commands import KEEP_REFUSED, Attempt, HistoryCommand
from signalbox.server.model.decide import (
    Changes,
    Overlay,
    decide,
)
from signalbox.server.model.errors import (
    Conflict,
    IdReused,
    Internal,
    Invalid,
    SignalboxError,
)
from signalbox.server.model.events import Change, Entry, Transaction, check_encoded_size
from signalbox.server.model.history_decision import Decision
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.reversal import KeyEffect
from signalbox.server.model.rule_check import allowed_changes, check_rules
from signalbox.server.runtime.error_messages import reason
from signalbox.server.runtime.scheduling import Pauses, yield_to_hub
from signalbox.server.runtime.threads import off_hub
from signalbox.server.store.projection import Projection
from signalbox.server.store.read_errors import is_damage

logger: Final = logging.getLogger(__name__)

SCAN_SLICE: Final = 500
"""Entries that are read before the greenlet yields to others."""
KEYS_SLICE: Final = 5_000
"""Keys without their entries that are read then."""


class _StateBefore:
    """The state before a group, from the projection; entries that were read once are cached."""

    def __init__(self, projection: Projection) -> None:
        """The state that `projection` has before the group."""
        self._projection = projection
        self.revision = projection.revision
        self.rules = projection.rules
        self._cached: dict[str, Entry | None] = {}
        self._existing: dict[str, bool] = {}
        """Of keys whose entries were not read."""

    def get(self, key: str) -> Entry | None:
        """The key's entry before the group; read once."""
        if key not in self._cached:
            self._cached[key] = self._projection.entry(key)
        return self._cached[key]

    def exists(self, key: str) -> bool:
        """Whether the key exists before the group."""
        if key in self._existing:
            return self._existing[key]
        return self.get(key) is not None

    def learn(self, existing: Mapping[str, bool]) -> None:
        """Which keys exist, as somebody has found out who has read them."""
        self._existing |= existing

    def look_up(self, keys: Collection[str]) -> None:
        """Read the entries of many keys with few queries."""
        missing = sorted({key for key in keys if key not in self._cached})
        for start in range(0, len(missing), SCAN_SLICE):
            if start:
                yield_to_hub()
            chunk = missing[start : start + SCAN_SLICE]
            self._cached |= dict.fromkeys(chunk)
            self._cached |= self._projection.entries_of(chunk)

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every key that begins with `prefix`, before the group; others run in between."""
        for count, (key, entry) in enumerate(self._projection.entries(prefix), start=1):
            self._cached[key] = entry
            yield key, entry
            if count % SCAN_SLICE == 0:
                yield_to_hub()

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key before the group that begins with `prefix`, as `scan`, without the values."""
        for count, key in enumerate(self._projection.keys(prefix), start=1):
            self._existing[key] = True
            yield key
            if count % KEYS_SLICE == 0:
                yield_to_hub()

    def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`, before the group."""
        return self._projection.count(prefix)


class GroupCommit:
    """Attempts that share one commit; each is decided on the state that those before it leave.

    `expected` is the revision before the group, `transactions` and `outcomes` are in order.
    """

    def __init__(self, projection: Projection, at: int, max_bytes: int | None = None) -> None:
        """`at` stamps in ms UTC, `max_bytes` is the engine's limit for one encoded transaction."""
        self._projection = projection
        self._max_bytes = max_bytes
        self._before = _StateBefore(projection)
        self._after = Overlay(self._before)
        self._at = at
        self._ids: dict[str, Outcome] = {}
        self._stored: dict[str, tuple[bytes, dict[str, Any]] | None] = {}
        """What `first_outcome` has found."""
        self._effects: list[KeyEffect] | None = None
        self._absent_before = set[str]()
        """Of the keys that the group changes, those that do not exist before it."""
        self.expected = self._before.revision
        self.transactions: list[Transaction] = []
        self.outcomes: list[Outcome] = []
        self._decisions: list[Decision | None] = []
        self.changes = 0

    def add(self, attempt: Attempt, decision: Decision | None = None) -> None:
        """Decide `attempt`; a rejection changes nothing but the list of outcomes.

        `decision` is that of an undo, redo or restore, which holds at the last commit.
        """
        self._decisions.append(decision)
        without_payload = attempt.without_payload()
        before = len(self.transactions)
        self._effects = None
        try:
            first = self._first_answer(attempt)
            changes = 0 if first else self._decide(attempt, decision)
        except Exception as error:  # noqa: BLE001 - one attempt never stops the writer
            if is_damage(error):
                error = self._projection.unreadable(error)
            outcome = Outcome(
                without_payload,
                self._at,
                self._after.revision,
                error=as_rejection(error),
                effects=self._effects if isinstance(error, Conflict) else None,
            )
        else:
            outcome = Outcome(
                without_payload,
                self._at,
                self._after.revision,
                changes,
                duplicate=first,
                is_logged=len(self.transactions) > before,
                effects=self._effects,
            )
        self.outcomes.append(outcome)
        if not (attempt.dry_run or outcome.duplicate or isinstance(outcome.error, IdReused)):
            self._ids[attempt.id] = outcome

    def first_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """As `Projection.first_outcome`, looked up once."""
        if identity not in self._stored:
            self._stored[identity] = self._projection.first_outcome(identity)
        return self._stored[identity]

    def contains(self, attempt: Attempt) -> bool:
        """Whether the group has the same command with the same id."""
        outcome = self._ids.get(attempt.id)
        return outcome is not None and outcome.attempt.fingerprint == attempt.fingerprint

    def commit(self, engine: Engine) -> None:
        """Append the transactions, and write what they make of the state, in one commit."""
        stored = [outcome for outcome in self.outcomes if outcome.is_stored]
        if not self.transactions and not stored:
            return
        engine.append(
            self.transactions,
            self.expected,
            lambda: self._projection.apply(
                self.transactions, stored, *self._added_and_removed_keys(), self._after.rules
            ),
        )
        self._projection.committed()

    def failed_outcomes(self, attempts: Sequence[Attempt], error: SignalboxError) -> list[Outcome]:
        """The outcomes where nothing of the group could be written; `attempts` are all of them.

        An outcome that needs no commit, such as that of a dry run, was decided after others that
        now failed: it is decided again, alone.
        """
        return [
            self._rejected(outcome, error)
            if outcome.needs_commit
            else self._decided_alone(attempt, decision, outcome, error)
            for attempt, decision, outcome in zip(
                attempts, self._decisions, self.outcomes, strict=True
            )
        ]

    def _added_and_removed_keys(self) -> tuple[list[str], list[str]]:
        """The keys that exist only after the group, and only before it."""
        absent, after = self._absent_before, self._after.changes.items()
        added = [key for key, raw in after if raw is not None and key in absent]
        removed = [key for key, raw in after if raw is None and key not in absent]
        return added, removed

    def _decided_alone(
        self,
        attempt: Attempt,
        decision: Decision | None,
        decided: Outcome,
        error: SignalboxError,
    ) -> Outcome:
        """The outcome of an attempt of a failed group; a rejection of its own stays that."""
        group = GroupCommit(self._projection, self._at, self._max_bytes)
        group.add(attempt, decision)
        outcome = group.outcomes[0]
        return self._rejected(decided, error) if outcome.needs_commit else outcome

    def _rejected(self, decided: Outcome, error: SignalboxError) -> Outcome:
        """The outcome of an attempt of a group that could not be committed."""
        return Outcome(decided.attempt, self._at, self._projection.revision, error=error)

    def _first_answer(self, attempt: Attempt) -> dict[str, Any] | None:
        """The first answer to the same command. Raises `IdReused` if its id was another's."""
        if not attempt.has_sender_id:
            return None
        earlier = self._earlier(attempt.id) or self.first_outcome(attempt.id)
        if earlier is None:
            return None
        fingerprint, answer = earlier
        if fingerprint != attempt.fingerprint:
            raise IdReused(attempt.id)
        return answer

    def _earlier(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """Fingerprint and answer of the same id within this group, where they are to be stored."""
        earlier = self._ids.get(identity)
        if earlier is None or (earlier.error and not earlier.error.remembered):
            return None
        return earlier.attempt.fingerprint, earlier.answer()

    def _decide(self, attempt: Attempt, decision: Decision | None) -> int:
        """Decide the command and add its transaction to the group; how many changes it makes."""
        of: tuple[int, ...] = ()
        if attempt.decide is not None:
            self._before.look_up(attempt.preload_keys)
            changes = attempt.decide(self._after)
        elif decision is not None:
            changes, of = self._reversal(attempt, decision)
        elif attempt.command is not None and not isinstance(attempt.command, HistoryCommand):
            changes = decide(self._after, attempt.command)
        else:
            raise attempt.refusal or Invalid("There is nothing to do.")
        if attempt.decide is None:
            check_rules(self._after, changes, attempt.actor, Pauses().pause)
        if attempt.dry_run and self._max_bytes is None:
            return len(changes)
        if changes or of:
            # An undo is recorded as done also where there is nothing left to change.
            self._add_transaction(attempt, changes, of)
        return len(changes)

    def _reversal(self, attempt: Attempt, decision: Decision) -> tuple[Changes, tuple[int, ...]]:
        """The changes of an undo, redo or restore, and which revisions it reverses."""
        found = decision.result()
        self._effects = found.effects
        if found.conflict:
            raise found.conflict
        self._before.learn({key: key not in found.new_keys for key in found.changes})
        changes = found.changes
        if isinstance(attempt.command, HistoryCommand) and attempt.command.keep == KEEP_REFUSED:
            pause = Pauses().pause
            changes = allowed_changes(self._after, changes, attempt.actor, pause)
            if found.changes and not changes:  # nothing is left: it is refused as a whole
                check_rules(self._after, found.changes, attempt.actor, pause)
            if self._effects is not None:
                self._effects = [effect for effect in self._effects if effect.key in changes]
        return changes, found.of

    def _add_transaction(self, attempt: Attempt, changes: Changes, of: tuple[int, ...]) -> None:
        """Add the transaction of a decided command to the group. Raises `TooLarge`."""
        transaction = Transaction(
            self._after.revision + 1,
            attempt.id,
            attempt.actor,
            self._at,
            attempt.type,
            attempt.fingerprint,
            off_hub(lambda: self._net_changes(changes), len(changes)),
            of=of,
        )
        if self._max_bytes is not None:
            check_encoded_size(transaction, self._max_bytes)
        if attempt.dry_run:
            return
        self.transactions.append(transaction)
        self._after.apply(changes, transaction.revision)
        self._after.revision = transaction.revision
        self.changes += len(changes)

    def _net_changes(self, changes: Changes) -> list[Change]:
        """The changes in key order. Of every changed key it is known whether it existed.

        Raises `ValueError` for a deletion of an absent key, which no log may have.
        """
        exists = self._after.exists
        absent = {key for key in changes if not exists(key)}
        if any(changes[key] is None for key in absent):
            raise ValueError("a deletion of a key that is not there")
        self._absent_before |= {key for key in absent if key not in self._after.changes}
        return [_change((key, changes[key], key in absent)) for key in sorted(changes)]


_change: Final = partial(tuple.__new__, Change)
"""As `Change(*three)`, without running Python for each of an import's lines."""


def as_rejection(error: Exception) -> SignalboxError:
    """The error that the sender gets: what is unexpected becomes `Internal`, and is logged."""
    if isinstance(error, SignalboxError):
        return error
    logger.error("A command could not be written.", exc_info=error)
    return Internal(f"The command could not be written: {reason(error)}. Nothing was changed.")
