"""An event log elsewhere and the replica that queries read, as one engine."""

from collections.abc import Callable, Sequence

from signalbox.server.engines.base import AppendIndeterminate, LogConflict
from signalbox.server.engines.shared_log import SharedLog
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.events import Transaction


class ReplicatedEngine:
    """The replica's rows are written first and committed last, behind the append to the log.

    So whatever keeps them from being written is known before anything is appended, and an append
    that fails leaves nothing behind. What the log has and the replica does not, as when this
    process ends in between, is read from the log again.
    """

    def __init__(self, log: SharedLog, replica: SqliteEngine, ready: Callable[[], None]) -> None:
        """`ready` waits a little for the log; it raises `Unavailable` where that is away."""
        self._log = log
        self._replica = replica
        self._ready = ready
        self.name = log.name
        self.durability = "not connected yet"
        """Of the log, as it was told on connecting last."""

    @property
    def max_bytes(self) -> int | None:
        return self._log.max_bytes

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        also: Callable[[], None],
        takes_long: bool = False,
    ) -> None:
        if not transactions:
            self._replica.append((), expected, also, takes_long)
            return
        self._ready()
        is_in_log = False

        def publish() -> None:
            nonlocal is_in_log
            self._log.append(transactions, expected)
            is_in_log = True

        try:
            self._replica.append(transactions, expected, also, takes_long, publish)
        except Exception as error:
            if is_in_log:
                raise AppendIndeterminate("The log has it, this node's replica has not.") from error
            raise

    def receive(
        self, transactions: Sequence[Transaction], expected: int, also: Callable[[], None]
    ) -> None:
        """Write to the replica what the log has behind revision `expected`.

        Raises `apsw.ConstraintError` where a command's id is that of an earlier one.
        """
        self._replica.append(transactions, expected, also)

    def forget(self, identity: str) -> None:
        """Let the replica take a command's id once more: who wrote it had forgotten the first."""
        self._replica.forget(identity)

    def confirm(self, expected: int) -> None:
        """Raises `LogConflict` where the log has gone on behind revision `expected`.

        Whoever is refused without writing is refused for what is true, not for what was.
        """
        self._ready()
        if (actual := self._log.confirmed_revision()) != expected:
            raise LogConflict(actual)

    def read(self, after: int, limit: int) -> list[Transaction]:
        return self._log.read(after, limit)

    def last_revision(self) -> int:
        return self._log.last_revision()
