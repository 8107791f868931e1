"""What every engine promises."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from signalbox.server.model.events import Transaction
from signalbox.server.runtime.failures import ReadableError


class LogConflict(Exception):
    """Somebody else appended first; `actual` is the log's last revision."""

    def __init__(self, actual: int) -> None:
        super().__init__(f"the log is at revision {actual}")
        self.actual = actual


class AppendIndeterminate(ReadableError):
    """What was to be appended may be in the log or may not: the answer did not come."""


class Engine(Protocol):
    """The event log: append-only, totally ordered, durable."""

    name: str
    """As shown to people."""
    durability: str
    """What `accepted` means with this engine, in one phrase."""

    @property
    def max_bytes(self) -> int | None:
        """Of one encoded transaction, where the engine has a limit of its own."""

    def append(
        self,
        transactions: Sequence[Transaction],
        expected: int,
        also: Callable[[], None],
        takes_long: bool = False,
    ) -> None:
        """Make `transactions` durable directly behind revision `expected`: all of them or none.

        Their revisions are `expected` + 1, + 2, … without gaps. `also` writes what belongs to the
        read model, which is committed with the log or directly behind it. `transactions` may be
        empty: then only `also` is done, and where it `takes_long` it holds nobody up but other
        appends.

        Raises `LogConflict` where the log's last revision is not `expected`, `Unavailable` where
        nothing could be written (then nothing was, and `also` left nothing behind),
        `AppendIndeterminate` where that is not known, or where only the first of them were. The
        same append may be tried again: nothing is ever there twice.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, in order; empty at the end."""

    def last_revision(self) -> int:
        """The newest revision of the log, 0 where it is empty."""


class LogMetadata(msgspec.Struct, frozen=True):
    """What a shared log is founded with and keeps as it is.

    `store` is the id of the store. `horizons` are prefix, revision and time in ms of those from
    which on its past is whole, where it was moved here from a log that retention had thinned out.
    """

    store: str
    horizons: tuple[tuple[str, int, int], ...] = ()


class LogStatus(msgspec.Struct, frozen=True):
    """What a shared log says of itself, on connecting and every few seconds.

    `durability` is one phrase for people. `is_durable` where `accepted` means that a disk or a
    quorum has it: fsync before the acknowledgement, or more than one copy.
    """

    metadata: LogMetadata
    revision: int
    durability: str
    is_durable: bool


def not_durable_message(where: str, status: LogStatus) -> str:
    """What is told where less is promised than --require-durable demands."""
    return (
        f"The log at {where} is not durable ({status.durability}), which --require-durable demands."
    )


def nothing_applied() -> int:
    """To follow a log for everything in it."""
    return 0


class SharedLog(Protocol):
    """An event log elsewhere, to which any number of nodes append. All calls wait cooperatively.

    Every call but `connect` raises `Unavailable` where there is no connection.
    """

    name: str
    address: str
    """Where it is, without secrets."""
    requires_durable: bool
    """Whether nothing is founded where `accepted` would mean less than a disk or a quorum."""
    status: LogStatus | None
    """As told last: on connecting, and every few seconds while it is followed."""

    @property
    def max_bytes(self) -> int | None:
        """Of one encoded transaction; known once connected."""

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        """Connect anew, once, within some seconds; where there is no log yet, found one.

        Of several who found it at once, all get the one foundation that won. Of several addresses
        the first one that is not cut off itself. Raises `Unavailable` where there is none,
        `StoreError` where what is there is no log of ours, or is none and `metadata` is None, or
        lets nobody in with these credentials.
        """

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """As `Engine.append`: one round trip for all of them where the server can do that.

        Raises `LogConflict`, `Unavailable`, `AppendIndeterminate` within some seconds.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """As `Engine.read`; what an earlier `append` or `last_revision` has told of is there."""

    def last_revision(self) -> int:
        """As `Engine.last_revision`, of the server that decides on appends.

        That may have been replaced a moment ago: good for finding out where to append, and no more.
        """

    def confirmed_revision(self) -> int:
        """As `last_revision`: at some moment of this call nothing stood behind it anywhere.

        Raises `Unavailable` where the server cannot show that it still decides: by what a majority
        tells it meanwhile, or by a write that reaches as many as the address asks for.
        """

    def follow(
        self, after: int, known: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        """Everything above revision `after`, in order and without gaps, as it is appended.

        `known` tells up to which revision the caller has everything by now: of a piece of nothing
        else only an empty one is given.
        Each piece is taken when the one before it has been dealt with, so that a slow reader costs
        bounded memory. May give an empty piece, and does at least every few seconds. Raises
        `Unavailable` as soon as there is doubt that all that is appended would arrive, as from a
        server that is cut off from the others.
        """

    def publish(self, message: bytes) -> None:
        """Send `message` to all nodes that listen, this one included. May be lost."""

    def subscribe(self) -> Iterator[bytes]:
        """What nodes tell while this is iterated. Raises `Unavailable` when the connection ends."""

    def close(self) -> None:
        """Give up the connection; `connect` makes another."""
