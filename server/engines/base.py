"""What every engine promises."""

from collections.abc import Callable, Sequence
from typing import Protocol

from server.events import Transaction


class LogConflict(Exception):
    """Somebody else appended first; `actual` is the log's last revision."""

    def __init__(self, actual: int) -> None:
        super().__init__(f"the log is at revision {actual}")
        self.actual = actual


class Engine(Protocol):
    """The event log: append-only, totally ordered, durable."""

    name: str
    """As shown to people."""
    durability: str
    """What `accepted` means with this engine, in one phrase."""

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        also: Callable[[], None],
        takes_long: bool = False,
    ) -> None:
        """Make `transactions` durable directly behind revision `expected`: all of them or none.

        Their revisions are `expected` + 1, + 2, … without gaps. `also` writes what belongs to the
        read model; an engine that shares its file with the read model commits both at once, any
        other calls it after the append. `transactions` may be empty: then only `also` is done, and
        where it `takes_long` it holds nobody up but other appends.

        Raises `LogConflict` where the log's last revision is not `expected`, `Unavailable` where
        nothing could be written (then nothing was, and `also` left nothing behind).
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, in order; empty at the end."""

    def last_revision(self) -> int:
        """The newest revision of the log, 0 where it is empty."""
