"""Changes and transactions, the content of the event log, and their encoding in shared logs."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from signalbox.server.model import checksums
from signalbox.server.model.errors import StoreError, TooLarge, UnknownVersion
from signalbox.server.model.keys import APPS, RULES

VERSION: Final = 3
"""The newest version of events that this program knows."""
RULES_VERSION: Final = 3
"""Of events that change rules: a program that would ignore these cannot read them."""
PLAIN_VERSION: Final = 2
"""Of all other events that this program writes: they have a checksum."""
WITHOUT_CHECKSUM: Final = 1
REVERSING: Final = ("undo", "redo")
"""Types of the commands whose transactions reverse others."""
RULE_PREFIXES: Final = (APPS, RULES)
"""The keys below these decide what commands may change."""
COMPACTED: Final = "compacted"
"""Type of a placeholder without changes for a transaction that retention had removed before the
log was moved here: shared logs have no gaps."""


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
    `checksum` is the one it came with, until that is compared with its content.
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

    def changes_below(self, start: str) -> bool:
        """Whether it changes a key that begins with `start`."""
        at = bisect_left(self.changes, (start,))
        return at < len(self.changes) and self.changes[at].key.startswith(start)


def version_of(transaction: Transaction) -> int:
    """The version of the event that a transaction is."""
    about_rules = any(map(transaction.changes_below, RULE_PREFIXES))
    return RULES_VERSION if about_rules else PLAIN_VERSION


def head_checksum(transaction: Transaction) -> int:
    """The checksum of all but the changes; how many changes there were at first is part of it.

    An id that was released ends with its revision, see `log_table.release_id`.
    """
    identity = transaction.id.removesuffix(f"@{transaction.revision}")
    made = len(transaction.changes) + transaction.compacted
    return checksums.of_row(
        transaction.revision,
        identity,
        transaction.actor,
        transaction.at,
        transaction.type,
        transaction.fingerprint,
        made,
        transaction.of,
    )


def change_checksum(change: tuple[str, str | None, bool]) -> int:
    """The checksum of one change of a transaction; retention may remove the others."""
    return checksums.of_values(change)


def checksum(transaction: Transaction) -> int:
    """The checksum of a transaction, made of those of its head and its changes."""
    return combine_checksums(
        head_checksum(transaction), map(checksums.of_values, transaction.changes)
    )


def combine_checksums(head: int, changes: Iterable[int]) -> int:
    """The checksum of a transaction from those of its head and its changes, in key order."""
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

    Its revision is its position in the log. The checksum is that of the given content: whoever read
    it has verified it.
    """
    _, *content, of, compacted, _ = transaction
    return _ENCODER.encode(
        (version_of(transaction), *content, of, compacted, checksum(transaction))
    )


def decode(data: bytes, revision: int) -> Transaction:
    """The transaction at `revision` of a shared log, of this or an older version.

    Raises `UnknownVersion` for the event of a newer program, `StoreError` for bytes that are no
    event or do not fit their checksum.
    """
    version, *content, of, compacted, written = _decode_fields(data, revision)
    transaction = Transaction._make((revision, *content, of, compacted, None))
    is_right = version == WITHOUT_CHECKSUM or version == version_of(transaction)
    if written not in (None, checksum(transaction)) or not is_right:
        raise StoreError(
            f"The log's transaction at revision {revision} is damaged: its content does not fit "
            "its checksum."
        )
    return transaction


def _decode_fields(data: bytes, revision: int) -> tuple[Any, ...]:
    """All fields; the checksum, the last one, is None in version 1."""
    try:
        found: tuple[Any, ...] = _STORED.decode(data)
        return found
    except DECODE_ERRORS:
        pass
    try:
        return (*_STORED_1.decode(data), None)
    except DECODE_ERRORS as error:
        check_version(_decode_version(data), revision)
        raise StoreError(f"What the log has at revision {revision} is no transaction.") from error


def decode_all(messages: Iterable[tuple[int, bytes]]) -> list[Transaction]:
    """The transactions at these revisions, up to the first that cannot be decoded.

    Raises as `decode` where that is the first of all.
    """
    transactions: list[Transaction] = []
    for revision, data in messages:
        try:
            transactions.append(decode(data, revision))
        except StoreError:
            if not transactions:
                raise
            break
    return transactions


def _decode_version(data: bytes) -> int:
    """The version of an event of unknown form, 0 where it has none."""
    try:
        return msgspec.msgpack.decode(data, type=_Versioned).version
    except DECODE_ERRORS:
        return 0


def check_encoded_size(transaction: Transaction, limit: int) -> None:
    """Raises `TooLarge` where the encoded transaction has more bytes than the engine takes."""
    at_most = sum(4 * (len(key) + len(raw or "")) + 16 for key, raw, _ in transaction.changes)
    if at_most + 1_000 <= limit:
        return
    if (size := len(encode(transaction))) > limit:
        raise TooLarge(
            f"The transaction has {size} bytes; this store's engine takes {limit}.", limit=limit
        )


def net_key_changes(
    transactions: Iterable[Transaction], existing: Callable[[list[str]], set[str]]
) -> tuple[list[str], list[str]]:
    """The keys that exist only after the transactions, and only before them.

    `existing` gives those of some keys that exist before: a log may delete absent keys.
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


DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions of decoding bytes that are no event of ours."""
_Stored1 = tuple[Literal[1], str, str, int, str, bytes, list[Change], tuple[int, ...], int]
_Stored = tuple[Literal[2, 3], str, str, int, str, bytes, list[Change], tuple[int, ...], int, int]
_ENCODER: Final = msgspec.msgpack.Encoder()
_STORED: Final = msgspec.msgpack.Decoder(_Stored)
_STORED_1: Final = msgspec.msgpack.Decoder(_Stored1)
