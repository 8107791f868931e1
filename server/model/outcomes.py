"""The outcome of an attempt: the answer that its sender gets, and what others are told of it."""

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
    is_owed: bool = False
    """Whether its sender was told that it comes later: then it is kept whatever it is."""
    sent: Transaction | None = None
    """What was sent to the log, where it is not known what became of that."""

    effects: list[KeyEffect] | None = None
    """What an undo, redo or restore would do, which its sender alone is told."""

    @property
    def is_stored(self) -> bool:
        """Whether it goes into the table of attempts, as what is in the log does not."""
        if self.duplicate or self.attempt.dry_run:
            return False
        if self.error is None:
            return not self.is_logged
        # Of an id that was used before the first outcome is kept.
        return self.error.remembered or (self.is_owed and not isinstance(self.error, IdReused))

    @property
    def depends_on_state(self) -> bool:
        """Whether another state might have led to another outcome: true of all but refusals that no
        state could spare, and of answers that stand since the id was used first.
        """
        is_settled = self.duplicate or isinstance(self.error, IdReused)
        return not (is_settled or self.attempt.refusal)

    @property
    def needs_commit(self) -> bool:
        """Whether it is told only once it, or its transaction, is on disk."""
        return self.is_logged or self.is_stored

    def answer(self) -> dict[str, Any]:
        """The acknowledgement."""
        if self.duplicate:
            dry = self.attempt.dry_run and self.duplicate["status"] == "accepted"
            return self.duplicate | {"duplicate": True} | ({"dry_run": True} if dry else {})
        if self.error:
            return {
                "id": self.attempt.id,
                "status": self.error.attempt_status,
                **self.error.fields(),
            }
        answer = accepted(self.attempt.id, self.revision, self.changes)
        return answer | {"dry_run": True, "revision": None} if self.attempt.dry_run else answer

    def reply(self) -> dict[str, Any]:
        """The acknowledgement as the POST gets it."""
        told = {} if self.effects is None else {"effects": self.effects}
        return self.answer() | told

    def event(self) -> dict[str, Any]:
        """The acknowledgement as streams carry it."""
        answer = self.answer()
        return {"id": answer.pop("id"), "actor": self.attempt.actor, **answer}

    def record(self) -> dict[str, Any]:
        """The attempt as `attempts` lists it."""
        record = {**self.event(), "type": self.attempt.type, "at": self.at}
        return {"key": self.attempt.key, **record} if self.attempt.key else record


def of_transaction(one: Transaction) -> Outcome:
    """The outcome of a transaction that another node has appended."""
    key = common_prefix(one.changes[0].key, one.changes[-1].key) if one.changes else None
    attempt = Attempt(one.id, one.actor, one.type, one.fingerprint, None, key=key)
    return Outcome(
        attempt, one.at, one.revision, len(one.changes), is_logged=True, is_from_other_node=True
    )


def accepted(identity: str, revision: int, changes: int) -> dict[str, Any]:
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
    """The one key, or the longest prefix that all keys from `first` to `last` stand below."""
    if first is None or last is None or first == last:
        return first
    pairs = zip(first.split(".")[:-1], last.split("."), strict=False)
    shared = takewhile(lambda pair: pair[0] == pair[1], pairs)
    return "".join(f"{segment}." for segment, _ in shared) or None
