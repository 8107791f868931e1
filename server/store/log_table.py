"""The tables of the event log: insert transactions, read them in order, find them by command id."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model.events import (
    REVERSING,
    Change,
    Transaction,
    change_checksum,
    check_version,
    combine_checksums,
    head_checksum,
    version_of,
)

_INSERT_TRANSACTIONS: Final = """
INSERT INTO transactions
    (revision, version, command_id, fingerprint, type, actor, at, changes, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_CHANGES: Final = """
INSERT INTO changes (revision, key, value, is_new, checksum)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)
"""
_INSERT_MANY: Final = """
INSERT INTO changes (revision, key, value, is_new, checksum)
SELECT ?, key, nullif(substr(value, 12), ''), ?, CAST(substr(value, 2, 10) AS INTEGER)
FROM json_each(?)
"""
CHECKSUM_DIGITS: Final = 10**10
"""Added to a checksum, it makes eleven digits, which come before each value: faster than two JSON
members for each change."""
_INSERT_REVERSALS: Final = "INSERT INTO reversals (revision, target) VALUES (?, ?)"
_HAS_ID: Final = "SELECT 1 FROM transactions WHERE command_id = ?"
_RELEASE_ID: Final = """
UPDATE transactions SET command_id = command_id || '@' || revision WHERE command_id = ?
"""
"""No id of a sender contains `@`."""
MANY_CHANGES: Final = 50
"""A transaction with more changes is inserted by a statement of its own, which is faster."""
READ_BYTES: Final = 1024 * 1024
"""Characters of keys and values after which one read ends."""
CHANGE_BYTES: Final = 100
"""Bytes that a change takes besides its key and value, roughly."""

_READ: Final = """
SELECT t.revision, t.version, t.command_id, t.fingerprint, t.type, t.actor, t.at, t.changes,
    c.key, c.value, c.is_new
FROM (SELECT * FROM transactions WHERE revision > ? ORDER BY revision LIMIT ?) t
LEFT JOIN changes c ON c.revision = t.revision
ORDER BY t.revision, c.key
"""

_CHECKSUMS: Final = """
SELECT revision, checksum, (
    SELECT json_group_array(c.checksum ORDER BY c.key) FROM changes c WHERE c.revision = t.revision
) FROM transactions t WHERE revision BETWEEN ? AND ? AND checksum IS NOT NULL
"""


def has_id(connection: apsw.Connection, identity: str) -> bool:
    """Whether a transaction of the log has this command id."""
    return connection.execute(_HAS_ID, (identity,)).get is not None


def insert(connection: apsw.Connection, transactions: Sequence[Transaction]) -> None:
    """Append the rows of `transactions` within the connection's open transaction."""
    connection.executemany(_INSERT_TRANSACTIONS, map(_transaction_row, transactions))
    # One statement takes the interpreter lock once, many rows would take it once each.
    for transaction in transactions:
        if len(transaction.changes) > MANY_CHANGES:
            _insert_many(connection, transaction)
    small = (t for t in transactions if len(t.changes) <= MANY_CHANGES)
    if rows := [
        (t.revision, *change, change_checksum(change)) for t in small for change in t.changes
    ]:
        connection.execute(_INSERT_CHANGES, (_json_text(rows),))
    if reversals := [(t.revision, target) for t in transactions for target in t.of]:
        connection.executemany(_INSERT_REVERSALS, reversals)


def _transaction_row(transaction: Transaction) -> tuple[Any, ...]:
    """The row of a transaction in the log, without its changes."""
    return (
        transaction.revision,
        version_of(transaction),
        transaction.id,
        transaction.fingerprint,
        transaction.type,
        transaction.actor,
        transaction.at,
        len(transaction.changes) + transaction.compacted,
        head_checksum(transaction),
    )


def _insert_many(connection: apsw.Connection, transaction: Transaction) -> None:
    """Insert the changes of one large transaction with at most two statements."""
    for is_new in (False, True):
        if rows := {
            change[0]: f"{CHECKSUM_DIGITS + change_checksum(change)}{change[1] or ''}"
            for change in transaction.changes
            if change[2] is is_new
        }:
            connection.execute(_INSERT_MANY, (transaction.revision, int(is_new), _json_text(rows)))


def _json_text(rows: Any) -> str:
    """Rows as one SQL parameter, which `json_each` reads."""
    return msgspec.json.encode(rows).decode()


def release_id(connection: apsw.Connection, identity: str) -> None:
    """Let the command id be used again: the transaction gets another one in the log."""
    connection.execute(_RELEASE_ID, (identity,))


def read(connection: apsw.Connection, after: int, limit: int) -> list[Transaction]:
    """At most `limit` transactions of the table of the log above revision `after`, in order.

    Fewer where they are large: none after the one that reaches `READ_BYTES`, so that memory stays
    bounded.
    """
    transactions: list[Transaction] = []
    size = 0
    for transaction in _grouped(connection.execute(_READ, (after, limit))):
        transactions.append(_with_reversals(connection, transaction))
        size += sum(len(key) + len(raw or "") + CHANGE_BYTES for key, raw, _ in transaction.changes)
        if size >= READ_BYTES:
            break
    return transactions


def checksums(connection: apsw.Connection, first: int, last: int) -> dict[int, int]:
    """The checksums of the transactions `first` to `last` as they were written, see
    `events.checksum`; older programs have written none.
    """
    rows = connection.execute(_CHECKSUMS, (first, last))
    return {revision: combine_checksums(head, json.loads(parts)) for revision, head, parts in rows}


def last_revision(connection: apsw.Connection) -> int:
    """The newest revision of the log, 0 where it is empty."""
    return int(connection.execute("SELECT ifnull(max(revision), 0) FROM transactions").get)


def check_newest(connection: apsw.Connection) -> None:
    """Raises `UnknownVersion` where a newer program has written the log's last transaction."""
    for version, revision in connection.execute(
        "SELECT version, revision FROM transactions ORDER BY revision DESC LIMIT 1"
    ):
        check_version(version, revision)


def _grouped(rows: Iterator[tuple[Any, ...]]) -> Iterator[Transaction]:
    """The transactions of joined rows, one row for each change."""
    for _, group in groupby(rows, key=itemgetter(0)):
        lines = list(group)
        revision, version, identity, fingerprint, kind, actor, at, made = lines[0][:8]
        check_version(version, revision)
        changes = [Change(key, raw, bool(new)) for *_, key, raw, new in lines if key is not None]
        yield Transaction(
            revision,
            identity,
            actor,
            at,
            kind,
            fingerprint,
            changes,
            compacted=made - len(changes),
        )


def _with_reversals(connection: apsw.Connection, transaction: Transaction) -> Transaction:
    """The transaction with the revisions that it has reversed, from the table of reversals."""
    if transaction.type not in REVERSING:
        return transaction
    return transaction._replace(of=reversed_revisions(connection, transaction.revision))


def reversed_revisions(connection: apsw.Connection, revision: int) -> tuple[int, ...]:
    """The revisions that an undo or redo has reversed, in order."""
    rows = connection.execute(
        "SELECT target FROM reversals WHERE revision = ? ORDER BY target", (revision,)
    )
    return tuple(target for (target,) in rows)


def last_time(connection: apsw.Connection) -> int:
    """The time of the log's newest transaction in ms, 0 where there is none."""
    newest = connection.execute("SELECT at FROM transactions ORDER BY revision DESC LIMIT 1").get
    return int(newest or 0)
