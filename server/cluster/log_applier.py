"""Applies the transactions of the shared log to this node's replica, as they come or on demand."""

from collections import deque
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Final

import apsw
from gevent.event import AsyncResult, Event

from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.store.projection import Projection
from signalbox.server.write.commit_strategy import StrategyWriter

READ_LIMIT: Final = 1_000
"""Transactions read from the log at once."""


class LogApplier:
    """`receive` in the greenlet that follows the log, everything else in the writer's."""

    def __init__(
        self, engine: ReplicatedEngine, projection: Projection, writer: StrategyWriter
    ) -> None:
        """Applies what other nodes append to the log of `engine` to the replica of `writer`."""
        self._engine = engine
        self._projection = projection
        self._writer = writer
        self._received: deque[tuple[Sequence[Transaction], AsyncResult[None]]] = deque()
        self._has_news = Event()
        self.applied_at = -inf
        """When another node's transactions were applied last, in seconds of `monotonic`."""

    @property
    def revision(self) -> int:
        """The newest revision that the replica has."""
        return self._writer.revision

    @property
    def has_received(self) -> bool:
        """Whether transactions wait to be applied."""
        return bool(self._received)

    def receive(self, transactions: Sequence[Transaction]) -> None:
        """Have the writer apply what follows in the log; return when it is in the replica.

        Transactions that are there already are left out. Raises `Unavailable` for a gap, or where
        the replica cannot be written.
        """
        done: AsyncResult[None] = AsyncResult()
        self._received.append((transactions, done))
        self._writer.wake()
        if transactions[-1].revision > self.revision:
            self._has_news.set()
        done.get()

    def wait_for_news(self, seconds: float) -> None:
        """Return once a new transaction of the log is received, or after so many seconds."""
        self._has_news.clear()
        self._has_news.wait(seconds)

    def apply_received(self) -> None:
        """Apply all that was received."""
        while self._received:
            transactions, done = self._received.popleft()
            try:
                self._apply(transactions)
            except Exception as error:  # noqa: BLE001 - raised by `receive`
                done.set_exception(error)
            else:
                done.set(None)

    def catch_up(self, end: int) -> None:
        """Read and apply what the log has up to revision `end`. Raises `Unavailable`."""
        if end < self.revision:
            raise Unavailable(f"The log ends at revision {end}; this replica has {self.revision}.")
        try:
            while self.revision < end:
                self._apply(self._read_next())
        except StoreError as error:
            raise Unavailable(str(error)) from error

    def _apply(self, transactions: Sequence[Transaction]) -> None:
        """Write the transactions that the replica lacks, and publish them."""
        missing = [
            transaction for transaction in transactions if transaction.revision > self.revision
        ]
        if not missing:
            return
        if missing[0].revision != self.revision + 1:
            raise Unavailable(
                f"The log gave revision {missing[0].revision} where {self.revision + 1} was next."
            )
        try:
            self._write(missing)
        except BaseException:
            self._projection.rolled_back()
            raise
        self.applied_at = monotonic()

    def _write(self, transactions: Sequence[Transaction]) -> None:
        """Write transactions that other nodes appended to the replica, and publish them."""
        try:
            self._writer.append_decided(transactions, self._engine.receive)
        except apsw.ConstraintError:
            # Each replica removes old changes in its own time: an id may be new to other nodes.
            self._projection.rolled_back()
            for transaction in transactions:
                self._engine.release_id(transaction.id)
                self._writer.append_decided([transaction], self._engine.receive)

    def _read_next(self) -> list[Transaction]:
        """The next transactions of the log, which must still be the one that this replica follows.

        Read together with the replica's last transaction, which must be the same there.
        """
        own = self._projection.transactions(self.revision - 1, 1)
        following = self._engine.read(self.revision - len(own), READ_LIMIT)
        if own and (not following or (following[0].id, following[0].at) != (own[0].id, own[0].at)):
            raise Unavailable(f"The log has lost or replaced revision {self.revision}.")
        if len(following) <= len(own):
            raise Unavailable(f"The log did not return the revision after {self.revision}.")
        return following
