"""SQL that answers what deciding an undo, redo or restore asks of the event log."""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model.history_decision import ChangesSince
from signalbox.server.model.horizons import LAST_REVISION, Horizons
from signalbox.server.model.keys import (
    MADE_BY_PEOPLE,
    RESERVED,
    RESERVED_END,
    Pattern,
    after_prefix,
)
from signalbox.server.model.reversal import ChangedKey, LatestChange, TransactionHead
from signalbox.server.read import log_sql
from signalbox.server.store import log_table, state_table
from signalbox.server.store.horizons_table import read_horizons


class SqlReversalLog:
    """See `reversal.ReversalLog`. Reads one snapshot, in a native thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        """The log as of the snapshot of `connection`."""
        self._connection = connection
        self.revision = log_table.last_revision(connection)

    def horizons(self) -> Horizons:
        """The retention horizons: an undo cannot go behind them."""
        return read_horizons(self._connection)

    def transactions_of_actor(self, actor: str) -> Iterator[TransactionHead]:
        """The actor's transactions, the newest first."""
        for row in self._connection.execute(_OF_ACTOR, (actor,)):
            yield self._transaction_head(row)

    def transactions_of_command(self, identity: str) -> list[TransactionHead]:
        """The transactions of a command id; of an import's, those of its batches."""
        transactions = [
            self._transaction_head(row)
            for row in self._connection.execute(_OF_COMMAND, (identity,))
        ]
        if transactions:
            return transactions
        batch = re.compile(re.escape(identity) + "-[0-9]+")
        rows = self._connection.execute(_BATCHES, (identity + "-", identity + "."))
        return [self._transaction_head(row) for row in rows if batch.fullmatch(row[1])]

    def transaction(self, revision: int) -> TransactionHead:
        """The transaction with this revision, without its changes."""
        row: Any = self._connection.execute(_TRANSACTION, (revision,)).get
        return self._transaction_head(row)

    def reversed_directly_or_not(self, revision: int) -> Iterator[TransactionHead]:
        """The transactions that an undo or redo reverses, and all that these have reversed."""
        for row in self._connection.execute(_ALL_REVERSED, (revision,)).fetchall():
            yield self._transaction_head(row)

    def reversed_by(self, revision: int) -> int | None:
        """The undo or redo that has reversed this revision last; None where none has."""
        reversing: int | None = self._connection.execute(_REVERSED_BY, (revision,)).get
        return reversing

    def changes_visible_keys(self, revision: int) -> bool:
        """Whether a reversal of this revision would show: it has changed keys of people, or what
        people make of the app's own keys.
        """
        return self._connection.execute(_VISIBLE, (revision,)).get is not None

    def changed_keys(self, revision: int) -> list[str]:
        """The keys that this revision has changed."""
        return [key for (key,) in self._connection.execute(_KEYS, (revision,))]

    def changed_by(self, revisions: Collection[int]) -> Iterator[ChangedKey]:
        """What the transactions together have changed, by key."""
        as_json = msgspec.json.encode(sorted(revisions)).decode()
        for row in self._connection.execute(_EFFECTS, (as_json,)):
            yield ChangedKey(*row)

    def revisions_changing(self, revisions: Collection[int], key: str) -> list[int]:
        """Those of `revisions` that have changed the key."""
        return [
            revision
            for revision in sorted(revisions)
            if self._connection.execute(_CHANGES_KEY, (revision, key)).get
        ]

    def previous_change(self, key: str, revision: int) -> int:
        """The key's last change before this revision; 0 where it has none."""
        return int(self._connection.execute(_PREVIOUS_CHANGE, (key, revision)).get or 0)

    def differing_since(
        self, pattern: Pattern, revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """The differing keys, in slices, each on a newer snapshot: a held one lets the log grow."""
        changed = log_sql.ChangedKeys(revision, self.revision, pattern)
        while keys := changed.take(self._connection):
            yield from self.differing(keys, revision)
            self._connection.execute("COMMIT; BEGIN")

    def differing(
        self, keys: Collection[str], revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """Those of `keys` that have another value now than at the revision, see `ReversalLog`."""
        bound = {"keys": msgspec.json.encode(list(keys)).decode(), "at": revision}
        rows: Any = self._connection.execute(_DIFFERING, bound)
        yield from rows

    def existing(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that exist in the snapshot."""
        return state_table.existing(self._connection, sorted(keys))

    def current_values(self, keys: Collection[str]) -> Iterator[tuple[str, str]]:
        """Those of `keys` that exist in the snapshot, with their values there."""
        asked = msgspec.json.encode(list(keys)).decode()
        rows: Any = self._connection.execute(_CURRENT_VALUES, (asked,))
        yield from rows

    def changes_since(self, revision: int, limit: int) -> ChangesSince | None:
        """What has been changed after `revision`; None for more than `limit` changes."""
        keys: list[Any] = self._connection.execute(_KEYS_SINCE, (revision, limit + 1)).fetchall()
        if len(keys) > limit:
            return None
        rows = self._connection.execute(_COLUMNS + "WHERE revision > ?", (revision,)).fetchall()
        found = [self._transaction_head(row) for row in rows]
        return ChangesSince(found, {key for (key,) in keys})

    def latest_changes(self, keys: Collection[str]) -> Iterator[LatestChange]:
        """The last change of each key, which may block a reversal."""
        as_json = msgspec.json.encode(list(keys)).decode()
        for row in self._connection.execute(_LATEST_OF, (as_json,)):
            yield LatestChange(*row)

    def _transaction_head(self, row: tuple[Any, ...]) -> TransactionHead:
        """A transaction of the log, with the revisions that it has reversed itself."""
        revision, identity, actor, kind, changes = row
        of = log_table.reversed_revisions(self._connection, revision)
        return TransactionHead(revision, identity, actor, kind, changes, of)


_COLUMNS: Final = "SELECT revision, command_id, actor, type, changes FROM transactions "
_OF_ACTOR: Final = _COLUMNS + "WHERE actor = ? ORDER BY revision DESC"
_OF_COMMAND: Final = _COLUMNS + "WHERE command_id = ?"
_BATCHES: Final = (
    _COLUMNS + "WHERE command_id >= ? AND command_id < ? AND type = 'import' ORDER BY revision"
)
_TRANSACTION: Final = _COLUMNS + "WHERE revision = ?"
_REACHED: Final = """
WITH RECURSIVE reached (target) AS (
    SELECT target FROM reversals WHERE revision = ?
    UNION SELECT r.target FROM reached JOIN reversals r ON r.revision = reached.target
)
"""
_ALL_REVERSED: Final = _REACHED + _COLUMNS + "JOIN reached ON reached.target = revision"
_REVERSED_BY: Final = "SELECT max(revision) FROM reversals WHERE target = ?"
_VISIBLE: Final = """
SELECT 1 FROM changes
WHERE revision = ? AND (NOT (key >= '{}' AND key < '{}') OR {}) LIMIT 1
""".format(
    RESERVED,
    RESERVED_END,
    " OR ".join(f"(key >= '{low}' AND key < '{after_prefix(low)}')" for low in MADE_BY_PEOPLE),
)
_WAS_THERE: Final = """(
    SELECT p.value IS NOT NULL FROM changes p WHERE p.key = {0}.key AND p.revision < {0}.revision
    ORDER BY p.revision DESC LIMIT 1
)"""
"""A log may contain the deletion of an absent key, which did nothing."""
_LATEST: Final = """
SELECT l.revision FROM changes l
WHERE l.key = {key} AND l.revision < {below} AND (l.value IS NOT NULL OR {was_there})
ORDER BY l.revision DESC LIMIT 1
"""
_EFFECTS_OF: Final = """
SELECT e.key, e.first, ({latest}),
    (SELECT b.value FROM changes b WHERE b.key = e.key AND b.revision < e.first
     ORDER BY b.revision DESC LIMIT 1)
FROM (
    SELECT c.key, min(c.revision) AS first
    FROM json_each(?) asked CROSS JOIN changes c ON c.revision = asked.value
    WHERE c.value IS NOT NULL OR {was_there}
    GROUP BY c.key
) e
"""
_EFFECTS: Final = _EFFECTS_OF.format(
    latest=_LATEST.format(key="e.key", below=LAST_REVISION, was_there=_WAS_THERE.format("l")),
    was_there=_WAS_THERE.format("c"),
)
_KEYS: Final = "SELECT key FROM changes WHERE revision = ?"
_CHANGES_KEY: Final = "SELECT 1 FROM changes WHERE revision = ? AND key = ?"
_PREVIOUS_CHANGE: Final = _LATEST.format(key="?", below="?", was_there=_WAS_THERE.format("l"))
_LATEST_OF: Final = """
SELECT asked.value, t.revision, t.actor, t.at, s.value
FROM json_each(?) asked CROSS JOIN transactions t ON t.revision = ({latest})
LEFT JOIN state s ON s.key = asked.value
""".format(
    latest=_LATEST.format(key="asked.value", below=LAST_REVISION, was_there=_WAS_THERE.format("l"))
)
_KEYS_SINCE: Final = "SELECT key FROM changes WHERE revision > ? LIMIT ?"
_DIFFERING: Final = """
SELECT asked.value, iif(v.value IS NOT NULL, s.value, iif(s.key IS NOT NULL, '', NULL)), v.value
FROM json_each(:keys) asked
LEFT JOIN state s ON s.key = asked.value
LEFT JOIN changes v ON v.key = asked.value AND v.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :at
)
WHERE iif(
    s.key IS NULL OR v.value IS NULL, (s.key IS NULL) <> (v.value IS NULL), s.value <> v.value
)
"""
_CURRENT_VALUES: Final = """
SELECT s.key, s.value FROM json_each(?) asked CROSS JOIN state s ON s.key = asked.value
"""
