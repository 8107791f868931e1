"""What happened: changes and transactions, the event log's content, and their bytes."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from signalbox.server.model import checksums
from signalbox.server.model.errors import StoreError, TooLarge, UnknownVersion

VERSION: Final = 2
"""The version of the events that this program writes: since the second they have a checksum."""
WITHOUT_CHECKSUM: Final = 1
REVERSING: Final = ("undo", "redo")
"""Types of the commands whose transactions reverse others."""
COMPACTED: Final = "compacted"
"""Type of what stands, without changes, where retention had removed a transaction before the log
was moved here: logs that nodes share have no gaps."""


class Entry(NamedTuple):
    """The value of a key as JSON text, and the revision that set it."""

    raw: str
    revision: int


class Change(NamedTuple):
    """One key's new value as compact JSON text, or its deletion (`raw` is None).

    `is_new` where the key did not exist before.
    """

    key: str
    raw: str | None
    is_new: bool = False


class Transaction(NamedTuple):
    """The changes of one accepted command, atomic, sorted by key; each key at most once.

    `at` is in milliseconds since 1970 UTC and never decreases along the log. `of` are the revisions
    that an undo or redo reverses.
    `compacted` counts changes that retention had removed before the transaction came to this log.
    `checksum` is what it was told with, until that is found to be the one of its content.
    """

    revision: int
    id: str
    actor: str
    at: int
    type: str
    fingerprint: bytes
    changes: list[Change]
    of: tuple[int, ...] = ()
    compacted: int = 0
    checksum: int | None = None


def head_checksum(one: Transaction) -> int:
    """Of all but the changes that are left; how many there were at first is part of it.

    An id that may be used again has got its revision behind it, see `log.forget`.
    """
    identity, made = one.id.removesuffix(f"@{one.revision}"), len(one.changes) + one.compacted
    return checksums.of_row(
        one.revision, identity, one.actor, one.at, one.type, one.fingerprint, made, one.of
    )


def change_checksum(change: tuple[str, str | None, bool]) -> int:
    """Apart from the transaction's: so changes may be removed without reading those that stay."""
    return checksums.of_values(change)


def checksum(one: Transaction) -> int:
    """Of the whole content, made of those of its parts: any place can compute or combine it."""
    return combined(head_checksum(one), map(checksums.of_values, one.changes))


def combined(head: int, changes: Iterable[int]) -> int:
    """The checksum of a transaction with these of its parts, the changes in the order of keys."""
    return checksums.of_row(head, *changes)


def check_version(version: int, revision: int) -> None:
    """Raises `UnknownVersion` for an event that only a newer program understands."""
    if version > VERSION:
        raise UnknownVersion(
            f"Transaction {revision} has event version {version}; this Signalbox knows {VERSION}. "
            "Open the store with the newer Signalbox that wrote it."
        )


def encode(transaction: Transaction) -> bytes:
    """A transaction as shared logs hold it: a MessagePack array, its version first.

    Its revision is its place in the log. Whether it is as it was written is seen where it comes
    from: the checksum is that of what is here.
    """
    _, *content, of, compacted, _ = transaction
    return _ENCODER.encode((VERSION, *content, of, compacted, checksum(transaction)))


def decode(data: bytes, revision: int) -> Transaction:
    """The transaction at `revision` of a shared log; an older version becomes today's.

    Raises `UnknownVersion` for what only a newer program understands, `StoreError` for what none of
    ours has written or what is not as it was written.
    """
    *content, of, compacted, found = _parts(data, revision)
    one = Transaction._make((revision, *content, of, compacted, None))
    if found not in (None, checksum(one)):
        raise StoreError(
            f"The log's transaction at revision {revision} is damaged: its content does not fit "
            "its checksum."
        )
    return one


def _parts(data: bytes, revision: int) -> tuple[Any, ...]:
    """All behind the version; the checksum, its last, is None in the first version."""
    try:
        found: tuple[Any, ...] = _STORED.decode(data)
        return found[1:]
    except UNREADABLE:
        pass
    try:
        return (*_STORED_1.decode(data)[1:], None)
    except UNREADABLE as error:
        check_version(_version(data), revision)
        raise StoreError(f"What the log has at revision {revision} is no transaction.") from error


def decode_all(found: Iterable[tuple[int, bytes]]) -> list[Transaction]:
    """The transactions at these revisions; those before one that cannot be read.

    Raises as `decode` where that is the first.
    """
    transactions: list[Transaction] = []
    for revision, data in found:
        try:
            transactions.append(decode(data, revision))
        except StoreError:
            if not transactions:
                raise
            break
    return transactions


def _version(data: bytes) -> int:
    """What an event of an unknown form says of its version, 0 where it says nothing."""
    try:
        return msgspec.msgpack.decode(data, type=_Versioned).version
    except UNREADABLE:
        return 0


def check_bytes(transaction: Transaction, limit: int) -> None:
    """Raises `TooLarge` where the encoded transaction has more bytes than the engine takes."""
    at_most = sum(4 * (len(key) + len(raw or "")) + 16 for key, raw, _ in transaction.changes)
    if at_most + 1_000 <= limit:
        return
    if (size := len(encode(transaction))) > limit:
        raise TooLarge(
            f"The transaction has {size} bytes; this store's engine takes {limit}.", limit=limit
        )


def net_keys(
    transactions: Iterable[Transaction], existing: Callable[[list[str]], set[str]]
) -> tuple[list[str], list[str]]:
    """The keys that exist only after the transactions, and only before them, read off these.

    `existing` tells which of some keys exist before: a log may delete what is not there.
    """
    was: dict[str, bool] = {}
    now: dict[str, bool] = {}
    deleted: list[str] = []
    for transaction in transactions:
        for key, raw, is_new in transaction.changes:
            if key not in was:
                was[key] = not is_new
                if raw is None:
                    deleted.append(key)
            now[key] = raw is not None
    there = existing(deleted) if deleted else set()
    was |= {key: key in there for key in deleted}
    added = [key for key, is_there in now.items() if is_there and not was[key]]
    removed = [key for key, is_there in now.items() if not is_there and was[key]]
    return added, removed


class _Versioned(msgspec.Struct, array_like=True):
    version: int


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that are no event of ours ends with."""
_Stored1 = tuple[Literal[1], str, str, int, str, bytes, list[Change], tuple[int, ...], int]
_Stored = tuple[Literal[2], str, str, int, str, bytes, list[Change], tuple[int, ...], int, int]
_ENCODER: Final = msgspec.msgpack.Encoder()
_STORED: Final = msgspec.msgpack.Decoder(_Stored)
_STORED_1: Final = msgspec.msgpack.Decoder(_Stored1)
