"""How the writer makes a group durable: a strategy that it is given, and the one of a local log."""

from collections.abc import Callable, Sequence
from typing import Protocol

from signalbox.server.engines.engine_interface import Engine
from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.write.group_commit import GroupCommit
from signalbox.server.write.pending_attempt import PendingAttempt, Timeout

Append = Callable[[Sequence[Transaction], int, Callable[[], None]], None]
"""As `Engine.append`."""
Decided = list[tuple[PendingAttempt, Outcome]]


class StrategyWriter(Protocol):
    """What a strategy may ask of the writer that uses it."""

    @property
    def revision(self) -> int:
        """The revision of the last transaction that the writer has written."""

    @property
    def is_deciding(self) -> bool:
        """Whether the writer is deciding a group, and has not begun to commit it."""

    @property
    def has_queued(self) -> bool:
        """Whether attempts are waiting in the queue."""

    def now(self) -> int:
        """The time for stamps, in ms UTC: never less than the last one."""

    def wake(self) -> None:
        """Let the writer's loop run once more: the strategy has something to do."""

    def requeue(self, attempts: Sequence[PendingAttempt]) -> None:
        """Put the attempts at the front of the queue, to be decided again."""

    def reject_queued(self, error: SignalboxError) -> None:
        """Reject every attempt in the writer's queue."""

    def acknowledge(
        self,
        transactions: Sequence[Transaction],
        outcomes: Sequence[Outcome],
        attempts: Sequence[PendingAttempt],
    ) -> None:
        """Publish what was committed, and give each attempt its outcome."""

    def append_decided(self, transactions: Sequence[Transaction], append: Append) -> None:
        """Make transactions durable that are decided already, and publish them."""


class CommitStrategy(Protocol):
    """Makes groups durable, and decides what is answered where that fails or takes too long.

    Called by the greenlet of the writer, but for `timeout` and `to_publish`, which any may call.
    """

    def attach(self, writer: StrategyWriter) -> None:
        """Attach the strategy to its writer: called once, by the writer that uses it."""

    @property
    def is_blocked(self) -> bool:
        """Whether no group may be decided now: the outcome of an earlier one is not known yet."""

    @property
    def has_work(self) -> bool:
        """Whether `prepare` has something to do now."""

    def timeout(self, attempt: Attempt) -> Timeout | None:
        """How long the sender of this attempt waits; None: until it has its outcome."""

    def prepare(self) -> None:
        """Do what must be done before the next group is decided."""

    def commit(self, group: GroupCommit) -> None:
        """Make the group durable. Raises whatever keeps it from that."""

    def recover(self, group: GroupCommit, attempts: list[PendingAttempt], error: Exception) -> bool:
        """After `commit` raised `error`: whether the attempts get their outcomes later.

        False where they are to be rejected now.
        """

    def failed_outcomes(
        self, group: GroupCommit, attempts: Sequence[PendingAttempt], error: SignalboxError
    ) -> list[Outcome]:
        """The outcomes of a group that could not be made durable."""

    def to_publish(self, decided: Decided) -> Decided:
        """Those of the decided outcomes that are published and answered now."""

    def complete(self, is_closing: bool) -> None:
        """Called at the end of each round of the writer; if `is_closing`, none may wait on."""


class LocalCommit:
    """The strategy of a log that no one else appends to: one commit, and its error is final."""

    is_blocked = has_work = False

    def __init__(self, engine: Engine) -> None:
        """Commit to the local log of `engine`."""
        self._engine = engine

    def attach(self, writer: StrategyWriter) -> None:
        """Nothing: the engine is all that a local commit needs."""

    def timeout(self, attempt: Attempt) -> None:
        """Senders wait until they have their outcome: the disk answers, or fails."""

    def prepare(self) -> None:
        """Nothing: the store is always at the log's end."""

    def commit(self, group: GroupCommit) -> None:
        """Append the group to the local log, in one commit with the state."""
        group.commit(self._engine)

    def recover(self, group: GroupCommit, attempts: list[PendingAttempt], error: Exception) -> bool:
        """No attempt gets its outcome later: an error of the local log is final."""
        del group, attempts, error
        return False

    def failed_outcomes(
        self, group: GroupCommit, attempts: Sequence[PendingAttempt], error: SignalboxError
    ) -> list[Outcome]:
        """Each attempt of the group fails with the error of the local log."""
        return group.failed_outcomes([pending.attempt for pending in attempts], error)

    def to_publish(self, decided: Decided) -> Decided:
        """All that was decided is published once the local log has it."""
        return decided

    def complete(self, is_closing: bool) -> None:
        """Nothing: every attempt of the round has its outcome."""
