"""What senders were told comes later: kept on disk until it is known what became of it.

So it has its outcome also where this process ends before. With each command is kept what was sent
to the log: a process that comes after sends that again, which is never written twice.
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

UNWRITTEN: Final = "Nothing was written."
IN_DOUBT: Final = (
    "The engine has not answered: whether it was written is told later, as attempt {}; "
    "sent again under the same id it is never written twice."
)
NEVER_WRITTEN: Final = (
    f"The server ended before the engine had answered; it was not written there. {UNWRITTEN}"
)


class UnknownOutcomes:
    """Those of a node. What an earlier process of it did not know when it ended is `left`."""

    def __init__(self, projection: Projection, feed: Feed) -> None:
        self._projection = projection
        self._feed = feed
        self._unkept: list[tuple[Outcome, bool]] = []
        """Each with whether the streams are told of it once it is kept."""
        self._made: dict[str, PendingAttempt] = {}
        """Those, kept or not, of which nothing is known yet, by the id of the command."""
        self.left = projection.unknown_outcomes()
        self._left_attempts = {one.attempt.id: one.attempt for one in self.left}

    def make(self, group: GroupCommit, waiting: Sequence[PendingAttempt]) -> None:
        """Keep who may be told that the outcome comes later: this process may end before."""
        sent = {one.revision: one for one in group.transactions}
        for whose, one in zip(waiting, group.outcomes, strict=True):
            if one.needs_commit:
                error = OutcomeUnknown(IN_DOUBT.format(one.attempt.id))
                what = sent[one.revision] if one.is_logged else None
                doubt = Outcome(one.attempt, one.at, group.expected, error=error, is_owed=True)
                self._unkept.append((doubt._replace(sent=what), False))
                self._made[one.attempt.id] = whose

    def meet(self, told: Iterable[tuple[PendingAttempt, Outcome]]) -> None:
        """What was promised, and is not kept with the commit, is kept behind it."""
        for one, outcome in told:
            is_late = self.is_late(one, outcome)
            is_made = self._made.get(one.attempt.id) is one
            if is_made or is_late:
                self._unkept.append((outcome._replace(is_owed=one.is_owed), is_late))
            if is_made:
                del self._made[one.attempt.id]

    def has_same(self, waiting: PendingAttempt) -> bool:
        """Whether what waits was sent before under its id, and nothing is known of that yet."""
        attempt = waiting.attempt
        made = self._made.get(attempt.id)
        if attempt.dry_run or made is waiting:
            return False
        before = made.attempt if made else self._left_attempts.get(attempt.id)
        return before is not None and before.fingerprint == attempt.fingerprint

    @staticmethod
    def is_late(one: PendingAttempt, outcome: Outcome) -> bool:
        """Whether streams are told only once it is kept, as what is in a commit is."""
        return one.is_owed and not outcome.needs_commit

    def has_gone_by(self, revision: int) -> bool:
        """Whether none of what is `left` can arrive any more where the log is at `revision`."""
        return all(one.revision < revision for one in self.left)

    def sent_before(self) -> list[Transaction]:
        """What an earlier process sent last, directly behind the revision that `left` has."""
        sent = [one.sent for one in self.left if one.sent]
        first = 1 + max((one.revision for one in self.left), default=0)
        begins = [place for place, one in enumerate(sent) if one.revision == first]
        last = sent[begins[-1] :] if begins else []
        return [one for place, one in enumerate(last) if one.revision == first + place]

    def settle_left(self, revision: int) -> None:
        """The log has gone on up to `revision`: what is not there by now never will be."""
        settled = [one for one in self.left if one.revision < revision]
        self.left = [one for one in self.left if one.revision >= revision]
        self._left_attempts = {one.attempt.id: one.attempt for one in self.left}
        for one in settled:
            if self._projection.first_outcome(one.attempt.id) is None:
                never = one._replace(error=Unavailable(NEVER_WRITTEN), is_owed=True)
                self._unkept.append((never, True))
            else:
                self._unkept.append((one._replace(is_logged=True), False))

    def keep(self, write: Callable[[Callable[[], None]], None]) -> None:
        """`write` does something in a commit. Raises as that does: then it is to be tried again."""
        if not self._unkept:
            return
        kept = self._unkept[:]
        last = {outcome.attempt.id: outcome for outcome, _ in kept}  # known by now: no doubt
        try:
            write(lambda: self._projection.resolve_unknown(list(last.values())))
        except BaseException:
            self._projection.rolled_back()
            raise
        del self._unkept[: len(kept)]
        if late := [outcome for outcome, is_late in kept if is_late]:
            self._feed.publish((), late)


def reject_left_outcomes(projection: Projection, feed: Feed, writer: Writer) -> None:
    """Of a store that was a node's and has its log here now: what did not come never will."""
    promises = UnknownOutcomes(projection, feed)
    promises.settle_left(writer.revision + 1)
    with suppress(Unavailable):  # as on a full disk: the next start tries again
        promises.keep(lambda work: writer.run_between_commits(lambda _: work()))
