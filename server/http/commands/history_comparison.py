"""Whether a history goes on where the store is: what its import and its preview refuse alike."""

from collections.abc import Callable, Iterator
from typing import Final

from signalbox.server.model.errors import Conflict, Invalid
from signalbox.server.model.events import (
    COMPACTED,
    Change,
    Transaction,
    check_encoded_size,
    checksum,
)

COMPARED: Final = 500
"""Transactions of the store that are looked at together."""

Read = Callable[[int, int], list[Transaction]]
"""As `log.read`."""

_OTHER: Final = (
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
    """A history, one transaction after the other, with a store that is at revision `start`."""

    def __init__(self, start: int, read: Read, max_bytes: int | None) -> None:
        self._start, self._read, self._max_bytes = start, read, max_bytes
        self._last = (0, 0)
        """Revision and time of the one before."""
        self._before = self._there()
        self._ahead = next(self._before, None)

    def is_there(self, one: Transaction) -> bool:
        """Whether the store has it already.

        Raises `Invalid` where it does not follow the one before, `Conflict` where the store has
        another in its place, and `TooLarge` where the engine would not take it.
        """
        self._check_order(one)
        if self._is_had(one):
            return True
        if self._max_bytes is not None:
            check_encoded_size(one, self._max_bytes)
        return False

    def _check_order(self, one: Transaction) -> None:
        revision, at = self._last
        if one.revision != revision + 1:
            raise Invalid(_GAP.format(one.revision, revision or "nothing"))
        if one.at < at:
            raise Invalid(f"Revision {one.revision} is older than the one before it.")
        self._last = (one.revision, one.at)

    def _there(self) -> Iterator[Transaction]:
        after = 0
        while after < self._start and (found := self._read(after, COMPARED)):
            yield from found
            after = found[-1].revision

    def _is_had(self, one: Transaction) -> bool:
        if one.revision > self._start:
            return False
        while self._ahead is not None and self._ahead.revision < one.revision:
            self._ahead = next(self._before, None)
        ours = self._ahead
        if ours is None or ours.revision > one.revision or ours.type == COMPACTED:
            return True  # retention has removed it since
        if _told(ours) != _told(one) or (not ours.compacted and _made(ours) != _made(one)):
            raise Conflict(_OTHER.format(one.revision), revision=self._start)
        return True


def not_atomic() -> Invalid:
    """The refusal of a history that is to be one transaction."""
    return Invalid("A history keeps its transactions; import it without atomic=1.")


def twice(identity: str) -> Invalid:
    """The refusal of a transaction whose id another one has."""
    return Invalid(f"The id {identity} stands there twice.")


def with_news(one: Transaction, exists: Callable[[str], bool]) -> Transaction:
    """`one`, its changes with whether their key did not exist before.

    A log may delete what is not there, which does nothing: it is the same log here. Raises
    `Invalid` where its content is not that of its checksum.
    """
    changes = [Change(key, raw, raw is not None and not exists(key)) for key, raw, _ in one.changes]
    return _as_exported(one._replace(changes=changes))


def _as_exported(one: Transaction) -> Transaction:
    if one.checksum not in (None, checksum(one)):
        raise Invalid(_ALTERED.format(one.revision, one.checksum))
    return one._replace(checksum=None)


def _told(one: Transaction) -> tuple[object, ...]:
    return (one.id, one.actor, one.at, one.type, one.of)


def _made(one: Transaction) -> list[tuple[str, str | None]]:
    return [(change.key, change.raw) for change in one.changes]
