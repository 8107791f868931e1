"""Items of the state that were read lately, so that a key that is read again needs no SQL.

None is older than the last commit: those that a commit changes are forgotten before it begins, and
none is kept until it has ended.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from signalbox.server.model.events import Transaction

MOST: Final = 4_096
LONGEST: Final = 1_024
"""Characters of a value that is kept."""

Row = tuple[Any, ...]
"""Key, value as JSON, and what else the item has."""


class RecentItems:
    """Rows of the current state by key; the one that was kept first goes first."""

    def __init__(self) -> None:
        """No items yet."""
        self._rows: dict[str, Row] = {}
        self._is_changing = False
        self.get = self._rows.get
        """The row of a key; None where it was not kept."""

    def keep(self, row: Row) -> None:
        """Keep a row that was read in this turn of the hub, unless it may be about to change."""
        if self._is_changing or len(row[1]) > LONGEST:
            return
        if len(self._rows) >= MOST:
            del self._rows[next(iter(self._rows))]
        self._rows[row[0]] = row

    @contextmanager
    def changing(self, transactions: Sequence[Transaction]) -> Iterator[None]:
        """For as long as these transactions are being committed, or fail to be."""
        rows = self._rows
        if sum(len(transaction.changes) for transaction in transactions) > len(rows):
            rows.clear()
        for transaction in transactions if rows else ():
            for change in transaction.changes:
                rows.pop(change[0], None)
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False
