"""The commit strategy of a node: other nodes append to the same log, and the log may be away.

Every group is decided on this node's replica at revision N and appended directly after N. Where
another node was first, this one catches up and decides again. Where the log does not answer, the
outcome of the append is found out before anything else is decided.
"""

from collections.abc import Sequence
from math import inf
from random import random
from time import monotonic
from typing import Final

import gevent
from gevent.event import Event

from signalbox.server.cluster.log_applier import LogApplier
from signalbox.server.cluster.unknown_outcomes import NOTHING_WRITTEN, UNKNOWN, UnknownOutcomes
from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
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
from signalbox.server.write.commit_strategy import Decided, StrategyWriter
from signalbox.server.write.group_commit import GroupCommit
from signalbox.server.write.pending_attempt import PendingAttempt, Timeout

TIMEOUT_SECONDS: Final = 10.0
"""How long a sender waits for an outcome."""
REFUSAL_TIMEOUT_SECONDS: Final = 1.0
"""How long a sender waits whose command is refused in any case."""
SAVE_CHECK_SECONDS: Final = 0.1
"""How often a sender that waits for longer checks whether its unknown outcome is stored."""
RETRY_SECONDS: Final = 1.0
BACKOFF_SECONDS: Final = 0.001
"""The longest back-off after the first conflict; twice as long after each further one."""
MAX_BACKOFF_SECONDS: Final = 0.016
CONTENTION_SECONDS: Final = 0.1
"""For how long after a transaction of another node the log counts as contended."""
YIELD_SECONDS: Final = 0.004
"""How long another node's append is waited for then."""
_NOT_SENT: Final = f"The engine has not answered those before. {NOTHING_WRITTEN}"


