"""`GET /queries/export?history=1`: streams the event log, one transaction a line."""

from collections.abc import Iterator
from typing import Final

import msgspec

from signalbox.server.http.api import schemas
from signalbox.server.http.api.stream_events import change_of
from signalbox.server.model.events import COMPACTED, Transaction
from signalbox.server.model.keys import Pattern
from signalbox.server.model.times import iso
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.scheduling import yield_to_hub

TRANSACTIONS: Final = 500


def lines(readmodel: ReadModel, behind: int, last: int, pattern: Pattern | None) -> Iterator[bytes]:
    """The transactions after one revision, up to another, with their changes of matching keys.

    The pattern None matches every key, also the app's own.
    """
    with readmodel.held.holding(behind):
        yield from _lines(readmodel, behind, last, pattern)


def _lines(readmodel: ReadModel, after: int, last: int, pattern: Pattern | None) -> Iterator[bytes]:
    """The lines of the exported transactions, in pieces of many."""
    while transactions := readmodel.log.transactions(after, TRANSACTIONS):
        after = transactions[-1].revision
        checksums = readmodel.log.checksums(transactions[0].revision, after)
        wanted = (transaction for transaction in transactions if transaction.revision <= last)
        if piece := b"".join(
            _line(transaction, pattern, checksums.get(transaction.revision))
            for transaction in wanted
        ):
            yield piece
        if after >= last:
            return
        yield_to_hub()


def _line(transaction: Transaction, pattern: Pattern | None, checksum: int | None) -> bytes:
    """A transaction as one line of the export; empty where none of its keys matches."""
    if transaction.type == COMPACTED:
        return b""
    matching = (
        changed
        for changed in transaction.changes
        if pattern is None or pattern.matches(changed.key)
    )
    changes = [change_of(change) for change in matching]
    if transaction.changes and not changes:
        return b""
    recorded = schemas.Recorded(
        transaction.revision,
        transaction.id,
        transaction.actor,
        iso(transaction.at),
        changes,
        type=transaction.type,
    )
    recorded.fingerprint = transaction.fingerprint.hex()
    if transaction.of:
        recorded.reverses = list(transaction.of)
    if transaction.compacted:
        recorded.compacted = transaction.compacted
    if checksum is not None and len(changes) == len(transaction.changes):
        recorded.checksum = f"{checksum:08x}"
    return msgspec.json.encode(recorded) + b"\n"
