"""The interface of an event log that several nodes share, and the client for an address."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, Protocol

import msgspec

from signalbox.server.engines.address import Address
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import Transaction

CLIENTS: Final = {
    "nats": ("signalbox.server.engines.jetstream.log", "JetStreamLog", "nats"),
    "tls": ("signalbox.server.engines.jetstream.log", "JetStreamLog", "nats"),
    "redis": ("signalbox.server.engines.redis.log", "RedisLog", "redis"),
    "rediss": ("signalbox.server.engines.redis.log", "RedisLog", "redis"),
}
"""Module, class and extra of the package, by the address's scheme. Imported only when needed."""
BYTES_A_SECOND: Final = 512 * 1024
"""Of the slowest network: a large append may take so much longer."""


class LogMetadata(msgspec.Struct, frozen=True):
    """What is written when a shared log is created, and never changes.

    `store` is the id of the store. `horizons` are prefix, revision and time in ms of the oldest
    complete revisions, where the log was moved here after retention had removed changes from it.
    """

    store: str
    horizons: tuple[tuple[str, int, int], ...] = ()


class LogStatus(msgspec.Struct, frozen=True):
    """What a shared log reports on connecting and every few seconds.

    `durability` is one phrase for people. `is_durable` where `accepted` means that a disk or a
    quorum has it: fsync before the acknowledgement, or more than one copy.
    """

    metadata: LogMetadata
    revision: int
    durability: str
    is_durable: bool


class Partitioned(Unavailable):
    """A server that answers but may be cut off from the others, and not know their decisions."""


def nothing_applied() -> int:
    """The `applied` of a caller of `SharedLog.follow` that has nothing yet."""
    return 0


class SharedLog(Protocol):
    """An event log elsewhere, to which any number of nodes append. All calls wait cooperatively.

    Every call but `connect` raises `Unavailable` where there is no connection.
    """

    name: str
    address: str
    """The address without user, password and options."""
    requires_durable: bool
    """Whether no log is created where `accepted` would mean less than a disk or a quorum."""
    status: LogStatus | None
    """The last reported status: on connecting, and every few seconds while it is followed."""

    @property
    def max_bytes(self) -> int | None:
        """The limit for one encoded transaction; known once connected."""

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        """Connect anew, once, within some seconds; where there is no log yet, create one.

        Of several nodes that create it at once, all get the metadata of the one that won. Of
        several addresses the first server is used that is not partitioned. Raises `Unavailable`
        where there is none. Raises `StoreError` if the server refuses these credentials, where
        what it has is no log of Signalbox, or where it has none and `metadata` is None.
        """

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """As `Engine.append`: one round trip for all of them where the server can do that.

        Raises `LogConflict`, `Unavailable` or `AppendIndeterminate` within some seconds.
        """

    def read(self, after: int, limit: int) -> list[Transaction]:
        """As `Engine.read`; it includes what an earlier `append` or `last_revision` reported."""

    def last_revision(self) -> int:
        """As `Engine.last_revision`, of the server that decides on appends.

        That server may have been replaced a moment ago: use the answer only to find out where to
        append.
        """

    def confirmed_revision(self) -> int:
        """As `last_revision`; at some moment of this call no server had a later revision.

        Raises `Unavailable` if the server cannot prove that it still decides: by answers of a
        majority during the call, or by a write that reaches as many as the address asks for.
        """

    def follow(
        self, after: int, applied: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        """Every transaction after revision `after`, in order and without gaps, as it is appended.

        `applied` returns the revision up to which the caller has everything by now: of what it has
        already, an empty list is given.
        The next list is read when the caller asks for it, so that a slow reader costs bounded
        memory. May give an empty list, and does at least every few seconds. Raises `Unavailable`
        as soon as a transaction might be missed, as from a server that is partitioned.
        """

    def publish(self, message: bytes) -> None:
        """Send `message` to all subscribed nodes, this one included. It may be lost."""

    def subscribe(self) -> Iterator[bytes]:
        """The messages that nodes publish meanwhile. Raises `Unavailable` when it disconnects."""

    def close(self) -> None:
        """Close the connection to the log; `connect` makes another."""


def not_durable_message(where: str, status: LogStatus) -> str:
    """The refusal of a log that is less durable than --require-durable demands."""
    return (
        f"The log at {where} is not durable ({status.durability}), which --require-durable demands."
    )


def shared_log(address: Address) -> SharedLog:
    """The shared log at `address`, of the engine that its scheme names; not connected yet.

    Raises `StoreError` if the package that the engine needs is not installed.
    """
    module, name, extra = CLIENTS[address.scheme]
    try:
        client: Any = getattr(import_module(module), name)(address)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The engine {address.scheme}:// needs the package {error.name}, which is not "
            f"installed; install Signalbox again with its extra [{extra}]."
        ) from error
    log: SharedLog = client
    return log
