"""Room on the disk: the last of it is kept for deleting, and for the next start."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from signalbox.server.model.errors import DiskFull
from signalbox.server.model.events import Transaction
from signalbox.server.store import ballast
from signalbox.server.store.ballast import free_if_scarce
from signalbox.server.store.database import Database

MAX_RESERVE: Final = 64 * 1024 * 1024
"""Bytes that are left for deleting every key, at most: for all that one command may delete, where
they are short.
"""
COMMIT_PAGES_BYTES: Final = 40 * 1024
"""Bytes of pages that any commit changes beside what it brings, or nearly so."""
CHANGE_BYTES: Final = 200
_DELETE_ALL_BYTES: Final = """
SELECT ifnull(sum(400 + 16 * octet_length(key) + min(octet_length(value), 1000)), 0)
FROM (SELECT key, value FROM state LIMIT 170000)
"""
"""The bytes that deleting every key takes; of more keys it would be more than `MAX_RESERVE`.

Deletions are written to the log, to the lives of keys and to the indexes of both, and all pages
that they change to the write-ahead log first. As measured, and a third more.
"""


class DiskReserve:
    """What one store's disk has left; `blocking` runs what waits for the disk."""

    def __init__(
        self, database: Database, blocking: Callable[[Callable[[], None]], object]
    ) -> None:
        self._database, self._blocking = database, blocking
        self._is_full = False
        """Whether the last commit found no room."""
        self._deleting = MAX_RESERVE
        """What deleting every key takes, at most."""
        self._counted_at = -1
        """The revision at which that was counted."""
        if database.path and free_if_scarce(database.path) is not None:
            ballast.create(database.path)

    def make(self, transactions: Sequence[Transaction], revision: int) -> None:
        """Have room for these behind `revision`. Raises `DiskFull` where they would take the last.

        What deletes takes of that; its write-ahead log begins anew rather than grow.
        """
        path = self._database.path
        if path is None:
            return
        if only_deletes(transactions):
            if self._is_full or self._lacks(path, bytes_for_deleting(transactions)):
                ballast.remove(path)
                self._blocking(self._database.restart_wal)
        elif free_if_scarce(path) is None:
            self._deleting = MAX_RESERVE
        else:
            if self._lacks(path, bytes_for_writing(transactions) + self._kept()):
                self._blocking(lambda: self._look(path, bytes_for_writing(transactions), revision))
            else:
                ballast.create(path)
            self._deleting += bytes_for_deleting(transactions)

    def committed(self) -> None:
        """What was deleted where there was no room may be written to again."""
        if self._is_full:
            self._is_full = False
            self._blocking(self._database.truncate_wal)

    def failed(self) -> None:
        """Where nothing more could be written: what a commit took that has failed is given back."""
        self._is_full = True
        self._blocking(self._database.truncate_wal)

    def _look(self, path: Path, brought: int, revision: int) -> None:
        """See what is really kept, and whether the write-ahead log gives back what is wanted."""
        if self._counted_at != revision:
            self._deleting = int(self._database.writer.execute(_DELETE_ALL_BYTES).get)
            self._counted_at = revision
        needed = brought + self._kept()
        if self._lacks(path, needed) and not self._lacks(path, needed - self._database.wal_bytes()):
            self._database.truncate_wal()
        if self._lacks(path, needed):
            self._database.restart_wal()  # what it is to bring, others might take the room of
            raise DiskFull(
                "The store cannot be written: its disk is full but for "
                f"{free_if_scarce(path) or 0:,} bytes, and {self._kept():,} are "
                "kept for deleting. Nothing was changed."
            )

    def _kept(self) -> int:
        """Bytes that are to be left on the disk."""
        return ballast.BYTES + min(self._deleting, MAX_RESERVE)

    def _lacks(self, path: Path, needed: int) -> bool:
        """Whether less is free, on the disk and in the file; a file that is gone lacks nothing."""
        left = free_if_scarce(path)
        with suppress(OSError):
            return left is not None and left + self._database.free_bytes_in_file() < needed
        return False


def only_deletes(transactions: Sequence[Transaction]) -> bool:
    """Whether they bring no value, nor an outcome alone."""
    return bool(transactions) and all(
        raw is None for one in transactions for _, raw, _ in one.changes
    )


def bytes_for_deleting(transactions: Sequence[Transaction]) -> int:
    """About the most bytes that deleting the keys they change takes, see `_DELETE_ALL_BYTES`."""
    changes = (change for one in transactions for change in one.changes)
    return sum(400 + 16 * len(key) + min(len(raw or ""), 1000) for key, raw, _ in changes)


def bytes_for_writing(transactions: Sequence[Transaction]) -> int:
    """The bytes that these take at most, or nearly so: in the log and in the table of the state,
    and all of it in the write-ahead log first.
    """
    changes = (change for one in transactions for change in one.changes)
    content = sum(len(key) + len(raw or "") + CHANGE_BYTES for key, raw, _ in changes)
    return 4 * content + COMMIT_PAGES_BYTES
