"""The table of the state: look up and count keys, and fold transactions into it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model.events import Entry
from signalbox.server.model.keys import AFTER_ALL_KEYS, after_prefix
from signalbox.server.store.key_index import CountRange


def entry(connection: apsw.Connection, key: str) -> Entry | None:
    """The value and revision of a key in the table of the state."""
    for raw, revision in connection.execute(_ENTRY, (key,)):
        return Entry(raw, revision)
    return None


def entries_of(connection: apsw.Connection, keys: Sequence[str]) -> dict[str, Entry]:
    """The entries of those keys that exist; fastest where the keys are sorted."""
    rows = connection.execute(_ENTRIES, _keys_and_range(keys))
    return {key: Entry(raw, revision) for key, raw, revision in rows}


def existing(connection: apsw.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that the table of the state has."""
    return {key for (key,) in connection.execute(_EXISTING, _keys_and_range(keys))}


def keys(connection: apsw.Connection, low: str = "", high: str = AFTER_ALL_KEYS) -> Iterator[str]:
    """The keys of the table of the state in [low, high), in order."""
    for (key,) in connection.execute(_KEYS, (low, high)):
        yield key


def key_counter(connection: apsw.Connection) -> CountRange:
    """A function that counts the keys in [low, high) by looking at them."""

    def count(low: str, high: str) -> int:
        return int(connection.execute(_COUNT, (low, high)).get)

    return count


def _keys_and_range(keys: Sequence[str]) -> tuple[str, str, str]:
    """The parameters of a look-up of many keys: all of them as JSON, the first and the last."""
    return msgspec.json.encode(keys).decode(), min(keys, default=""), max(keys, default="")


def entries(connection: apsw.Connection, prefix: str) -> Iterator[tuple[str, Entry]]:
    """Every key of the state that begins with `prefix`, in key order."""
    for key, raw, revision in connection.execute(_ENTRIES_BELOW, (prefix, after_prefix(prefix))):
        yield key, Entry(raw, revision)


def fold(connection: apsw.Connection, after: int, last: int, has_deletions: bool = True) -> None:
    """Apply the transactions above `after`, up to `last`, to the tables `state` and `lives`.

    Reads them from the log's tables, within the open transaction.
    """
    if has_deletions:
        revisions: list[Any] = connection.execute(_WITH_DELETIONS, (after, last)).fetchall()
        for (revision,) in revisions:
            connection.execute(_UPSERT_KEYS, (after, revision))
            deleted = connection.execute(_DELETE_KEYS, (revision,)).fetchall()
            connection.executemany(
                _END_LIVES, [(*key_and_born, revision) for key_and_born in deleted]
            )
            after = revision
    connection.execute(_UPSERT_KEYS, (after, last))


_KEYS: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key"
_COUNT: Final = "SELECT count(*) FROM state WHERE key >= ? AND key < ?"
_ENTRY: Final = "SELECT value, revision FROM state WHERE key = ?"
_ENTRIES_BELOW: Final = "SELECT key, value, revision FROM state WHERE key >= ? AND key < ?"
_FROM_GIVEN_KEYS: Final = """
FROM json_each(?1) asked CROSS JOIN state s ON s.key = asked.value
WHERE (SELECT 1 FROM state WHERE key BETWEEN ?2 AND ?3 LIMIT 1)
"""
"""A lookup also reads neighbouring values, which may be large. The first condition saves that where
the range has no keys, as with many new ones."""
_ENTRIES: Final = "SELECT s.key, s.value, s.revision" + _FROM_GIVEN_KEYS
_EXISTING: Final = "SELECT s.key" + _FROM_GIVEN_KEYS
_WITH_DELETIONS: Final = """
SELECT DISTINCT revision FROM changes
WHERE revision > ? AND revision <= ? AND value IS NULL ORDER BY revision
"""
_UPSERT_KEYS: Final = """
INSERT INTO state (key, revision, born, value)
SELECT key, revision, iif(is_new, revision, 0), value FROM changes
WHERE revision > ? AND revision <= ? AND value IS NOT NULL ORDER BY revision
ON CONFLICT (key) DO UPDATE SET
    revision = excluded.revision, born = max(born, excluded.born), value = excluded.value
"""
"""Where retention has thinned out the log, a key's creation may be missing: then it is born at 0,
and no query reaches that time."""
_DELETE_KEYS: Final = """
DELETE FROM state WHERE key IN (SELECT key FROM changes WHERE revision = ? AND value IS NULL)
RETURNING key, born
"""
"""Each row is looked up once, as its neighbours' values are read with it. A log may also delete an
absent key, which ends no life."""
_END_LIVES: Final = "INSERT INTO lives (key, born, died) VALUES (?, ?, ?)"
