"""The writer of a node: others append to the same log, and the log may be away.

Every command is decided against this node's replica at revision N and appended behind N. Where
somebody else was first, the node catches up and decides again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import random
from time import monotonic
from typing import Final

import apsw
import gevent
from gevent.event import AsyncResult, Event

from signalbox.server.cluster.unknown_outcomes import IN_DOUBT, UNWRITTEN, UnknownOutcomes
from signalbox.server.engines.base import AppendIndeterminate, LogConflict
from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.feed import Feed
from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import (
    DiskFull,
    OutcomeUnknown,
    SignalboxError,
    StoreError,
    Unavailable,
)
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.runtime.error_messages import sentence
from signalbox.server.store.projection import Projection
from signalbox.server.write.group_commit import GroupCommit
from signalbox.server.write.pending_attempt import PendingAttempt, Timeout
from signalbox.server.write.writer import Writer

TIMEOUT_SECONDS: Final = 10.0
"""How long a sender waits for an outcome."""
PIECE: Final = 1_000
"""Transactions read from the log at once."""
PAUSE_SECONDS: Final = 0.001
"""Before deciding again, at most, after the first conflict; twice as long after each other one."""
LONGEST_PAUSE: Final = 0.016
CONTENDED_SECONDS: Final = 0.1
"""Others count as writing for so long after they did."""
TURN_SECONDS: Final = 0.004
"""How long they are waited for."""
RETRY_SECONDS: Final = 1.0
KEEPING_SECONDS: Final = 0.1
"""How often a sender looks who waits for longer until it can be told something."""
JUDGED_SECONDS: Final = 1.0
"""How long a sender waits whose command is refused whatever the engine says."""


class NodeWriter(Writer):
    """See `Writer`. `receive` brings what the log has from other nodes.

    `timeout` is for how many seconds a sender waits.
    """

    def __init__(
        self,
        engine: ReplicatedEngine,
        projection: Projection,
        feed: Feed,
        clock: Callable[[], float],
        last_at: int,
        timeout: float,
    ) -> None:
        self._log = engine
        self._arrived: deque[tuple[Sequence[Transaction], AsyncResult[None]]] = deque()
        self._unsettled: tuple[GroupCommit, list[PendingAttempt]] | None = None
        self._is_due = False
        self._conflicts = 0
        self._wrote_last = False
        self._others_wrote = -CONTENDED_SECONDS
        self._turn = Event()
        self._at_rest = Event()
        self._at_rest.set()
        self.doubt: str | None = None
        """Why an append is unsettled, while one is."""
        self.conflicts = 0
        """Appends that came second, since the start."""
        self._timeout = Timeout(timeout, self._give_up, self._seconds_left)
        self._short_timeout = Timeout(min(timeout, JUDGED_SECONDS), self._give_up)
        self._asked = -timeout
        """When the engine was asked last, in seconds of `monotonic`."""
        self._asking: GroupCommit | None = None
        """What has been sent for the first time, while its promises are not kept yet."""
        self._promises = UnknownOutcomes(projection, feed)
        self._is_left_due = bool(self._promises.left)
        super().__init__(engine, projection, feed, clock, last_at)
        if self._is_left_due:
            self._work.set()

    def receive(self, transactions: Sequence[Transaction]) -> None:
        """Bring what follows in the log to the replica; return when it is there.

        What is there already is left out. Raises `Unavailable` for a gap, or where the replica
        cannot be written.
        """
        done: AsyncResult[None] = AsyncResult()
        self._arrived.append((transactions, done))
        self._work.set()
        if transactions[-1].revision > self.revision:
            self._turn.set()
        done.get()

    def applied_revision(self) -> int:
        """The revision up to which all is here; an append that is under way is waited for.

        So what this node has appended need not be read from the log again.
        """
        self._at_rest.wait()
        return self.revision

    def _has_work(self) -> bool:
        if self._unsettled:
            return bool(self._is_due or self._chores or self._arrived)
        return bool(super()._has_work() or self._arrived or self._is_left_due)

    def _write(self) -> None:
        while self._arrived:
            self._take_in(*self._arrived.popleft())
        if self._unsettled:
            self._settle(*self._unsettled)
        else:
            self._settle_left()
            if self._queue:
                self._give_way()
        if not self._unsettled:
            super()._write()
        self._keep_promised()
        if self._is_closing and self._unsettled:
            self._let_go(self._unsettled[1])

    def _give_way(self) -> None:
        """Where others write as well, whoever wrote last lets somebody else be next.

        The writer would win again and again otherwise: the others still have to catch up.
        """
        others_write = monotonic() - self._others_wrote < CONTENDED_SECONDS
        if self._wrote_last and others_write and not self._arrived:
            self._turn.clear()
            self._turn.wait(TURN_SECONDS)
        while self._arrived:
            self._take_in(*self._arrived.popleft())

    def _take_in(self, transactions: Sequence[Transaction], done: "AsyncResult[None]") -> None:
        try:
            self._absorb(transactions)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            done.set_exception(error)
        else:
            done.set(None)

    def _absorb(self, transactions: Sequence[Transaction]) -> None:
        """Write what the replica lacks, and tell of it."""
        fresh = [one for one in transactions if one.revision > self.revision]
        if not fresh:
            return
        if fresh[0].revision != self.revision + 1:
            raise Unavailable(
                f"The log gave revision {fresh[0].revision} where {self.revision + 1} was next."
            )
        try:
            self._receive(fresh)
        except BaseException:
            self._projection.rolled_back()
            raise
        self._wrote_last, self._others_wrote = False, monotonic()

    def _receive(self, transactions: Sequence[Transaction]) -> None:
        try:
            self._write_down(transactions, self._log.receive)
        except apsw.ConstraintError:
            # Retention thins out each replica in its own time: an id may be new elsewhere.
            self._projection.rolled_back()
            for one in transactions:
                self._log.forget(one.id)
                self._write_down([one], self._log.receive)

    def _catch_up(self, end: int) -> None:
        """Bring the replica to the log's `end`. Raises `Unavailable`."""
        if end < self.revision:
            raise Unavailable(f"The log ends at revision {end}; this replica has {self.revision}.")
        try:
            while self.revision < end:
                self._absorb(self._next_piece())
        except StoreError as error:
            raise Unavailable(str(error)) from error

    def _next_piece(self) -> list[Transaction]:
        """What follows in the log, which must still be the one that the replica follows."""
        ours = self._projection.transactions(self.revision - 1, 1)
        piece = self._log.read(self.revision - len(ours), PIECE)
        if ours and (not piece or (piece[0].id, piece[0].at) != (ours[0].id, ours[0].at)):
            raise Unavailable(f"The log has lost or replaced revision {self.revision}.")
        if len(piece) <= len(ours):
            raise Unavailable(f"The log does not give what is behind revision {self.revision}.")
        return piece

    def _commit(self, group: GroupCommit) -> None:
        if not self._unsettled:
            self._asked, self._asking = monotonic(), group
        if not group.transactions and any(one.depends_on_state for one in group.outcomes):
            self._log.confirm(group.expected)
        self._at_rest.clear()
        try:
            super()._commit(group)
        finally:
            self._at_rest.set()
        self._conflicts = 0
        self._wrote_last = self._wrote_last or bool(group.transactions)

    def _finish_apart(self, waiting: list[PendingAttempt]) -> None:
        for place, one in enumerate(waiting):
            if self._unsettled:
                self._requeue(waiting[place:])
                return
            super()._finish_apart([one])

    def _failed(self, group: GroupCommit, waiting: list[PendingAttempt], error: Exception) -> None:
        if isinstance(error, AppendIndeterminate):
            self._unsettled = (group, waiting)
            self._promises.make(group, waiting)
            self._wake_later(0)
        elif isinstance(error, LogConflict):
            self._decide_again(waiting, error.actual)
        else:
            applied_revision = _untouched(error) if isinstance(error, SignalboxError) else error
            super()._failed(group, waiting, applied_revision)

    def _without(
        self, group: GroupCommit, waiting: Sequence[PendingAttempt], error: SignalboxError
    ) -> list[Outcome]:
        """What needs no commit rests on this replica, which may be behind the log by now."""
        outcomes = super()._without(group, waiting, error)
        resting = [one.depends_on_state and one.error is not error for one in outcomes]
        # Where nothing was to be appended, the log was asked just now.
        if not any(resting) or (group.transactions and self._is_at_end()):
            return outcomes
        return [
            one._replace(changes=0, error=error) if rests else one
            for one, rests in zip(outcomes, resting, strict=True)
        ]

    def _is_at_end(self) -> bool:
        """Whether the log confirms that it ends where this replica does."""
        try:
            self._log.confirm(self.revision)
        except (SignalboxError, StoreError, LogConflict):
            return False
        return True

    def _decide_again(self, waiting: list[PendingAttempt], end: int) -> None:
        """Somebody else was first: catch up, and let chance say who is next."""
        self.conflicts += 1
        self._conflicts += 1
        self._requeue(waiting)
        gevent.sleep(random() * min(PAUSE_SECONDS * 2**self._conflicts, LONGEST_PAUSE))  # noqa: S311 - no secret
        try:
            self._catch_up(end)
        except SignalboxError as error:
            self._refuse_all(error)

    def _requeue(self, waiting: list[PendingAttempt]) -> None:
        """Back to the front of the queue, also for those who gave up: they are owed an outcome."""
        for one in waiting:
            one.is_taken = False
        self._queue.extendleft(reversed(waiting))

    def _refuse_all(self, error: SignalboxError) -> None:
        while self._queue:
            one = self._queue.popleft()
            if one.is_owed or not one.gave_up:  # else it was told already
                self.reject(one, _untouched(error))

    def _settle(self, group: GroupCommit, waiting: list[PendingAttempt]) -> None:
        """Find out what became of an append whose answer did not come.

        What of the group the log has, it has right behind the group's revision. While nothing
        else stands behind that, the rest may still arrive and is appended again; once something
        does, it never can.
        """
        self._is_due = False
        try:
            self._catch_up(self._log.last_revision())
            if self.revision == group.expected:
                self._commit(group)
                self._unsettled = self.doubt = None
                self._tell(group.transactions, group.outcomes, waiting)
                return
            if rest := self._rest_of(group.transactions):
                self._write_down(rest, self._log.append)
        except LogConflict:
            self._projection.rolled_back()
            self._wake_later(0)  # now the log has something behind the group's revision
            return
        except Exception as error:  # noqa: BLE001 - it stays in doubt until the log can be asked
            self._projection.rolled_back()
            self.doubt = f"What became of an append is not known: {sentence(error)}"
            self._wake_later()
            return
        self._unsettled = None
        self.doubt = None
        self._sort_out(group, waiting)

    def _rest_of(self, sent: Sequence[Transaction]) -> Sequence[Transaction]:
        """What the log lacks of what was sent, where it ends within that or directly before it."""
        arrived = self.revision - sent[0].revision + 1 if sent else -1
        if not 0 <= arrived < len(sent):
            return ()
        last = self._projection.transactions(self.revision - 1, 1) if arrived else ()
        return sent[arrived:] if all(one.id == sent[arrived - 1].id for one in last) else ()

    def _settle_left(self) -> None:
        """As `_settle`, for what an earlier process of this node had sent when it ended."""
        if self._is_left_due and not self._promises.has_gone_by(self.revision):
            try:
                self._catch_up(self._log.last_revision())
                if rest := self._rest_of(self._promises.sent_before()):
                    self._write_down(rest, self._log.append)
            except Exception as error:  # noqa: BLE001 - it stays in doubt until the log can be asked
                self._projection.rolled_back()
                self._is_left_due = isinstance(error, LogConflict)
                if not self._is_left_due:
                    gevent.spawn_later(RETRY_SECONDS, self._left_is_due)
                return
        self._is_left_due = False
        self._promises.settle_left(self.revision)

    def _left_is_due(self) -> None:
        self._is_left_due = True
        self._work.set()

    def _sort_out(self, group: GroupCommit, waiting: list[PendingAttempt]) -> None:
        """Tell those whose transaction is in the log; decide the others again."""
        found = self._projection.transactions(group.expected, len(group.transactions))
        there = {(one.revision, one.id) for one in found}
        left = []
        for one, outcome in zip(waiting, group.outcomes, strict=True):
            if outcome.is_logged and (outcome.revision, outcome.attempt.id) in there:
                one.resolve(outcome)
                self._promises.meet([(one, outcome)])
            else:
                left.append(one)
        self._requeue(left)

    def _wake_later(self, seconds: float = RETRY_SECONDS) -> None:
        gevent.spawn_later(seconds, self._settle_soon)

    def _settle_soon(self) -> None:
        self._is_due = True
        self._work.set()

    def _let_go(self, waiting: list[PendingAttempt]) -> None:
        """The server ends: what is in doubt stays so until a node reads the log."""
        self._unsettled = None
        for one in waiting:
            one.resolve(self._give_up(one))
        self._refuse_all(Unavailable(f"The server is ending. {UNWRITTEN}"))
        self._keep_promised()

    # What senders are told that have waited for long enough, and what is owed to them then.

    def _timeout_for(self, attempt: Attempt) -> Timeout:
        """What is refused whatever the engine says need not wait for it."""
        return self._short_timeout if attempt.refusal else self._timeout

    def _seconds_left(self, waiting: PendingAttempt) -> float:
        """The engine is waited for, not this computer: what takes long to decide may do so.

        And nobody is promised an outcome before that promise is kept: the engine's answer to what
        is large may take longer. Nor is who sends the same again.
        """
        seconds = self._timeout.seconds
        left = seconds if self._is_deciding else self._asked + seconds - monotonic()
        asking = self._asking
        is_asked = asking and (waiting.is_taken or asking.has_same(waiting.attempt))
        return max(left, KEEPING_SECONDS) if is_asked else left

    def _give_up(self, waiting: PendingAttempt) -> Outcome:
        attempt = waiting.attempt.without_payload()
        outcome = Outcome(attempt, self._now(), self.revision)
        if attempt.refusal:
            error = attempt.refusal
        elif waiting.is_taken and not attempt.dry_run:
            error = OutcomeUnknown(IN_DOUBT.format(attempt.id))
        elif self._promises.has_same(waiting):
            return self._told_with_the_first(waiting)
        else:
            outcome = outcome._replace(error=Unavailable(_UNTRIED))
            self._feed.publish((), (outcome,))
            return outcome
        waiting.is_owed = True
        outcome = outcome._replace(error=error)
        self._feed.remember_unknown(outcome)
        return outcome

    def _told_with_the_first(self, waiting: PendingAttempt) -> Outcome:
        """Sent again while the first is in doubt: one id has one outcome, which comes later."""
        attempt = waiting.attempt.without_payload()
        error = OutcomeUnknown(IN_DOUBT.format(attempt.id))
        outcome = Outcome(attempt, self._now(), self.revision, error=error)
        self._feed.remember_unknown(outcome)
        return outcome

    def _tell(
        self,
        transactions: Sequence[Transaction],
        outcomes: Sequence[Outcome],
        waiting: Sequence[PendingAttempt],
    ) -> None:
        told = []
        for one, outcome in zip(waiting, outcomes, strict=True):
            is_refused = outcome.error is not None and not outcome.error.remembered
            if is_refused and self._promises.has_same(one):
                one.resolve(self._told_with_the_first(one))
            else:
                told.append((one, outcome))
        now = [(one, outcome) for one, outcome in told if not UnknownOutcomes.is_late(one, outcome)]
        super()._tell(transactions, [outcome for _, outcome in now], [one for one, _ in now])
        self._promises.meet(told)

    def _keep_promised(self) -> None:
        """Where there is no room it is tried again, and who would be told so goes on waiting.

        It may take of what is kept for deleting: a deletion is promised an outcome as well.
        """
        try:
            self._promises.keep(
                lambda work: self._log.append((), self.revision, work, takes_long=True)
            )
        except Exception:  # noqa: BLE001 - as on a full disk
            gevent.spawn_later(RETRY_SECONDS, self._work.set)
        else:
            self._asking = None


def _untouched(error: SignalboxError) -> SignalboxError:
    """Says so, where the engine was away."""
    is_told = isinstance(error, DiskFull) or error.message.endswith(UNWRITTEN)
    if isinstance(error, Unavailable) and not is_told:
        return Unavailable(f"{error.message} {UNWRITTEN}")
    return error


_UNTRIED: Final = f"The engine has not answered those before. {UNWRITTEN}"
