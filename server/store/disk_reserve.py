"""The disk reserve: the last free space is kept for deletions, and for the next start."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Final

from signalbox.server.model.errors import DiskFull
from signalbox.server.model.events import Transaction
from signalbox.server.runtime.threads import off_hub
from signalbox.server.store import ballast
from signalbox.server.store.ballast import free_if_scarce
from signalbox.server.store.database import Database

MAX_RESERVE: Final = 64 * 1024 * 1024
"""Bytes that are reserved for deleting every key, at most: enough for the keys that one command may
delete, where they are short.
"""
_RAW: Final = attrgetter("raw")
COMMIT_PAGES_BYTES: Final = 40 * 1024
"""Bytes of the pages that any commit changes besides its content, about the most."""
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
    """The free space for one store; `blocking` runs what waits for the disk."""

    def __init__(
        self, database: Database, blocking: Callable[[Callable[[], None]], object]
    ) -> None:
        """The reserve on the disk of `database`; creates the ballast where that is filling up."""
        self._database, self._blocking = database, blocking
        self._is_full = False
        """Whether the last commit failed for lack of space."""
        self._delete_all_bytes = MAX_RESERVE
        """The bytes that deleting every key takes, at most."""
        self._measured_at = -1
        """The revision at which they were counted."""
        if database.path and free_if_scarce(database.path) is not None:
            ballast.create(database.path)

    def check_space(self, transactions: Sequence[Transaction], revision: int) -> None:
        """Check that there is space to append these after `revision`. Raises `DiskFull` where they
        would need the reserve.

        Deletions may use the reserve; for them the write-ahead log is restarted rather than grown.
        """
        path = self._database.path
        if path is None:
            return
        size = sum(len(transaction.changes) for transaction in transactions)
        is_scarce = free_if_scarce(path) is not None
        if only_deletes(transactions):
            if self._is_full or (
                is_scarce
                and self._lacks(path, off_hub(lambda: bytes_for_deleting(transactions), size))
            ):
                ballast.remove(path)
                self._blocking(self._database.restart_wal)
        elif not is_scarce:
            self._delete_all_bytes = MAX_RESERVE
        else:
            needed = off_hub(lambda: bytes_for_writing(transactions), size)
            if self._lacks(path, needed + self._reserved()):
                self._blocking(lambda: self._measure(path, needed, revision))
            else:
                ballast.create(path)
            self._delete_all_bytes += off_hub(lambda: bytes_for_deleting(transactions), size)

    def committed(self) -> None:
        """After a commit that succeeded on a full disk: free the space of the write-ahead log."""
        if self._is_full:
            self._is_full = False
            self._blocking(self._database.truncate_wal)

    def failed(self) -> None:
        """A commit has failed, as on a full disk: free the space that the commit took."""
        self._is_full = True
        self._blocking(self._database.truncate_wal)

    def _measure(self, path: Path, size: int, revision: int) -> None:
        """Measure the reserve exactly; free the write-ahead log's space where that is enough."""
        if self._measured_at != revision:
            self._delete_all_bytes = int(self._database.writer.execute(_DELETE_ALL_BYTES).get)
            self._measured_at = revision
        needed = size + self._reserved()
        if self._lacks(path, needed) and not self._lacks(path, needed - self._database.wal_bytes()):
            self._database.truncate_wal()
        if self._lacks(path, needed):
            self._database.restart_wal()  # while there still is space for a checkpoint
            raise DiskFull(
                "The store cannot be written: its disk is full but for "
                f"{free_if_scarce(path) or 0:,} bytes, and {self._reserved():,} are "
                "kept for deleting. Nothing was changed."
            )

    def _reserved(self) -> int:
        """Bytes that must stay free on the disk."""
        return ballast.BYTES + min(self._delete_all_bytes, MAX_RESERVE)

    def _lacks(self, path: Path, needed: int) -> bool:
        """Whether less is free, on the disk and in the file; never of a file that is gone."""
        free = free_if_scarce(path)
        with suppress(OSError):
            return free is not None and free + self._database.free_bytes_in_file() < needed
        return False


def only_deletes(transactions: Sequence[Transaction]) -> bool:
    """Whether the transactions only delete keys, and so may use the reserve of the disk."""
    return bool(transactions) and not any(
        any(map(_RAW, transaction.changes)) for transaction in transactions
    )


def bytes_for_deleting(transactions: Sequence[Transaction]) -> int:
    """About the most bytes that deleting the keys they change takes, see `_DELETE_ALL_BYTES`."""
    changes = (change for transaction in transactions for change in transaction.changes)
    return sum(400 + 16 * len(key) + min(len(raw or ""), 1000) for key, raw, _ in changes)


def bytes_for_writing(transactions: Sequence[Transaction]) -> int:
    """About the most bytes that these take: in the log, in the table of the state, and all of it in
    the write-ahead log first.
    """
    changes = (change for transaction in transactions for change in transaction.changes)
    content = sum(len(key) + len(raw or "") + CHANGE_BYTES for key, raw, _ in changes)
    return 4 * content + COMMIT_PAGES_BYTES
