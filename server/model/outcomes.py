"""The outcome of an attempt: its acknowledgement, and its record for the list of attempts."""

from itertools import takewhile
from typing import Any, NamedTuple

from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import (
    IdReused,
    SignalboxError,
)
from signalbox.server.model.events import (
    Transaction,
)
from signalbox.server.model.reversal import KeyEffect


class Outcome(NamedTuple):
    """`revision` is the transaction's, or the store's where nothing changed; `at` in ms UTC."""

    attempt: Attempt
    at: int
    revision: int
    changes: int = 0
    error: SignalboxError | None = None
    duplicate: dict[str, Any] | None = None
    """The first answer, where the same command had been sent before."""
    is_logged: bool = False
    is_from_other_node: bool = False
    """Whether another node has decided it."""
    must_be_stored: bool = False
    """Whether it is stored whatever it is, since its sender got `unknown` first."""
    sent: Transaction | None = None
    """What was sent to the log, where it is unknown whether that was appended."""

    effects: list[KeyEffect] | None = None
    """What an undo, redo or restore would do; only its sender's answer has it."""

    @property
    def is_stored(self) -> bool:
        """Whether the outcome is stored in the table of attempts: the log does not hold it."""
        if self.duplicate or self.attempt.dry_run:
            return False
        if self.error is None:
            return not self.is_logged
        # An id that was used before keeps its first outcome.
        return self.error.remembered or (
            self.must_be_stored and not isinstance(self.error, IdReused)
        )

    @property
    def depends_on_state(self) -> bool:
        """Whether another state might have led to another outcome.

        Not so for commands that are invalid in every state, and for ids that were used before.
        """
        is_repeated = self.duplicate or isinstance(self.error, IdReused)
        return not (is_repeated or self.attempt.refusal)

    @property
    def needs_commit(self) -> bool:
        """Whether the outcome, or its transaction, must be on disk before it is acknowledged."""
        return self.is_logged or self.is_stored

    def answer(self) -> dict[str, Any]:
        """The acknowledgement of the attempt, as its sender is answered."""
        if self.duplicate:
            dry = self.attempt.dry_run and self.duplicate["status"] == "accepted"
            return self.duplicate | {"duplicate": True} | ({"dry_run": True} if dry else {})
        if self.error:
            return {
                "id": self.attempt.id,
                "status": self.error.attempt_status,
                **self.error.fields(),
            }
        answer = accepted_answer(self.attempt.id, self.revision, self.changes)
        return answer | {"dry_run": True, "revision": None} if self.attempt.dry_run else answer

    def reply(self) -> dict[str, Any]:
        """The acknowledgement of the attempt, as the POST is answered."""
        return self.answer() | ({} if self.effects is None else {"effects": self.effects})

    def event(self) -> dict[str, Any]:
        """The acknowledgement of the attempt, as streams carry it."""
        answer = self.answer()
        return {"id": answer.pop("id"), "actor": self.attempt.actor, **answer}

    def record(self) -> dict[str, Any]:
        """The record of the attempt, as `/queries/attempts` lists it."""
        record = {**self.event(), "type": self.attempt.type, "at": self.at}
        return {"key": self.attempt.key, **record} if self.attempt.key else record


def outcome_from_log(transaction: Transaction) -> Outcome:
    """The outcome of a transaction that another node has appended."""
    changes = transaction.changes
    key = common_prefix(changes[0].key, changes[-1].key) if changes else None
    attempt = Attempt(
        transaction.id, transaction.actor, transaction.type, transaction.fingerprint, None, key=key
    )
    return Outcome(
        attempt,
        transaction.at,
        transaction.revision,
        len(changes),
        is_logged=True,
        is_from_other_node=True,
    )


def accepted_answer(identity: str, revision: int, changes: int) -> dict[str, Any]:
    """The answer to an accepted command."""
    return {
        "id": identity,
        "status": "accepted",
        "revision": revision,
        "changed": changes > 0,
        "changes": changes,
        "duplicate": False,
    }


def common_prefix(first: str | None, last: str | None) -> str | None:
    """The one key, or the longest prefix that all keys from `first` to `last` have."""
    if first is None or last is None or first == last:
        return first
    pairs = zip(first.split(".")[:-1], last.split("."), strict=False)
    shared = takewhile(lambda pair: pair[0] == pair[1], pairs)
    return "".join(f"{segment}." for segment, _ in shared) or None
