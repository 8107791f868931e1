"""The one writer: decides the attempts in its queue in groups, has each group committed, answers.

`submit` is called by any number of greenlets; the loop runs in one. How a group becomes durable is
up to the writer's commit strategy.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any, Final

import apsw
import gevent
from gevent.event import AsyncResult, Event

from signalbox.server.engines.engine_interface import Engine, LogConflict
from signalbox.server.feed import Feed
from signalbox.server.model.commands import Attempt, HistoryCommand
from signalbox.server.model.errors import (
    Busy,
    Conflict,
    DiskFull,
    SignalboxError,
    Unavailable,
)
from signalbox.server.model.events import Transaction
from signalbox.server.model.history_decision import Decision
from signalbox.server.model.horizons import Horizons
from signalbox.server.model.outcomes import Outcome, outcome_from_log
from signalbox.server.runtime.scheduling import wait_until_idle
from signalbox.server.store.projection import Projection
from signalbox.server.write.commit_strategy import Append, CommitStrategy, LocalCommit
from signalbox.server.write.group_commit import GroupCommit, as_rejection
from signalbox.server.write.history_decisions import (
    SECONDS_IN_TURN,
    HistoryDecisions,
    TooMuchSince,
)
from signalbox.server.write.pending_attempt import PendingAttempt

MAX_QUEUE: Final = 10_000
MAX_GROUP: Final = 1_000
"""Attempts in one commit."""
MAX_GROUP_CHANGES: Final = 20_000
MAX_DECISIONS: Final = 4
"""How often a command of the history is decided before its turn, where others interfere."""
CLOSING_SECONDS: Final = 1.0
"""How long the end of the server waits for what is decided ahead."""
MAX_DECIDING: Final = 20
"""Commands of the history that are decided before their turn at the same time."""
WRITER_DIED: Final = 70
"""The exit status of a process whose writer has ended."""


class Writer:
    """Owns the queue, the groups and the acknowledgements.

    `clock` returns seconds since 1970; nothing but stamps depends on it. `strategy` makes groups
    durable: without one, a commit of the engine does.
    """

    def __init__(
        self,
        engine: Engine,
        projection: Projection,
        feed: Feed,
        clock: Callable[[], float],
        last_at: int = 0,
        strategy: CommitStrategy | None = None,
    ) -> None:
        """The writer of one log; `clock` is in seconds, `last_at`, the log's last stamp, in ms."""
        self._engine = engine
        self._projection = projection
        self._feed = feed
        self._clock = clock
        self._last_at = last_at
        self._queue: deque[PendingAttempt] = deque()
        self._jobs: deque[tuple[Callable[[], None], AsyncResult[None]]] = deque()
        self._history = HistoryDecisions(projection)
        self._deciding: set[gevent.Greenlet[[], None]] = set()
        """What decides commands of the history, which are not in the queue yet."""
        self._seconds_decided = 0.0
        """How long commands of the history were decided in their turn, for the next group."""
        self._work = Event()
        self._last_size = 0
        self._is_closing = False
        self.is_deciding = False
        """Whether a group is being decided, and its commit has not begun."""
        self.last_submitted = -inf
        """When somebody last began to wait for a single command, in seconds of `monotonic`."""
        self._strategy = strategy or LocalCommit(engine)
        self._strategy.attach(self)
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.link_exception(_end_process)

    @property
    def revision(self) -> int:
        """The revision of the last transaction that was written."""
        return self._projection.revision

    @property
    def max_bytes(self) -> int | None:
        """The engine's limit for one encoded transaction, None where it has none."""
        return self._engine.max_bytes

    def submit(self, attempt: Attempt) -> Outcome:
        """Wait for the attempt's one outcome. Never raises for a refusal: it is in the outcome."""
        self.last_submitted = monotonic()
        return self.enqueue(attempt).wait()

    def enqueue(self, attempt: Attempt) -> PendingAttempt:
        """Put the attempt at the end of the queue; `wait` on the result returns its outcome."""
        pending = PendingAttempt(attempt, self._strategy.timeout(attempt))
        if len(self._queue) + len(self._deciding) >= MAX_QUEUE:
            self.reject(
                pending, Busy(f"{MAX_QUEUE} commands are waiting already.", limit=MAX_QUEUE)
            )
        else:
            self._queue.append(pending)
            self._work.set()
        return pending

    def fingerprint(self, identity: str) -> bytes | None:
        """The fingerprint of the command with this id, where its outcome is stored."""
        stored = self._projection.committed_outcome(identity)
        return stored[0] if stored else None

    def reject(self, pending: PendingAttempt, error: SignalboxError) -> None:
        """Answer an attempt that is never decided; streams get its outcome all the same."""
        outcome = Outcome(pending.attempt, self.now(), self._projection.revision, error=error)
        self.acknowledge((), (outcome,), (pending,))

    def run_between_commits(self, job: Callable[[apsw.Connection], None]) -> None:
        """Run `job` in a commit of its own, between two groups; return when that is on disk.

        Raises what `job` raises, and `Unavailable` where the store cannot be written.
        """
        self._run_job(
            lambda: self._engine.append(
                (), self.revision, lambda: self._projection.maintain(job), takes_long=True
            )
        )

    def append_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions of another log as they are; return when they are on disk.

        At most `MAX_GROUP`. Raises `Conflict` if the first one's revision is not the next.
        """
        self._run_job(lambda: self._append_next(transactions))

    def close(self) -> None:
        """Commit what is in the writer's queue, then end the writer."""
        gevent.joinall(list(self._deciding), timeout=CLOSING_SECONDS)
        gevent.killall(list(self._deciding), block=False)
        self._is_closing = True
        self._work.set()
        self._greenlet.join()

    # For the commit strategy.

    @property
    def has_queued(self) -> bool:
        """Whether attempts are waiting in the queue."""
        return bool(self._queue)

    def now(self) -> int:
        """The time for stamps, in ms UTC: never less than the last one."""
        self._last_at = max(self._last_at, int(self._clock() * 1000))
        return self._last_at

    def wake(self) -> None:
        """Let the loop run once more: the strategy has something to do."""
        self._work.set()

    def requeue(self, attempts: Sequence[PendingAttempt]) -> None:
        """Put the attempts at the front of the queue, also those whose sender waits no longer."""
        for pending in attempts:
            pending.is_in_group = False
        self._queue.extendleft(reversed(attempts))

    def reject_queued(self, error: SignalboxError) -> None:
        """Reject every attempt in the queue that has no final outcome yet."""
        while self._queue:
            pending = self._queue.popleft()
            if pending.must_be_answered or not pending.has_timed_out:
                self.reject(pending, error)

    def acknowledge(
        self,
        transactions: Sequence[Transaction],
        outcomes: Sequence[Outcome],
        attempts: Sequence[PendingAttempt],
    ) -> None:
        """Publish what was committed, and give each attempt its outcome."""
        decided = self._strategy.to_publish(list(zip(attempts, outcomes, strict=True)))
        self._feed.publish(transactions, [outcome for _, outcome in decided])
        for pending, outcome in decided:
            pending.resolve(outcome)

    def append_decided(self, transactions: Sequence[Transaction], append: Append) -> None:
        """Make transactions durable that are decided already, and publish them."""
        append(transactions, self.revision, lambda: self._projection.apply_decided(transactions))
        self._projection.committed()
        self._last_at = max(self._last_at, transactions[-1].at)
        self._feed.publish(
            transactions, [outcome_from_log(transaction) for transaction in transactions]
        )

    # The loop.

    def _run(self) -> None:
        """The writer's loop, in its greenlet: decide and commit a group, run a job, go on."""
        while self._queue or self._deciding or not self._is_closing:
            self._work.wait()
            if self._last_size > 1:
                # Those who were just answered send again, and twice as many share a commit.
                wait_until_idle()
            self._strategy.prepare()
            if not self._strategy.is_blocked:
                self._commit_next_group()
            self._strategy.complete(self._is_closing)
            if self._jobs:
                self._finish_job(*self._jobs.popleft())
            if not (self._has_work() or (self._is_closing and not self._deciding)):
                self._work.clear()

    def _has_work(self) -> bool:
        """Whether the writer's loop can do something now."""
        if self._jobs or self._strategy.has_work:
            return True
        return bool(self._queue) and not self._strategy.is_blocked

    def _commit_next_group(self) -> None:
        """Decide attempts from the queue as one group, and commit it."""
        self.is_deciding, self._seconds_decided = True, 0.0
        group, attempts = self._new_group(), list[PendingAttempt]()
        while self._queue and len(attempts) < MAX_GROUP and group.changes < MAX_GROUP_CHANGES:
            pending = self._queue[0]
            command = pending.attempt.command
            if attempts and pending.attempt.decide is not None:
                break  # a batch of an import: who waits for a single command need not wait for it
            if isinstance(command, HistoryCommand):
                if group.transactions:
                    break  # it reads the log, which does not have this group yet
                if not self._is_decided(group, pending, command):
                    self._begin_decision(self._queue.popleft(), command)
                    continue
            pending.is_in_group = True
            if pending.must_be_answered or not pending.has_timed_out:
                attempts.append(pending)
                group.add(pending.attempt, pending.decision)
            self._queue.popleft()
        self._last_size = len(attempts)
        self.is_deciding = False
        self._commit(group, attempts)

    def _begin_decision(self, pending: PendingAttempt, command: HistoryCommand) -> None:
        """Decide a command of the history before its turn, and put it into the queue then."""
        if len(self._deciding) >= MAX_DECIDING or pending.decisions_made >= MAX_DECISIONS:
            why = "too many others are being decided, or too much is written meanwhile"
            self.reject(pending, Busy(f"This takes long, and {why}: try again later."))
            return

        def decide() -> None:
            try:
                pending.decision = self._history.decide_ahead(
                    pending.attempt, command, pending.decision
                )
            except TooMuchSince:
                pending.decision = None
            except gevent.GreenletExit:
                self.reject(pending, Unavailable("The server is ending. Nothing was changed."))
                return
            except Exception as error:  # noqa: BLE001 - whatever happened, it gets an outcome
                self.reject(pending, as_rejection(error))
                return
            finally:
                pending.is_being_decided = False
            self._queue.append(pending)

        def end(greenlet: "gevent.Greenlet[[], None]") -> None:
            self._deciding.discard(greenlet)
            self._work.set()

        pending.decisions_made += 1
        pending.is_in_group, pending.is_being_decided = False, True
        greenlet = gevent.spawn(decide)
        self._deciding.add(greenlet)
        greenlet.link(end)

    def _is_decided(
        self, group: GroupCommit, pending: PendingAttempt, command: HistoryCommand
    ) -> bool:
        """Decide a command of the history, or revise its earlier decision; False where it must be
        decided ahead. One whose id has an outcome already is not decided again.
        """
        attempt = pending.attempt
        try:
            if attempt.has_sender_id and group.first_outcome(attempt.id):
                return True
            if pending.decision:
                pending.decision = self._history.revise(attempt, command, pending.decision)
            elif pending.decisions_made == 0 and self._seconds_decided < SECONDS_IN_TURN:
                began = monotonic()
                pending.decision = self._history.decide_in_turn(attempt, command)
                self._seconds_decided += monotonic() - began
        except TooMuchSince:
            return False
        except Exception as error:  # noqa: BLE001 - one attempt never stops the writer
            refusal = as_rejection(error)
            pending.decision = Decision(self.revision, Horizons(), refusal=refusal)
        return pending.decision is not None

    def _new_group(self) -> GroupCommit:
        """An empty group, to be decided on the state of the last commit."""
        return GroupCommit(self._projection, self.now(), self._engine.max_bytes)

    def _commit(self, group: GroupCommit, attempts: list[PendingAttempt]) -> None:
        """Make the group durable and answer its attempts."""
        try:
            self._strategy.commit(group)
        except Exception as error:  # noqa: BLE001 - whatever happened, every attempt gets an outcome
            self._projection.rolled_back()
            if not self._strategy.recover(group, attempts, error):
                self._fail(group, attempts, error)
        else:
            self.acknowledge(group.transactions, group.outcomes, attempts)

    def _fail(self, group: GroupCommit, attempts: list[PendingAttempt], error: Exception) -> None:
        """Reject the attempts; an error that one of many may have caused is found out first."""
        may_be_of_one = isinstance(error, DiskFull) or not isinstance(error, SignalboxError)
        if len(attempts) > 1 and may_be_of_one:
            self._commit_separately(attempts)
        else:
            rejection = as_rejection(error)
            outcomes = self._strategy.failed_outcomes(group, attempts, rejection)
            self.acknowledge((), outcomes, attempts)

    def _commit_separately(self, attempts: list[PendingAttempt]) -> None:
        """Commit each attempt alone: the one that cannot be written fails no others."""
        for index, pending in enumerate(attempts):
            if self._strategy.is_blocked:
                self.requeue(attempts[index:])
                return
            group = self._new_group()
            command = pending.attempt.command
            if isinstance(command, HistoryCommand) and not self._is_decided(
                group, pending, command
            ):
                self._begin_decision(pending, command)
                continue
            group.add(pending.attempt, pending.decision)
            self._commit(group, [pending])

    # Jobs between commits.

    def _run_job(self, job: Callable[[], None]) -> None:
        """Have the writer's loop run a job between two groups; return once it has."""
        done: AsyncResult[None] = AsyncResult()
        self._jobs.append((job, done))
        self._work.set()
        done.get()

    def _finish_job(self, job: Callable[[], None], done: "AsyncResult[None]") -> None:
        """Run a job, whose error is raised where it was given."""
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised where the job was given
            self._projection.rolled_back()
            done.set_exception(error)
        else:
            done.set(None)

    def _append_next(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions of a history to the log. Raises `Conflict` where it has gone on."""
        before = self.revision
        if transactions[0].revision != before + 1:
            raise Conflict(
                f"The next revision is {before + 1}, not {transactions[0].revision}.",
                revision=before,
            )
        try:
            self.append_decided(transactions, self._engine.append)
        except LogConflict as error:
            raise Conflict(f"The log is at revision {error.actual}.", revision=before) from error


def _end_process(_: Any) -> None:
    """End the process: without its writer every sender would wait, and it is started anew."""
    os._exit(WRITER_DIED)
