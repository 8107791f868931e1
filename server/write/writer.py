"""The one writer: decides what waits, makes it durable with one commit, then acknowledges.

`submit` is called by any number of greenlets; the loop runs in one.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw
import gevent
from gevent.event import AsyncResult, Event

from signalbox.server.engines.base import Engine, LogConflict
from signalbox.server.feed import Feed
from signalbox.server.model.commands import Attempt, HistoryCommand
from signalbox.server.model.errors import (
    Busy,
    Conflict,
    DiskFull,
    SignalboxError,
)
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome, of_transaction
from signalbox.server.runtime.scheduling import wait_until_idle
from signalbox.server.store.projection import Projection
from signalbox.server.write.group_commit import GroupCommit, as_refusal
from signalbox.server.write.pending_attempt import PendingAttempt, Timeout

MAX_WAITING: Final = 10_000
MAX_GROUP: Final = 1_000
"""Attempts in one commit."""
MAX_GROUP_CHANGES: Final = 20_000
DIED: Final = 70

Append = Callable[[Sequence[Transaction], int, Callable[[], None]], None]


class Writer:
    """`clock` gives seconds since 1970; only told times depend on it."""

    def __init__(
        self,
        engine: Engine,
        projection: Projection,
        feed: Feed,
        clock: Callable[[], float],
        last_at: int = 0,
    ) -> None:
        self._engine = engine
        self._projection = projection
        self._feed = feed
        self._clock = clock
        self._last_at = last_at
        self._queue: deque[PendingAttempt] = deque()
        self._chores: deque[tuple[Callable[[], None], AsyncResult[None]]] = deque()
        self._work = Event()
        self._last_size = 0
        self._is_closing = self._is_deciding = False
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.link_exception(_end_process)

    @property
    def revision(self) -> int:
        """The last transaction's."""
        return self._projection.revision

    def submit(self, attempt: Attempt) -> Outcome:
        """Wait for the attempt's one outcome. Never raises for a refusal: it is in the outcome."""
        return self.enqueue(attempt).wait()

    def enqueue(self, attempt: Attempt) -> PendingAttempt:
        """Put the attempt in line; `wait` on the result gives its outcome."""
        waiting = PendingAttempt(attempt, self._timeout_for(attempt))
        if len(self._queue) >= MAX_WAITING:
            self.reject(
                waiting, Busy(f"{MAX_WAITING} commands are waiting already.", limit=MAX_WAITING)
            )
        else:
            self._queue.append(waiting)
            self._work.set()
        return waiting

    @property
    def max_bytes(self) -> int | None:
        """What the engine takes of one encoded transaction, where it has a limit of its own."""
        return self._engine.max_bytes

    def fingerprint(self, identity: str) -> bytes | None:
        """What the command with this id said, where its outcome is remembered."""
        found = self._projection.committed_outcome(identity)
        return found[0] if found else None

    def reject(self, waiting: PendingAttempt, error: SignalboxError) -> None:
        """Settle an attempt that is never decided; streams are told all the same."""
        outcome = Outcome(waiting.attempt, self._now(), self._projection.revision, error=error)
        self._tell((), (outcome,), (waiting,))

    def run_between_commits(self, job: Callable[[apsw.Connection], None]) -> None:
        """Do `job` in a commit of its own, between two of commands; return when that is on disk.

        Raises what `job` raises, and `Unavailable` where the store cannot be written.
        """
        self._do_between(
            lambda: self._engine.append(
                (), self.revision, lambda: self._projection.maintain(job), takes_long=True
            )
        )

    def append_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions of another log as they are; return when they are on disk.

        At most `MAX_GROUP`. Raises `Conflict` where the first one's revision is not the next.
        """
        self._do_between(lambda: self._adopt(transactions))

    def close(self) -> None:
        """Write what waits, then end."""
        self._is_closing = True
        self._work.set()
        self._greenlet.join()

    def _run(self) -> None:
        while self._queue or not self._is_closing:
            self._work.wait()
            if self._last_size > 1:
                # Those who were just answered send again, and twice as many share a commit.
                wait_until_idle()
            self._write()
            if self._chores:
                self._tend(*self._chores.popleft())
            if not self._is_closing and not self._has_work():
                self._work.clear()

    def _has_work(self) -> bool:
        return bool(self._queue or self._chores)

    def _write(self) -> None:
        self._is_deciding = True
        group = GroupCommit(self._projection, self._now(), self._engine.max_bytes)
        waiting: list[PendingAttempt] = []
        while self._queue and len(waiting) < MAX_GROUP and group.changes < MAX_GROUP_CHANGES:
            if group.transactions and isinstance(self._queue[0].attempt.command, HistoryCommand):
                break  # it asks the log, which does not have this group yet
            self._queue[0].is_taken = True
            if self._queue[0].is_owed or not self._queue[0].gave_up:
                waiting.append(self._queue[0])
                group.add(waiting[-1].attempt)
            self._queue.popleft()
        self._last_size = len(waiting)
        self._is_deciding = False
        self._finish(group, waiting)

    def _timeout_for(self, attempt: Attempt) -> Timeout | None:
        """For how long the sender of this attempt waits; None: until it has its outcome."""
        del attempt
        return None

    def _do_between(self, work: Callable[[], None]) -> None:
        done: AsyncResult[None] = AsyncResult()
        self._chores.append((work, done))
        self._work.set()
        done.get()

    def _tend(self, work: Callable[[], None], done: "AsyncResult[None]") -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._projection.rolled_back()
            done.set_exception(error)
        else:
            done.set(None)

    def _adopt(self, transactions: Sequence[Transaction]) -> None:
        before = self.revision
        if transactions[0].revision != before + 1:
            raise Conflict(
                f"The next revision is {before + 1}, not {transactions[0].revision}.",
                revision=before,
            )
        try:
            self._write_down(transactions, self._engine.append)
        except LogConflict as error:
            raise Conflict(f"The log is at revision {error.actual}.", revision=before) from error

    def _write_down(self, transactions: Sequence[Transaction], append: Append) -> None:
        """What is decided already: make it durable and tell of it."""
        append(transactions, self.revision, lambda: self._projection.apply_foreign(transactions))
        self._projection.committed()
        self._last_at = max(self._last_at, transactions[-1].at)
        self._feed.publish(transactions, [of_transaction(one) for one in transactions])

    def _finish(self, group: GroupCommit, waiting: list[PendingAttempt]) -> None:
        """Make the group durable and tell everybody what became of it."""
        try:
            self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever happened, every attempt gets an outcome
            self._projection.rolled_back()
            self._failed(group, waiting, error)
        else:
            self._tell(group.transactions, group.outcomes, waiting)

    def _failed(self, group: GroupCommit, waiting: list[PendingAttempt], error: Exception) -> None:
        is_of_one = isinstance(error, DiskFull) or not isinstance(error, SignalboxError)
        if len(waiting) > 1 and is_of_one:
            self._finish_apart(waiting)
        else:
            self._tell([], self._without(group, waiting, as_refusal(error)), waiting)

    def _without(
        self, group: GroupCommit, waiting: Sequence[PendingAttempt], error: SignalboxError
    ) -> list[Outcome]:
        """The outcomes of a group that could not be written."""
        return group.failed([one.attempt for one in waiting], error)

    def _tell(
        self,
        transactions: Sequence[Transaction],
        outcomes: Sequence[Outcome],
        waiting: Sequence[PendingAttempt],
    ) -> None:
        self._feed.publish(transactions, outcomes)
        for one, outcome in zip(waiting, outcomes, strict=True):
            one.resolve(outcome)

    def _finish_apart(self, waiting: list[PendingAttempt]) -> None:
        """Each alone, so that the one which cannot be written does not spoil it for the others."""
        for one in waiting:
            group = GroupCommit(self._projection, self._now(), self._engine.max_bytes)
            group.add(one.attempt)
            self._finish(group, [one])

    def _commit(self, group: GroupCommit) -> None:
        kept = [outcome for outcome in group.outcomes if outcome.is_stored]
        if not group.transactions and not kept:
            return
        added, removed = group.comings_and_goings()
        self._engine.append(
            group.transactions,
            group.expected,
            lambda: self._projection.apply(group.transactions, kept, added, removed),
        )
        self._projection.committed()

    def _now(self) -> int:
        self._last_at = max(self._last_at, int(self._clock() * 1000))
        return self._last_at


def _end_process(_: Any) -> None:
    """A writer that has ended would leave every sender waiting: whoever needs us starts us anew."""
    os._exit(DIED)
