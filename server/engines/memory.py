"""An event log in this process's memory: for trying things out; gone with the process."""

from collections.abc import Callable, Sequence
from threading import Lock

from signalbox.server.engines.base import LogConflict
from signalbox.server.model.events import Transaction


class MemoryEngine:
    name = "Memory"
    durability = "in memory only, gone when the server ends"
    max_bytes = None

    def __init__(self) -> None:
        self._log: list[Transaction] = []
        self._lock = Lock()

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        also: Callable[[], None],
        takes_long: bool = False,  # noqa: ARG002 - all of this is quick
    ) -> None:
        with self._lock:
            if len(self._log) != expected:
                raise LogConflict(len(self._log))
            also()
            self._log.extend(transactions)

    def read(self, after: int, limit: int) -> list[Transaction]:
        return self._log[after : after + limit]

    def last_revision(self) -> int:
        return len(self._log)
