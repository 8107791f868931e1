"""Decides undo, redo and restore; one that takes long is decided before its turn.

It may have to read all of a long log, and the writer has others to serve meanwhile. So that is done
on a connection of its own, and when the command's turn comes, only what was written since is looked
at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import apsw

from signalbox.server.model import history_decision
from signalbox.server.model.commands import Attempt, HistoryCommand
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.history_decision import Decision
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.store.projection import Projection

SECONDS_IN_TURN: Final = 0.02
"""How long the writer decides one command in its turn; one that takes longer is postponed."""
CHECKED_AFTER_STEPS: Final = 10_000
"""SQLite's steps between two looks at the clock."""
MAX_CHANGES_SINCE: Final = 1_000
"""Changes that are looked at in a command's turn; more of them before that."""
MAX_CAUGHT_UP: Final = 500_000
CATCH_UP_ROUNDS: Final = 8
FEW_SINCE: Final = 20
"""Transactions: after so few of them the command may have its turn."""


class HistoryDecisions:
    """Decides against the log of `projection`."""

    def __init__(self, projection: Projection) -> None:
        """Decide undo, redo and restore on connections of their own."""
        self._projection = projection

    def decide_in_turn(self, attempt: Attempt, command: HistoryCommand) -> Decision | None:
        """The decision at the last commit; None where it would take too long.

        Raises `Unavailable` where the store cannot be read.
        """

        def decide(connection: apsw.Connection) -> Decision | None:
            try:
                with _time_limit(connection, SECONDS_IN_TURN):
                    return _decide(connection, attempt, command)
            except apsw.InterruptError:
                return None

        return self._projection.in_thread(decide)

    def decide_ahead(
        self, attempt: Attempt, command: HistoryCommand, decision: Decision | None
    ) -> Decision | None:
        """As `decide_in_turn`, however long the decision takes: the writer does not wait.

        An earlier `decision` is made again only for what was written since. None where too much is
        written meanwhile that concerns the command.
        """
        ahead = self._projection.ahead_in_thread
        must_catch_up = decision is not None  # one transaction may have been too much in its turn
        decision = decision or ahead(lambda reader: _decide(reader, attempt, command))
        for _ in range(CATCH_UP_ROUNDS):
            if decision is None:
                break
            if not must_catch_up and self._projection.revision - decision.revision < FEW_SINCE:
                break
            must_catch_up = False
            earlier = decision
            decision = ahead(
                lambda reader: _revised(reader, attempt, command, earlier, MAX_CAUGHT_UP)  # noqa: B023 - at once
            )
        return decision

    def revise(
        self, attempt: Attempt, command: HistoryCommand, decision: Decision
    ) -> Decision | None:
        """In the command's turn: its decision after all that was written since.

        None where it must be decided again. Raises `TooMuchSince` where it must catch up first.
        """
        return self._projection.in_thread(
            lambda reader: _revised(reader, attempt, command, decision, MAX_CHANGES_SINCE)
        )


class TooMuchSince(Exception):
    """More was written since a decision than is looked at in one go."""


def _revised(
    connection: apsw.Connection,
    attempt: Attempt,
    command: HistoryCommand,
    decision: Decision,
    limit: int,
) -> Decision | None:
    """The decision after at most `limit` changes since. Raises `TooMuchSince`."""
    log = SqlReversalLog(connection)
    if (since := log.changes_since(decision.revision, limit)) is None:
        raise TooMuchSince
    try:
        return history_decision.revise(
            log, command, attempt.actor, decision, since, attempt.effects
        )
    except SignalboxError as refusal:
        return decision._replace(revision=log.revision, reversal=None, refusal=refusal)


def _decide(connection: apsw.Connection, attempt: Attempt, command: HistoryCommand) -> Decision:
    """Decide an undo, redo or restore as of the snapshot of `connection`."""
    log = SqlReversalLog(connection)
    return history_decision.decide_at(log, command, attempt.actor, attempt.effects, attempt.dry_run)


@contextmanager
def _time_limit(connection: apsw.Connection, seconds: float) -> Iterator[None]:
    """Let statements fail with `apsw.InterruptError` once so much time has passed."""
    end = monotonic() + seconds
    is_late: Callable[[], bool] = lambda: monotonic() > end  # noqa: E731
    connection.set_progress_handler(is_late, CHECKED_AFTER_STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)
