"""The responses of all routes as types, which `/openapi.json` describes."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from signalbox.server.model.errors import every_code

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601 in UTC with milliseconds."""
Code = Annotated[str, Meta(extra_json_schema={"enum": sorted(every_code())})]
"""A refusal's code; what it means is in docs/reference.md."""


class Shape(msgspec.Struct):
    """A JSON object; a field that is UNSET is left out."""


# Acknowledgements and refusals.


class Reason(Shape):
    """A key for which a rule refuses a change now: its value, cut where it is long, or `missing`.

    `revision` is that of its last change, unless that is part of the refused command.
    """

    key: str
    value: Any = UNSET
    missing: Literal[True] | UnsetType = UNSET
    revision: int | UnsetType = UNSET


class Refusal(Shape):
    """`limit` is the limit that was exceeded, `revision` the one that was found.

    `of` are the commands that an undo or redo would have reversed. `field` is the field of the
    command, or the parameter, that is to be given otherwise. `keys` are the first of `total`.
    `rule` is the name of the rule that refuses, `because` are the keys for which it does. `path` is
    a JSON Pointer into the value that is refused.
    """

    code: Code
    message: str
    key: str | UnsetType = UNSET
    keys: list[str] | UnsetType = UNSET
    total: int | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    because: list[Reason] | UnsetType = UNSET
    of: list[str] | UnsetType = UNSET
    revision: int | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    field: str | UnsetType = UNSET


class Effect(Shape):
    """What a key is `now`, by whose change, and what an undo, redo or restore would make of it
    (`back`): left out where there is no such key.
    """

    key: str
    actor: str
    revision: int
    at: Time
    now: Any = UNSET
    back: Any = UNSET


class BrokenBy(Shape):
    """How many keys have values at `revision` that a rule does not take, and the first 100."""

    revision: int
    total: int
    keys: list[str]


class Accepted(Shape, tag_field="status", tag="accepted"):
    """`revision` is null in a dry run of what is new, the store's where nothing changed.

    `effects` are those of a dry run of an undo, redo or restore, in the order of the keys,
    `violations` are of one that sets a rule.
    """

    id: str
    revision: int | None
    changed: bool
    changes: int
    duplicate: bool
    dry_run: Literal[True] | UnsetType = UNSET
    effects: list[Effect] | UnsetType = UNSET
    violations: BrokenBy | UnsetType = UNSET


class Rejected(Refusal, tag_field="status", tag="rejected", kw_only=True):
    """`id` is null where the body was no command at all.

    `effects` are those of an undo or redo on the keys that are in its way.
    """

    id: str | None
    duplicate: Literal[True] | UnsetType = UNSET
    effects: list[Effect] | UnsetType = UNSET


class Unknown(Refusal, tag_field="status", tag="unknown", kw_only=True):
    """Whether it was written is told later, as the outcome of attempt `id`."""

    id: str


class AcceptedAck(Accepted, kw_only=True):
    actor: str


class RejectedAck(Rejected, kw_only=True):
    actor: str


class AcceptedAttempt(AcceptedAck, kw_only=True):
    """`key` is the key, or the prefix that all `touched` keys (their number) stand below.

    `of` are the commands that an undo or redo reversed.
    """

    type: str
    at: Time
    key: str | UnsetType | None = UNSET
    to: str | UnsetType | None = UNSET
    touched: int | UnsetType = UNSET
    of: list[str] | UnsetType = UNSET


class RejectedAttempt(RejectedAck, kw_only=True):
    type: str
    at: Time


# The lines of an import.


class Counts(Shape):
    lines: int
    accepted: int
    rejected: int
    changes: int
    batches: int
    duplicates: int
    revision: int


class Progress(Counts, tag_field="type", tag="progress"):
    """How far it has come."""


class RejectedLine(Refusal, tag_field="type", tag="rejected", kw_only=True):
    """`line` counts from 1."""

    line: int


class Summary(Counts, tag_field="type", tag="summary", kw_only=True):
    """`code` and `message` are there where the import ended early; the last five of a dry run.

    `format` is how the file was read, `history` where its lines are transactions; null: no more
    than its beginning could be read.
    """

    id: str
    status: Literal["accepted", "rejected", "unknown"]
    format: Literal["ndjson", "json", "csv", "env", "lines", "history"] | None
    code: Code | UnsetType = UNSET
    message: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    keys: list[str] | UnsetType = UNSET
    total: int | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    because: list[Reason] | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    field: str | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET
    new: int | UnsetType = UNSET
    changed: int | UnsetType = UNSET
    equal: int | UnsetType = UNSET
    deleted: int | UnsetType = UNSET


