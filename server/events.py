"""What happened: changes and transactions, the event log's content."""

from typing import Final, NamedTuple

from server.errors import UnknownVersion

VERSION: Final = 1
"""The version of the events that this program writes."""
REVERSING: Final = ("undo", "redo")
"""Types of the commands whose transactions reverse others."""


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
    """

    revision: int
    id: str
    actor: str
    at: int
    type: str
    fingerprint: bytes
    changes: list[Change]
    version: int = VERSION
    of: tuple[int, ...] = ()


def check_version(version: int, revision: int) -> None:
    """Raises `UnknownVersion` for an event that only a newer program understands."""
    if version > VERSION:
        raise UnknownVersion(
            f"Transaction {revision} has event version {version}; this Signalbox knows {VERSION}. "
            "Open the store with the newer Signalbox that wrote it."
        )
