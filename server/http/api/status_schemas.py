"""What `/queries/status` answers, from which its description is made."""

from signalbox.server.http.api.schemas import (
    Clock,
    Retention,
    Shape,
    Time,
)


class Rates(Shape):
    changes_per_second: float


class Limits(Shape):
    body_bytes: int
    line_bytes: int
    key_length: int
    value_bytes: int
    nesting: int
    batch_commands: int
    transaction_changes: int
    transaction_bytes: int
    connections: int


class SharedLog(Shape):
    """Of a log that nodes share. `problem` says why this one is not in step with it.

    `stale_since` when it was away first, null while it is `connected`; `durable` where `accepted`
    means that a disk or a quorum has it: where it `requires_durable`, nothing is written else.
    `conflicts` are appends that came second, since the start.
    """

    node: str
    address: str
    connected: bool
    stale_since: Time | None
    problem: str | None
    durable: bool
    requires_durable: bool
    conflicts: int


class Status(Shape):
    """`durability` says what `accepted` means. Of `bytes`, `free_bytes` are used again.

    `problem` says why nothing can be written, as where the store's file was removed. From
    `oldest_revision` on everything is kept.
    """

    version: str
    store: str
    engine: str
    durability: str
    problem: str | None
    log: SharedLog | None
    clock: Clock
    revision: int
    oldest_revision: int
    keys: int
    bytes: int
    free_bytes: int
    retention: list[Retention]
    streams: int
    connections: int
    rates: Rates
    limits: Limits
