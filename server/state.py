"""The table of the state: what the writer looks up, and what the log makes of it."""

from collections.abc import Iterator, Sequence
from typing import Final

import apsw
import msgspec

from server.decide import Entry
from server.keys import after_prefix


def entry(connection: apsw.Connection, key: str) -> Entry | None:
    """The value and revision of a key."""
    for raw, revision in connection.execute(_ENTRY, (key,)):
        return Entry(raw, revision)
    return None


def entries_of(connection: apsw.Connection, keys: Sequence[str]) -> dict[str, Entry]:
    """Those of many keys that exist; fastest where they come in order."""
    rows = connection.execute(_ENTRIES, (msgspec.json.encode(keys).decode(),))
    return {key: Entry(raw, revision) for key, raw, revision in rows}


def entries(connection: apsw.Connection, prefix: str) -> Iterator[tuple[str, Entry]]:
    """Every key that begins with `prefix`, in key order."""
    for key, raw, revision in connection.execute(_BELOW, (prefix, after_prefix(prefix))):
        yield key, Entry(raw, revision)


def fold(connection: apsw.Connection, after: int, last: int) -> None:
    """Write what the transactions above `after`, up to `last`, make of the table `state`.

    Reads them from the log's tables, within the open transaction.
    """
    for statement in (_UPSERT, _DELETE):
        connection.execute(statement, (after, last))


_ENTRY: Final = "SELECT value, revision FROM state WHERE key = ?"
_BELOW: Final = "SELECT key, value, revision FROM state WHERE key >= ? AND key < ?"
_ENTRIES: Final = """
SELECT s.key, s.value, s.revision FROM json_each(?) asked CROSS JOIN state s ON s.key = asked.value
"""
_UPSERT: Final = """
INSERT INTO state SELECT key, value, revision FROM changes
WHERE revision > ? AND revision <= ? AND value IS NOT NULL ORDER BY revision
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
"""
_DELETE: Final = """
DELETE FROM state WHERE key IN (
    SELECT gone.key FROM changes gone JOIN state s ON s.key = gone.key
    WHERE gone.value IS NULL AND gone.revision > ? AND gone.revision <= ?
        AND gone.revision > s.revision
)
"""
"""Behind the upserts: what came again after its deletion has the higher revision already."""
