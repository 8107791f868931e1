"""Items of the state that were read or written lately, so that their next reader needs no SQL.

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
FEW: Final = 1_000
"""Of a commit with more changes none is kept."""

Row = tuple[Any, ...]
"""Key, value as JSON, revision, time in ms and actor."""


class RecentItems:
    """Rows of the last commit by key; the one that was kept first goes first."""

    def __init__(self) -> None:
        """No items yet."""
        self._rows: dict[str, Row] = {}
        self._is_changing = False
        self.get = self._rows.get
        """The row of a key; None where it was not kept."""

    def keep(self, row: Row) -> None:
        """Keep a row that was read in this turn of the hub, unless it may be about to change."""
        if not self._is_changing and len(row[1]) <= LONGEST:
            self._add(row)

    @contextmanager
    def changing(self, transactions: Sequence[Transaction]) -> Iterator[None]:
        """For as long as these transactions are being committed, or fail to be."""
        is_large = sum(len(transaction.changes) for transaction in transactions) > FEW
        if is_large:
            self._rows.clear()
        else:
            self._forget(transactions)
        self._is_changing = True
        try:
            yield
            if not is_large:
                self._learn(transactions)
        finally:
            self._is_changing = False

    def _forget(self, transactions: Sequence[Transaction]) -> None:
        """Forget the keys that these change."""
        for transaction in transactions:
            for key, *_ in transaction.changes:
                self._rows.pop(key, None)

    def _learn(self, transactions: Sequence[Transaction]) -> None:
        """Keep what these have made of their keys, the last one of a key."""
        for transaction in transactions:
            for key, raw, _ in transaction.changes:
                if raw is None or len(raw) > LONGEST:
                    self._rows.pop(key, None)
                else:
                    self._add((key, raw, transaction.revision, transaction.at, transaction.actor))

    def _add(self, row: Row) -> None:
        """Keep a row, if need be in place of the one that was kept first."""
        if len(self._rows) >= MOST:
            del self._rows[next(iter(self._rows))]
        self._rows[row[0]] = row
