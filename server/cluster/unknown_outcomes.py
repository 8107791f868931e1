"""Outcomes that are not known yet: stored until they are, since their senders got `unknown`.

So an attempt gets its outcome also where this process ends before. The transaction that was
sent to the log is stored with it: a later process sends it again, which never writes it twice.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from signalbox.server.feed import Feed
from signalbox.server.model.errors import OutcomeUnknown, Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.store.projection import Projection
from signalbox.server.write.group_commit import GroupCommit
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer

NOTHING_WRITTEN: Final = "Nothing was written."
UNKNOWN: Final = (
    "The engine has not answered: whether it was written will be in attempt {}; "
    "sent again under the same id it is never written twice."
)
NEVER_WRITTEN: Final = (
    f"The server ended before the engine had answered; it was not written there. {NOTHING_WRITTEN}"
)


class UnknownOutcomes:
    """The unknown outcomes of a node; those of an earlier process of it are `left`."""

    def __init__(self, projection: Projection, feed: Feed) -> None:
        """Read the unknown outcomes that an earlier process of this node has stored."""
        self._projection = projection
        self._feed = feed
        self._unsaved: list[tuple[Outcome, bool]] = []
        """To be stored: each with whether it is published once it is."""
        self._unresolved: dict[str, PendingAttempt] = {}
        """The attempts of this process whose outcomes are unknown, by id."""
        self.left = projection.unknown_outcomes()
        self._left_attempts = {outcome.attempt.id: outcome.attempt for outcome in self.left}

    def record(self, group: GroupCommit, attempts: Sequence[PendingAttempt]) -> None:
        """Remember a group whose outcome is unknown, to be stored: this process may end before."""
        sent = {transaction.revision: transaction for transaction in group.transactions}
        for pending, decided in zip(attempts, group.outcomes, strict=True):
            if decided.needs_commit:
                attempt = decided.attempt
                error = OutcomeUnknown(UNKNOWN.format(attempt.id))
                unknown = Outcome(
                    attempt, decided.at, group.expected, error=error, must_be_stored=True
                )
                transaction = sent[decided.revision] if decided.is_logged else None
                self._unsaved.append((unknown._replace(sent=transaction), False))
                self._unresolved[attempt.id] = pending

    def resolve(self, decided: Iterable[tuple[PendingAttempt, Outcome]]) -> None:
        """Note the final outcomes; those that are not part of a commit are to be stored."""
        for pending, outcome in decided:
            is_late = self.is_late(pending, outcome)
            is_recorded = self._unresolved.get(pending.attempt.id) is pending
            if is_recorded or is_late:
                final = outcome._replace(must_be_stored=pending.must_be_answered)
                self._unsaved.append((final, is_late))
            if is_recorded:
                del self._unresolved[pending.attempt.id]

    def has_earlier(self, pending: PendingAttempt) -> bool:
        """Whether the same command was sent before, and the outcome of that is unknown."""
        attempt = pending.attempt
        recorded = self._unresolved.get(attempt.id)
        if attempt.dry_run or recorded is pending:
            return False
        earlier = recorded.attempt if recorded else self._left_attempts.get(attempt.id)
        return earlier is not None and earlier.fingerprint == attempt.fingerprint

    @staticmethod
    def is_late(pending: PendingAttempt, outcome: Outcome) -> bool:
        """Whether the outcome must be stored before it is published: no commit has stored it."""
        return pending.must_be_answered and not outcome.needs_commit

    def none_can_arrive(self, revision: int) -> bool:
        """Whether nothing of `left` can reach the log any more, which is at `revision`."""
        return all(outcome.revision < revision for outcome in self.left)

    def left_transactions(self) -> list[Transaction]:
        """The last transactions that an earlier process sent, directly after `left`'s revision."""
        sent = [outcome.sent for outcome in self.left if outcome.sent]
        first = 1 + max((outcome.revision for outcome in self.left), default=0)
        begins = [index for index, transaction in enumerate(sent) if transaction.revision == first]
        last = sent[begins[-1] :] if begins else []
        numbered = enumerate(last, start=first)
        return [transaction for number, transaction in numbered if transaction.revision == number]

    def resolve_left(self, revision: int) -> None:
        """The log has reached `revision`: whatever of `left` is not there by now never will be."""
        resolved = [outcome for outcome in self.left if outcome.revision < revision]
        self.left = [outcome for outcome in self.left if outcome.revision >= revision]
        self._left_attempts = {outcome.attempt.id: outcome.attempt for outcome in self.left}
        for outcome in resolved:
            if self._projection.first_outcome(outcome.attempt.id) is None:
                rejected = outcome._replace(error=Unavailable(NEVER_WRITTEN), must_be_stored=True)
                self._unsaved.append((rejected, True))
            else:
                self._unsaved.append((outcome._replace(is_logged=True), False))

    def save(self, commit: Callable[[Callable[[], None]], None]) -> None:
        """Store what is to be stored; `commit` runs a function within a commit.

        Raises as `commit` does: then call it again later.
        """
        if not self._unsaved:
            return
        unsaved = self._unsaved[:]
        latest = {outcome.attempt.id: outcome for outcome, _ in unsaved}
        try:
            commit(lambda: self._projection.resolve_unknown(list(latest.values())))
        except BaseException:
            self._projection.rolled_back()
            raise
        del self._unsaved[: len(unsaved)]
        if late := [outcome for outcome, is_late in unsaved if is_late]:
            self._feed.publish((), late)


def reject_left_outcomes(projection: Projection, feed: Feed, writer: Writer) -> None:
    """Reject what an earlier process had sent to a shared log, where the log is local by now."""
    unknown = UnknownOutcomes(projection, feed)
    unknown.resolve_left(writer.revision + 1)
    with suppress(Unavailable):  # as on a full disk: the next start tries again
        unknown.save(lambda work: writer.run_between_commits(lambda _: work()))
