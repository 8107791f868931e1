"""Room on the disk: the last of it is kept for deleting, and for the next start."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.events import Transaction

KEPT: Final = 256 * 1024
"""Bytes that are left for what makes room."""
PLENTY: Final = 256 * 1024 * 1024
"""With more than this nothing need be measured: no transaction takes as much."""
PAGES: Final = 40 * 1024
"""Bytes of pages that any commit changes beside what it brings, or nearly so."""
CHANGE: Final = 200


def free(path: Path) -> int | None:
    """The bytes that are left where `path` lies; None where that is plenty, or not known."""
    try:
        disk = shutil.disk_usage(path.parent)
    except OSError:
        return None
    return disk.free if disk.total and disk.free < PLENTY else None


def makes_room(transactions: Sequence[Transaction]) -> bool:
    """Whether they bring no value."""
    return all(raw is None for one in transactions for _, raw, _ in one.changes)


def wanted(transactions: Sequence[Transaction]) -> int:
    """The bytes that these take at most, or nearly so: in the log and in the table of the state,
    and all of it in the write-ahead log first.
    """
    changes = (change for one in transactions for change in one.changes)
    content = sum(len(key) + len(raw or "") + CHANGE for key, raw, _ in changes)
    return 4 * content + PAGES
