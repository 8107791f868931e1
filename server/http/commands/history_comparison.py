"""Checks whether an imported history continues the log of this store: for import and preview."""

from collections.abc import Callable, Iterator
from typing import Final

from signalbox.server.model.errors import Conflict, Invalid
from signalbox.server.model.events import (
    COMPACTED,
    Change,
    Transaction,
    change_checksum,
    check_encoded_size,
    combine_checksums,
    head_checksum,
)
from signalbox.server.runtime.scheduling import yield_to_hub

SLICE: Final = 1_000
"""Changes that are checked before other greenlets run."""
COMPARED: Final = 500
"""Transactions that are read from the store at once."""

Read = Callable[[int, int], list[Transaction]]
"""As `log_table.read`."""

_OTHER_TRANSACTION: Final = (
    "This store has another transaction at revision {}. A history is taken by an empty store, or "
    "by one that has its beginning; `signalbox replay` sends it to any other as new changes."
)
_GAP: Final = (
    "Revision {} follows {}. What is between was left out when this was written, or had been "
    "removed by retention; `signalbox migrate` copies a store that has been thinned out."
)
_ALTERED: Final = (
    "Revision {} is not as it was exported: its content does not fit its checksum {:08x}. Export "
    "it again from its store, or use a backup."
)


class HistoryComparison:
    """Compares a history, transaction by transaction, with a store that is at revision `start`."""

    def __init__(self, start: int, read: Read, max_bytes: int | None) -> None:
        """Compare with the stored transactions that `read` gives; `max_bytes` limits a new one."""
        self._start, self._read, self._max_bytes = start, read, max_bytes
        self._last = (0, 0)
        """Revision and time of the previous transaction."""
        self._stored = self._stored_transactions()
        self._next_stored = next(self._stored, None)

    def is_stored(self, transaction: Transaction) -> bool:
        """Whether the store has this transaction already.

        Raises `Invalid` where it does not follow the previous one, `Conflict` where the store has
        another at its revision, and `TooLarge` where it exceeds what the engine stores.
        """
        self._check_order(transaction)
        if self._is_in_store(transaction):
            return True
        if self._max_bytes is not None:
            check_encoded_size(transaction, self._max_bytes)
        return False

    def _check_order(self, transaction: Transaction) -> None:
        """Raises `Invalid` where a transaction of the history is not the next one."""
        revision, at = self._last
        if transaction.revision != revision + 1:
            raise Invalid(_GAP.format(transaction.revision, revision or "nothing"))
        if transaction.at < at:
            raise Invalid(f"Revision {transaction.revision} is older than the one before it.")
        self._last = (transaction.revision, transaction.at)

    def _stored_transactions(self) -> Iterator[Transaction]:
        """The store's transactions that the history may repeat, in order."""
        after = 0
        while after < self._start and (transactions := self._read(after, COMPARED)):
            yield from transactions
            after = transactions[-1].revision

    def _is_in_store(self, transaction: Transaction) -> bool:
        """Whether the store has the transaction. Raises `Conflict` where it has another one."""
        if transaction.revision > self._start:
            return False
        while self._next_stored is not None and self._next_stored.revision < transaction.revision:
            self._next_stored = next(self._stored, None)
        ours = self._next_stored
        if ours is None or ours.revision > transaction.revision or ours.type == COMPACTED:
            return True  # retention has removed it since
        if _header_of(ours) != _header_of(transaction) or (
            not ours.compacted and _content_of(ours) != _content_of(transaction)
        ):
            raise Conflict(_OTHER_TRANSACTION.format(transaction.revision), revision=self._start)
        return True


def atomic_history_error() -> Invalid:
    """The refusal of `atomic=1` for a history."""
    return Invalid("A history keeps its transactions; import it without atomic=1.")


def repeated_id_error(identity: str) -> Invalid:
    """The refusal of a transaction whose id is used by another one."""
    return Invalid(f"The id {identity} is used twice.")


def with_created_keys(transaction: Transaction, exists: Callable[[str], bool]) -> Transaction:
    """`transaction`, each of its changes with whether it creates its key.

    A deletion of an absent key, which a log may contain, is kept: it has no effect. Raises
    `Invalid` where the content does not match the checksum.
    """
    changes: list[Change] = []
    checksums: list[int] = []
    for number, (key, raw, _) in enumerate(transaction.changes, start=1):
        changes.append(Change(key, raw, raw is not None and not exists(key)))
        checksums.append(change_checksum(changes[-1]))
        if number % SLICE == 0:
            yield_to_hub()
    named = transaction.checksum
    if named not in (None, combine_checksums(head_checksum(transaction), checksums)):
        raise Invalid(_ALTERED.format(transaction.revision, named))
    return transaction._replace(changes=changes, checksum=None)


def _header_of(transaction: Transaction) -> tuple[object, ...]:
    """What an imported transaction must have in common with a stored one, besides changes."""
    return (transaction.id, transaction.actor, transaction.at, transaction.type, transaction.of)


def _content_of(transaction: Transaction) -> list[tuple[str, str | None]]:
    """The changes that are compared between an imported transaction and a stored one."""
    return [(change.key, change.raw) for change in transaction.changes]