# Queries.


class Item(Shape):
    key: str
    value: Any
    revision: int
    at: Time
    actor: str


class Page(Shape):
    """`total` counts every match; `next` goes into `after`, null at the end.

    `compacted` are prefixes of keys that are left out: their past is not kept so long.
    """

    revision: int
    total: int
    items: list[Item]
    next: str | None
    compacted: list[str] | UnsetType = UNSET


class Child(Shape, kw_only=True):
    """`keys` are those at and below the segment."""

    segment: str
    key: str | UnsetType = UNSET
    prefix: str | UnsetType = UNSET
    keys: int


class Tree(Shape):
    """`total` counts the keys below the prefix; `next` goes into `after`, null at the end.

    `compacted` as in a page.
    """

    revision: int
    total: int
    children: list[Child]
    next: str | None
    compacted: list[str] | UnsetType = UNSET


class Version(Shape, kw_only=True):
    """Either `value` or `deleted`; `id` and `type` are the command's."""

    revision: int
    at: Time
    actor: str
    id: str
    type: str
    value: Any = UNSET
    deleted: Literal[True] | UnsetType = UNSET


class History(Shape):
    """Newest first; `next` goes into `before`, null at the end.

    `compacted` is there where older versions may have been removed.
    """

    key: str
    items: list[Version]
    next: int | None
    compacted: list[str] | UnsetType = UNSET


class Difference(Shape):
    """A side is left out where there was no such key."""

    key: str
    before: Any = UNSET
    after: Any = UNSET


class Diff(Shape, rename={"since": "from", "until": "to"}):
    """`total` counts every key that differs; `next` goes into `after`, null at the end.

    `compacted` as in a page.
    """

    since: int
    until: int
    total: int
    items: list[Difference]
    next: str | None
    compacted: list[str] | UnsetType = UNSET


class Attempts(Shape):
    """`next` goes into `before`, null at the end."""

    items: list[AcceptedAttempt | RejectedAttempt]
    next: str | None


class Retention(Shape):
    """For how long the past below a prefix is kept (null: for ever), the root without a prefix.

    From `revision`, made at `at`, it is whole; null where nothing has been removed yet.
    """

    prefix: str
    max_age: str | None
    revision: int
    at: Time | None


class Compacted(Retention):
    """How many `changes` went, or would go."""

    changes: int


class Clock(Shape):
    """`time` is what is believed, `computer` what the computer's clock says.

    `problem` is one sentence where that has leapt, or where changes are stamped too late.
    """

    time: Time
    computer: Time
    problem: str | None


class Compaction(Shape):
    dry_run: bool
    changes: int
    transactions: int
    oldest_revision: int
    prefixes: list[Compacted]
    clock: Clock


# Events of a stream.


class StreamItem(Shape):
    key: str
    value: Any
    revision: int


class Snapshot(Shape):
    revision: int
    items: list[StreamItem]


class CaughtUp(Shape):
    revision: int


class Change(Shape):
    """Either `value` or `deleted`."""

    key: str
    value: Any = UNSET
    deleted: Literal[True] | UnsetType = UNSET


class Transaction(Shape):
    revision: int
    id: str
    actor: str
    at: Time
    changes: list[Change]


class Recorded(Transaction, kw_only=True):
    """A transaction as an export of the history has it; `reverses` are revisions.

    `fingerprint` (hexadecimal) tells whether the same command comes again. `compacted` counts
    changes that retention has removed from it. `checksum` (hexadecimal) is that of its content;
    left out where the line has only some of its changes, and of what older programs have written.
    """

    type: str
    fingerprint: str = ""
    reverses: list[int] | UnsetType = UNSET
    compacted: int | UnsetType = UNSET
    checksum: str | UnsetType = UNSET


class Reset(Shape):
    """`oldest` is the first revision that a stream can begin behind."""

    reason: Literal["other_store", "compacted"]
    oldest: int


EVENTS: Final[dict[str, tuple[type[Shape], ...]]] = {
    "snapshot": (Snapshot,),
    "caught-up": (CaughtUp,),
    "change": (Transaction,),
    "ack": (AcceptedAck, RejectedAck),
    "reset": (Reset,),
}
"""Each event of `/queries/stream` with what its data is."""


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


class FaultyRule(Shape):
    """A rule that this program cannot use: it refuses all writes to its keys."""

    name: str
    problem: str


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
    faulty_rules: list[FaultyRule]
    streams: int
    connections: int
    rates: Rates
    limits: Limits
