"""The interface of every engine, and the errors of an append that all engines have in common."""

from collections.abc import Callable, Sequence
from typing import Protocol

from signalbox.server.model.events import Transaction
from signalbox.server.runtime.error_messages import ReadableError


class LogConflict(Exception):
    """Another writer appended first; `actual` is the log's last revision."""

    def __init__(self, actual: int) -> None:
        """The error of an append to a log that is at revision `actual` already."""
        super().__init__(f"the log is at revision {actual}")
        self.actual = actual


class AppendIndeterminate(ReadableError):
    """The outcome of an append is not known: no answer came. The log may have it or not."""


class Engine(Protocol):
    """The event log: append-only, totally ordered, durable."""

    name: str
    """The engine's name for people."""
    durability: str
    """What `accepted` means with this engine, in one phrase for people."""

    @property
    def max_bytes(self) -> int | None:
        """The engine's limit for one encoded transaction, None where it has none."""

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        within_commit: Callable[[], None],
        takes_long: bool = False,
    ) -> None:
        """Make `transactions` durable directly after revision `expected`: all of them or none.

        Their revisions are `expected` + 1, + 2, … without gaps. `within_commit` writes to the
        store, which is committed with the log or directly after it. `transactions` may be empty:
        then only that is done. Where it `takes_long`, only other appends wait for it.

        Raises `LogConflict` if the log's last revision is not `expected`, `Unavailable` where
        nothing could be written (then nothing was, also by `within_commit`),
        `AppendIndeterminate` where that is not known, or where only the first of them were. The
        same append may be tried again: no transaction is ever in the log twice.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, in order; empty at the end."""

    def last_revision(self) -> int:
        """The newest revision of the log, 0 where it is empty."""
