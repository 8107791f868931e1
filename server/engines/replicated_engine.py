"""The engine of a node: a shared event log, and the SQLite replica of it that queries read."""

from collections.abc import Callable, Sequence

from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.shared_log import SharedLog
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.events import Transaction


class ReplicatedEngine:
    """Writes the replica's rows first, then appends to the log, then commits the replica.

    So an error of the replica is known before anything is appended, and an append that fails leaves
    no rows. Transactions that the log has and the replica has not, as when this process ends in
    between, are read from the log again.
    """

    def __init__(
        self, log: SharedLog, replica: SqliteEngine, wait_for_log: Callable[[], None]
    ) -> None:
        """`wait_for_log` returns once it is connected, or raises `Unavailable` after a while."""
        self._log = log
        self._replica = replica
        self._wait_for_log = wait_for_log
        self.name = log.name
        self.durability = "not connected yet"
        """Of the log, by its last status."""

    @property
    def max_bytes(self) -> int | None:
        """The shared log's limit for one transaction."""
        return self._log.max_bytes

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        within_commit: Callable[[], None],
        takes_long: bool = False,
    ) -> None:
        """Append to the shared log while the replica's own commit is prepared."""
        if not transactions:
            self._replica.append((), expected, within_commit, takes_long)
            return
        self._wait_for_log()
        is_in_log = False

        def append_to_log() -> None:
            nonlocal is_in_log
            self._log.append(transactions, expected)
            is_in_log = True

        try:
            self._replica.append(transactions, expected, within_commit, takes_long, append_to_log)
        except Exception as error:
            if is_in_log:
                raise AppendIndeterminate("The log has it, this node's replica has not.") from error
            raise

    def receive(
        self, transactions: Sequence[Transaction], expected: int, within_commit: Callable[[], None]
    ) -> None:
        """Write transactions to the replica that the log has after revision `expected`.

        Raises `apsw.ConstraintError` where a command's id is that of an earlier one.
        """
        self._replica.append(transactions, expected, within_commit)

    def release_id(self, identity: str) -> None:
        """Let another transaction of the replica have this id: another node has used it again."""
        self._replica.release_id(identity)

    def confirm(self, expected: int) -> None:
        """Raises `LogConflict` if the log has gone on after revision `expected`.

        For a refusal, which writes nothing: it must be of the state now, not of an earlier one.
        """
        self._wait_for_log()
        if (actual := self._log.confirmed_revision()) != expected:
            raise LogConflict(actual)

    def read(self, after: int, limit: int) -> list[Transaction]:
        """Read transactions of the shared log, not of the replica."""
        return self._log.read(after, limit)

    def last_revision(self) -> int:
        """The newest revision of the shared log; the replica may be behind it."""
        return self._log.last_revision()
