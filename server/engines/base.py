"""What every engine promises."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from server.errors import StoreError
from server.events import Transaction


class LogConflict(Exception):
    """Somebody else appended first; `actual` is the log's last revision."""

    def __init__(self, actual: int) -> None:
        super().__init__(f"the log is at revision {actual}")
        self.actual = actual


class Unsettled(Exception):
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
        nothing could be written (then nothing was, and `also` left nothing behind), `Unsettled`
        where that is not known, or where only the first of them were. The same append may be tried
        again: nothing is ever there twice.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, in order; empty at the end."""

    def last_revision(self) -> int:
        """The newest revision of the log, 0 where it is empty."""


class Foundation(msgspec.Struct, frozen=True):
    """What a shared log is founded with and keeps as it is.

    `store` is the id of the store. `horizons` are prefix, revision and time in ms of those from
    which on its past is whole, where it was moved here from a log that retention had thinned out.
    """

    store: str
    horizons: tuple[tuple[str, int, int], ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """What a shared log says of itself on connecting.

    `durability` is one phrase for people. `is_durable` where `accepted` means that a disk or a
    quorum has it: fsync before the acknowledgement, or more than one copy.
    """

    foundation: Foundation
    revision: int
    durability: str
    is_durable: bool


def check_durable(where: str, standing: str, is_durable: bool, is_required: bool) -> None:
    """Raises `StoreError` where less is promised than is required."""
    if is_required and not is_durable:
        raise StoreError(
            f"The log at {where} is not durable ({standing}), which --require-durable demands."
        )


def nothing_known() -> int:
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
    """Whether `connect` refuses, before it founds anything, where `accepted` would mean less."""

    @property
    def max_bytes(self) -> int | None:
        """Of one encoded transaction; known once connected."""

    def connect(self, foundation: Foundation | None) -> Standing:
        """Connect anew, once, within some seconds; where there is no log yet, found one.

        Of several who found it at once, all get the one foundation that won. Raises `Unavailable`
        where it cannot be reached, `StoreError` where what is there is no log of ours, or is none
        and `foundation` is None, or lets nobody in with these credentials.
        """

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """As `Engine.append`: one round trip for all of them where the server can do that.

        Raises `LogConflict`, `Unavailable`, `Unsettled` within some seconds.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """As `Engine.read`; what an earlier `append` or `last_revision` has told of is there."""

    def last_revision(self) -> int:
        """As `Engine.last_revision`, of the server that decides on appends."""

    def follow(
        self, after: int, known: Callable[[], int] = nothing_known
    ) -> Iterator[list[Transaction]]:
        """Everything above revision `after`, in order and without gaps, as it is appended.

        `known` tells up to which revision the caller has everything by now: of a piece of nothing
        else only an empty one is given.
        Each piece is taken when the one before it has been dealt with, so that a slow reader costs
        bounded memory. May give an empty piece. Raises `Unavailable` as soon as there is doubt that
        all that is appended would arrive.
        """

    def tell(self, message: bytes) -> None:
        """Send `message` to all nodes that listen, this one included. May be lost."""

    def hear(self) -> Iterator[bytes]:
        """What nodes tell while this is iterated. Raises `Unavailable` when the connection ends."""

    def close(self) -> None:
        """Give up the connection; `connect` makes another."""
