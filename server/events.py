"""What happened: changes and transactions, the event log's content, and their bytes."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from server.errors import StoreError, TooLarge, UnknownVersion

VERSION: Final = 1
"""The version of the events that this program writes."""
REVERSING: Final = ("undo", "redo")
"""Types of the commands whose transactions reverse others."""
COMPACTED: Final = "compacted"
"""Type of what stands, without changes, where retention had removed a transaction before the log
was moved here: logs that nodes share have no gaps."""


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
    """

    revision: int
    id: str
    actor: str
    at: int
    type: str
    fingerprint: bytes
    changes: list[Change]
    version: int = VERSION
    of: tuple[int, ...] = ()
    compacted: int = 0


def check_version(version: int, revision: int) -> None:
    """Raises `UnknownVersion` for an event that only a newer program understands."""
    if version > VERSION:
        raise UnknownVersion(
            f"Transaction {revision} has event version {version}; this Signalbox knows {VERSION}. "
            "Open the store with the newer Signalbox that wrote it."
        )


def encode(transaction: Transaction) -> bytes:
    """A transaction as shared logs hold it: a MessagePack array, its version first.

    Its revision is its place in the log.
    """
    _, *content, version, of, compacted = transaction
    return _ENCODER.encode((version, *content, of, compacted))


def decode(data: bytes, revision: int) -> Transaction:
    """The transaction at `revision` of a shared log.

    Raises `UnknownVersion` for what only a newer program understands, `StoreError` for what none of
    ours has written.
    """
    try:
        version, identity, actor, at, kind, fingerprint, changes, of, compacted = _STORED.decode(
            data
        )
    except (msgspec.MsgspecError, RecursionError) as error:
        check_version(_version(data), revision)
        raise StoreError(f"What the log has at revision {revision} is no transaction.") from error
    check_version(version, revision)
    return Transaction(
        revision, identity, actor, at, kind, fingerprint, changes, version, of, compacted
    )


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
    except (msgspec.MsgspecError, RecursionError):
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


def net_keys(transactions: Iterable[Transaction]) -> tuple[list[str], list[str]]:
    """The keys that exist only after the transactions, and only before them, read off these."""
    was: dict[str, bool] = {}
    now: dict[str, bool] = {}
    for transaction in transactions:
        for key, raw, is_new in transaction.changes:
            was.setdefault(key, not is_new)
            now[key] = raw is not None
    added = [key for key, is_there in now.items() if is_there and not was[key]]
    removed = [key for key, is_there in now.items() if not is_there and was[key]]
    return added, removed


class _Versioned(msgspec.Struct, array_like=True):
    version: int


_Stored = tuple[int, str, str, int, str, bytes, list[Change], tuple[int, ...], int]
_ENCODER: Final = msgspec.msgpack.Encoder()
_STORED: Final = msgspec.msgpack.Decoder(_Stored)