class SharedLogCommit:
    """See `CommitStrategy`; a sender waits `timeout` seconds."""

    def __init__(
        self, engine: ReplicatedEngine, projection: Projection, feed: Feed, timeout: float
    ) -> None:
        """The strategy of a node's writer: append its groups to the shared log of `engine`."""
        self._engine = engine
        self._projection = projection
        self._feed = feed
        self._timeout = Timeout(timeout, self._timeout_outcome, self._seconds_left)
        self._refusal_timeout = Timeout(
            min(timeout, REFUSAL_TIMEOUT_SECONDS), self._timeout_outcome
        )
        self.problem: str | None = None
        """Why the outcome of an append could not be found out yet, while it is unknown."""
        self.conflicts = 0
        """Appends of this node before which another node was first, since the start."""
        self._conflicts_in_a_row = 0
        self._committed_at = -inf
        """When this node appended last, in seconds of `monotonic`."""
        self._commit_began = -timeout
        """When the engine was given the last group, in seconds of `monotonic`."""
        self._unsaved: GroupCommit | None = None
        """The group that was sent last, while its unknown outcomes are not stored yet."""
        self._no_append = Event()
        """Set while no append is under way."""
        self._no_append.set()
        self._indeterminate: tuple[GroupCommit, list[PendingAttempt]] | None = None
        """The group whose append had no answer."""
        self._is_resolving_due = False
        self._unknown = UnknownOutcomes(projection, feed)
        self._is_left_due = bool(self._unknown.left)

    def attach(self, writer: StrategyWriter) -> None:
        """The writer whose commits go to the shared log; it applies what others append, too."""
        self._writer = writer
        self.log_applier = LogApplier(self._engine, self._projection, writer)
        if self._is_left_due:
            writer.wake()

    def applied_revision(self) -> int:
        """The revision up to which the replica has everything; waits for an append under way.

        So what this node has appended need not be read from the log again.
        """
        self._no_append.wait()
        return self._writer.revision

    # The strategy.

    @property
    def is_blocked(self) -> bool:
        """No group is decided while it is unknown whether the log has the one before."""
        return self._indeterminate is not None

    @property
    def has_work(self) -> bool:
        """Whether another node's transactions are to be applied, or an outcome found out."""
        is_due = self._is_resolving_due if self._indeterminate else self._is_left_due
        return is_due or self.log_applier.has_received

    def timeout(self, attempt: Attempt) -> Timeout:
        """How long this sender waits for a log that others append to as well."""
        return self._refusal_timeout if attempt.refusal else self._timeout

    def prepare(self) -> None:
        """Bring the replica up to date with the shared log, and find out unknown outcomes."""
        self.log_applier.apply_received()
        if self._indeterminate:
            self._resolve(*self._indeterminate)
        else:
            self._resolve_left()
            if self._writer.has_queued:
                self._yield_to_others()

    def commit(self, group: GroupCommit) -> None:
        """Append the group to the shared log; one that only reads has the log's end confirmed."""
        if not self._indeterminate:
            self._commit_began, self._unsaved = monotonic(), group
        if not group.transactions and any(outcome.depends_on_state for outcome in group.outcomes):
            self._engine.confirm(group.expected)
        self._no_append.clear()
        try:
            group.commit(self._engine)
        finally:
            self._no_append.set()
        self._conflicts_in_a_row = 0
        if group.transactions:
            self._committed_at = monotonic()

    def recover(self, group: GroupCommit, attempts: list[PendingAttempt], error: Exception) -> bool:
        """Whether the outcome is found out from the log, or the group decided again."""
        if isinstance(error, AppendIndeterminate):
            self._indeterminate = (group, attempts)
            self._unknown.record(group, attempts)
            self._resolve_later(0)
            return True
        if isinstance(error, LogConflict):
            self._decide_again(attempts, error.actual)
            return True
        return False

    def failed_outcomes(
        self, group: GroupCommit, attempts: Sequence[PendingAttempt], error: SignalboxError
    ) -> list[Outcome]:
        """The outcomes of a group that the shared log does not take: also decisions that need no
        commit fail, unless the replica is current.
        """
        error = _nothing_written(error)
        outcomes = group.failed_outcomes([pending.attempt for pending in attempts], error)
        # An outcome that needs no commit is of this replica, which the log may be ahead of by now.
        are_of_replica = [
            outcome.depends_on_state and outcome.error is not error for outcome in outcomes
        ]
        # Where nothing was to be appended, the log was asked just now.
        if not any(are_of_replica) or (group.transactions and self._is_replica_current()):
            return outcomes
        return [
            one._replace(changes=0, error=error) if is_of_replica else one
            for one, is_of_replica in zip(outcomes, are_of_replica, strict=True)
        ]

    def to_publish(self, decided: Decided) -> Decided:
        """All outcomes but refusals of commands whose earlier outcome is unknown."""
        answered: Decided = []
        for pending, outcome in decided:
            is_refused = outcome.error is not None and not outcome.error.remembered
            if is_refused and self._unknown.has_earlier(pending):
                pending.resolve(self._unknown_like_earlier(pending))
            else:
                answered.append((pending, outcome))
        self._unknown.resolve(answered)
        return [pair for pair in answered if not self._unknown.is_late(*pair)]

    def complete(self, is_closing: bool) -> None:
        """Store unknown outcomes at the end of a round; a server that ends gives them up."""
        self._save_unknown()
        if is_closing and self._indeterminate:
            self._abandon(self._indeterminate[1])

    # Other nodes.

    def _yield_to_others(self) -> None:
        """Where others write as well, the node that appended last lets another be the next.

        It would win again and again otherwise: the others have to catch up first.
        """
        last = self.log_applier.applied_at
        is_contended = monotonic() - last < CONTENTION_SECONDS
        if is_contended and self._committed_at > last and not self.log_applier.has_received:
            self.log_applier.wait_for_news(YIELD_SECONDS)
        self.log_applier.apply_received()

    def _decide_again(self, attempts: list[PendingAttempt], end: int) -> None:
        """Another node was first: catch up, after a random back-off."""
        self.conflicts += 1
        self._conflicts_in_a_row += 1
        self._writer.requeue(attempts)
        longest = min(BACKOFF_SECONDS * 2**self._conflicts_in_a_row, MAX_BACKOFF_SECONDS)
        gevent.sleep(random() * longest)  # noqa: S311 - no secret
        try:
            self.log_applier.catch_up(end)
        except SignalboxError as error:
            self._writer.reject_queued(_nothing_written(error))

    def _is_replica_current(self) -> bool:
        """Whether the log confirms that it ends where this replica does."""
        try:
            self._engine.confirm(self._writer.revision)
        except (SignalboxError, StoreError, LogConflict):
            return False
        return True

    # Appends without an answer.

    def _resolve(self, group: GroupCommit, attempts: list[PendingAttempt]) -> None:
        """Find out the outcome of an append whose answer did not come.

        What the log has of the group follows the group's revision directly. While nothing else is
        there, the rest may still arrive and is appended again; after that it never can.
        """
        self._is_resolving_due = False
        try:
            self.log_applier.catch_up(self._engine.last_revision())
            if self._writer.revision == group.expected:
                self.commit(group)
                self._indeterminate = self.problem = None
                self._writer.acknowledge(group.transactions, group.outcomes, attempts)
                return
            self._append_rest(group.transactions)
        except LogConflict:
            self._projection.rolled_back()
            self._resolve_later(0)  # now the log has something after the group's revision
            return
        except Exception as error:  # noqa: BLE001 - it stays unknown until the log answers
            self._projection.rolled_back()
            self.problem = f"The outcome of an append is not known: {sentence(error)}"
            self._resolve_later()
            return
        self._indeterminate = self.problem = None
        self._answer_logged(group, attempts)

    def _append_rest(self, sent: Sequence[Transaction]) -> None:
        """Append what the log lacks of `sent`, where it ends within that or directly before it."""
        arrived = self._writer.revision - sent[0].revision + 1 if sent else -1
        if not 0 <= arrived < len(sent):
            return
        last = self._projection.transactions(self._writer.revision - 1, 1) if arrived else ()
        if all(transaction.id == sent[arrived - 1].id for transaction in last):
            self._writer.append_decided(sent[arrived:], self._engine.append)

    def _answer_logged(self, group: GroupCommit, attempts: list[PendingAttempt]) -> None:
        """Answer the attempts whose transaction is in the log; decide the others again."""
        logged = self._projection.transactions(group.expected, len(group.transactions))
        in_log = {(transaction.revision, transaction.id) for transaction in logged}
        others = []
        for pending, outcome in zip(attempts, group.outcomes, strict=True):
            if outcome.is_logged and (outcome.revision, outcome.attempt.id) in in_log:
                pending.resolve(outcome)
                self._unknown.resolve([(pending, outcome)])
            else:
                others.append(pending)
        self._writer.requeue(others)

    def _resolve_left(self) -> None:
        """As `_resolve`, for what an earlier process of this node had sent when it ended."""
        if self._is_left_due and not self._unknown.none_can_arrive(self._writer.revision):
            try:
                self.log_applier.catch_up(self._engine.last_revision())
                self._append_rest(self._unknown.left_transactions())
            except Exception as error:  # noqa: BLE001 - it stays unknown until the log answers
                self._projection.rolled_back()
                self._is_left_due = isinstance(error, LogConflict)
                if not self._is_left_due:
                    gevent.spawn_later(RETRY_SECONDS, self._set_left_due)
                return
        self._is_left_due = False
        self._unknown.resolve_left(self._writer.revision)

    def _set_left_due(self) -> None:
        """What an earlier process has sent to the log is to be resolved now."""
        self._is_left_due = True
        self._writer.wake()

    def _resolve_later(self, seconds: float = RETRY_SECONDS) -> None:
        """Find out an unknown outcome from the log after a pause."""
        gevent.spawn_later(seconds, self._set_resolving_due)

    def _set_resolving_due(self) -> None:
        """The unknown outcome is to be found out now."""
        self._is_resolving_due = True
        self._writer.wake()

    def _abandon(self, attempts: list[PendingAttempt]) -> None:
        """The server ends: what is unknown stays so until a node reads the log."""
        self._indeterminate = None
        for pending in attempts:
            pending.resolve(self._timeout_outcome(pending))
        self._writer.reject_queued(Unavailable(f"The server is ending. {NOTHING_WRITTEN}"))
        self._save_unknown()

    def _save_unknown(self) -> None:
        """Store unknown outcomes; where the disk is full it is tried again, and senders wait on.

        It may use the disk reserve of deletions, which must be answered as well.
        """
        try:
            self._unknown.save(
                lambda work: self._engine.append((), self._writer.revision, work, takes_long=True)
            )
        except Exception:  # noqa: BLE001 - as on a full disk
            gevent.spawn_later(RETRY_SECONDS, self._writer.wake)
        else:
            self._unsaved = None

    # Senders that have waited for long enough.

    def _seconds_left(self, pending: PendingAttempt) -> float:
        """How much longer a sender waits: for the engine, not for this computer to decide.

        No sender gets `unknown` before that outcome is stored: a large group may take the engine
        longer. Nor does a sender of the same command.
        """
        seconds = self._timeout.seconds
        is_deciding = self._writer.is_deciding or pending.is_being_decided
        remaining = seconds if is_deciding else self._commit_began + seconds - monotonic()
        group = self._unsaved
        is_sent = group and (pending.is_in_group or group.contains(pending.attempt))
        return max(remaining, SAVE_CHECK_SECONDS) if is_sent else remaining

    def _timeout_outcome(self, pending: PendingAttempt) -> Outcome:
        """What the sender gets instead of the outcome; `unknown` is followed by another one."""
        attempt = pending.attempt.without_payload()
        outcome = Outcome(attempt, self._writer.now(), self._writer.revision)
        if attempt.refusal:
            outcome = outcome._replace(error=attempt.refusal)
        elif pending.is_in_group and not attempt.dry_run:
            outcome = outcome._replace(error=OutcomeUnknown(UNKNOWN.format(attempt.id)))
        elif self._unknown.has_earlier(pending):
            return self._unknown_like_earlier(pending)
        else:
            outcome = outcome._replace(error=Unavailable(_NOT_SENT))
            self._feed.publish((), (outcome,))
            return outcome
        pending.must_be_answered = True
        self._feed.remember_unknown(outcome)
        return outcome

    def _unknown_like_earlier(self, pending: PendingAttempt) -> Outcome:
        """The outcome of a command that was sent before, whose outcome is unknown still.

        One id has one outcome, which comes later.
        """
        attempt = pending.attempt.without_payload()
        error = OutcomeUnknown(UNKNOWN.format(attempt.id))
        outcome = Outcome(attempt, self._writer.now(), self._writer.revision, error=error)
        self._feed.remember_unknown(outcome)
        return outcome


def _nothing_written(error: SignalboxError) -> SignalboxError:
    """The error; where the engine was away it says that nothing was written."""
    says_so = isinstance(error, DiskFull) or error.message.endswith(NOTHING_WRITTEN)
    if isinstance(error, Unavailable) and not says_so:
        return Unavailable(f"{error.message} {NOTHING_WRITTEN}")
    return error
