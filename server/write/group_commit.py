"""Attempts that share a commit, decided one after another against the effects of those before."""

import traceback
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, Final

from signalbox.server.model import reversal
from signalbox.server.model.commands import Attempt, HistoryCommand
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
from signalbox.server.model.events import Change, Entry, Transaction, check_bytes
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.reversal import KeyEffect, Reversal
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.runtime.error_messages import NOTICED, reason
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store.projection import Projection

SCAN_SLICE: Final = 500
"""Keys visited before other greenlets get a turn."""


class _Base:
    """The state before a group, as the read model has it; remembers what it was asked."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self.revision = projection.revision
        self.known: dict[str, Entry | None] = {}

    def get(self, key: str) -> Entry | None:
        if key not in self.known:
            self.known[key] = self._projection.entry(key)
        return self.known[key]

    def look_up(self, keys: Collection[str]) -> None:
        """Ask for many keys with few questions."""
        ordered = sorted({key for key in keys if key not in self.known})
        for start in range(0, len(ordered), SCAN_SLICE):
            asked = ordered[start : start + SCAN_SLICE]
            self.known |= dict.fromkeys(asked)
            self.known |= self._projection.entries_of(asked)
            yield_to_hub()

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        for count, (key, entry) in enumerate(self._projection.entries(prefix), start=1):
            self.known[key] = entry
            yield key, entry
            if count % SCAN_SLICE == 0:
                yield_to_hub()

    def count(self, prefix: str) -> int:
        return self._projection.count(prefix)


class GroupCommit:
    """Attempts decided one after another, each against the effects of those before it."""

    def __init__(self, projection: Projection, at: int, max_bytes: int | None = None) -> None:
        """`max_bytes` is the engine's limit for one encoded transaction, if it has any."""
        self._projection = projection
        self._max_bytes = max_bytes
        self._base = _Base(projection)
        self._layer = Overlay(self._base)
        self._at = at
        self._ids: dict[str, Outcome] = {}
        self._effects: list[KeyEffect] | None = None
        self.expected = self._base.revision
        self.transactions: list[Transaction] = []
        self.outcomes: list[Outcome] = []
        self.changes = 0

    def add(self, attempt: Attempt) -> None:
        """Decide `attempt`; its rejection leaves nothing behind."""
        kept = attempt.without_payload()
        before = len(self.transactions)
        self._effects = None
        try:
            first = self._first_answer(attempt)
            changes = 0 if first else self._decide(attempt)
        except Exception as error:  # noqa: BLE001 - one attempt never stops the writer
            if isinstance(error, NOTICED):
                error = self._projection.unreadable(error)
            outcome = Outcome(
                kept,
                self._at,
                self._layer.revision,
                error=as_refusal(error),
                effects=self._effects if isinstance(error, Conflict) else None,
            )
        else:
            outcome = Outcome(
                kept,
                self._at,
                self._layer.revision,
                changes,
                duplicate=first,
                is_logged=len(self.transactions) > before,
                effects=self._effects,
            )
        self.outcomes.append(outcome)
        if not (attempt.dry_run or outcome.duplicate or isinstance(outcome.error, IdReused)):
            self._ids[attempt.id] = outcome

    def has_same(self, attempt: Attempt) -> bool:
        """Whether the same command is in the group under its id."""
        one = self._ids.get(attempt.id)
        return one is not None and one.attempt.fingerprint == attempt.fingerprint

    def comings_and_goings(self) -> tuple[list[str], list[str]]:
        """The keys that exist only after the group, and only before it."""
        was = self._base.known
        final = self._layer.changes.items()
        added = [key for key, raw in final if raw is not None and was[key] is None]
        removed = [key for key, raw in final if raw is None and was[key] is not None]
        return added, removed

    def failed(self, attempts: Sequence[Attempt], error: SignalboxError) -> list[Outcome]:
        """The outcomes where nothing of the group could be written.

        What is told without a commit, such as a dry run, was decided against members that are not
        there: it is decided again, alone. `attempts` are those of the group, in order.
        """
        return [
            self._refused(outcome, error)
            if outcome.needs_commit
            else self._alone(attempt, outcome, error)
            for attempt, outcome in zip(attempts, self.outcomes, strict=True)
        ]

    def _alone(self, attempt: Attempt, decided: Outcome, error: SignalboxError) -> Outcome:
        group = GroupCommit(self._projection, self._at, self._max_bytes)
        group.add(attempt)
        outcome = group.outcomes[0]
        return self._refused(decided, error) if outcome.needs_commit else outcome

    def _refused(self, decided: Outcome, error: SignalboxError) -> Outcome:
        revision = self._projection.revision
        return Outcome(decided.attempt, self._at, revision, error=error)

    def _first_answer(self, attempt: Attempt) -> dict[str, Any] | None:
        """What the same command was answered before. Raises `IdReused` for another command."""
        if not attempt.has_sender_id:
            return None
        found = self._earlier(attempt.id) or self._projection.first_outcome(attempt.id)
        if found is None:
            return None
        fingerprint, answer = found
        if fingerprint != attempt.fingerprint:
            raise IdReused(attempt.id)
        return answer

    def _earlier(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """The outcome of the same id within this group, if it is one to be remembered."""
        earlier = self._ids.get(identity)
        if earlier is None or (earlier.error and not earlier.error.remembered):
            return None
        return earlier.attempt.fingerprint, earlier.answer()

    def _decide(self, attempt: Attempt) -> int:
        """How many changes the attempt makes; they are part of the group from now on."""
        of: tuple[int, ...] = ()
        if attempt.decide is not None:
            self._base.look_up(attempt.preload_keys)
            changes = attempt.decide(self._layer)
        elif isinstance(attempt.command, HistoryCommand):
            found = self._reverse(attempt, attempt.command)
            self._effects = found.effects
            if found.conflict:
                raise found.conflict
            changes, of = found.changes, found.of
            self._base.look_up(changes)
        elif attempt.command is not None:
            changes = decide(self._layer, attempt.command)
        else:
            raise attempt.refusal or Invalid("There is nothing to do.")
        if changes or of:
            # What was undone is settled, also where it left nothing to change.
            self._accept(attempt, changes, of)
        return len(changes)

    def _reverse(self, attempt: Attempt, command: HistoryCommand) -> Reversal:
        """What the last commit makes of an undo, redo or restore."""
        return self._projection.in_thread(
            lambda connection: reversal.decide(
                SqlReversalLog(connection),
                command,
                attempt.actor,
                attempt.effects,
                attempt.dry_run,
            )
        )

    def _accept(self, attempt: Attempt, changes: Changes, of: tuple[int, ...]) -> None:
        transaction = Transaction(
            self._layer.revision + 1,
            attempt.id,
            attempt.actor,
            self._at,
            attempt.type,
            attempt.fingerprint,
            self._facts(changes),
            of=of,
        )
        if self._max_bytes is not None:
            check_bytes(transaction, self._max_bytes)
        if attempt.dry_run:
            return
        self.transactions.append(transaction)
        self._layer.put(changes, transaction.revision)
        self._layer.revision = transaction.revision
        self.changes += len(changes)

    def _facts(self, changes: Changes) -> list[Change]:
        """In key order. Whatever is changed has been asked for, so what it was is known.

        Raises `ValueError` for a deletion of what is not there: no log may say so.
        """
        was, known = self._layer.changes, self._base.known
        absent = {key for key in changes if (was[key] if key in was else known[key]) is None}
        if any(changes[key] is None for key in absent):
            raise ValueError("a deletion of a key that is not there")
        return [_change((key, raw, key in absent)) for key, raw in sorted(changes.items())]


_change: Final = partial(tuple.__new__, Change)
"""As `Change(*three)`, without running Python for each of an import's lines."""


def as_refusal(error: Exception) -> SignalboxError:
    if isinstance(error, SignalboxError):
        return error
    traceback.print_exception(error)
    return Internal(f"The command could not be written: {reason(error)}. Nothing was changed.")
