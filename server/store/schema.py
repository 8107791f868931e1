"""The tables and indexes of a store, their version, and the migration of older ones."""

import secrets
from typing import Final

import apsw

from signalbox.server.model.errors import UnknownVersion
from signalbox.server.store import store_marker

SCHEMA_VERSION: Final = 3

_LOG_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE transactions (
    revision INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    command_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    type TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
CREATE INDEX transactions_by_actor ON transactions (actor, revision);
CREATE TABLE changes (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    is_new INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (revision, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX changes_by_key ON changes (key, revision);
CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    command_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    revision INTEGER NOT NULL,
    details TEXT NOT NULL
) STRICT;
"""
_STATE_TABLES: Final = """
CREATE TABLE reversals (
    revision INTEGER NOT NULL,
    target INTEGER NOT NULL,
    PRIMARY KEY (revision, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX reversals_by_target ON reversals (target, revision);
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    born INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lives (
    key TEXT NOT NULL,
    born INTEGER NOT NULL,
    died INTEGER NOT NULL,
    PRIMARY KEY (key, born)
) STRICT, WITHOUT ROWID;
CREATE INDEX lives_by_born ON lives (born);
CREATE INDEX lives_by_died ON lives (died);
CREATE TABLE key_counts (
    revision INTEGER PRIMARY KEY,
    buckets BLOB NOT NULL
) STRICT;
CREATE TABLE horizons (
    prefix TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    done_revision INTEGER NOT NULL,
    done_key TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO horizons VALUES ('', 0, 0, 0, '');
"""
"""Tables that are derived from the log, and those of undo and retention.

`state` and `lives` have the revisions at which each key was created (`born`) and deleted (`died`);
`born` comes before the value, which may fill many pages, and is 0 where retention has removed the
creation. `reversals` has which transactions an undo or redo has reversed; `key_counts` how many
keys lay where at some revisions; `horizons` the oldest complete revision of each prefix, and how
far the older changes have been thinned out.
"""

STATE_INDEXES: Final = {
    "state_by_revision": "CREATE INDEX state_by_revision ON state (revision)",
    "state_by_born": "CREATE INDEX state_by_born ON state (born)",
}
"""Apart, since a rebuild creates them at its end."""

_INDEXES: Final = ";".join(STATE_INDEXES.values())

_MIGRATE_TO_2: Final = """
ALTER TABLE changes ADD COLUMN is_new INTEGER NOT NULL DEFAULT 0;
UPDATE changes SET is_new = 1 WHERE value IS NOT NULL AND (
    SELECT p.value FROM changes p WHERE p.key = changes.key AND p.revision < changes.revision
    ORDER BY p.revision DESC LIMIT 1
) IS NULL;
ALTER TABLE state RENAME TO state_1;
DROP INDEX state_by_revision;
"""
_FILL_STATE_2: Final = """
INSERT INTO state SELECT key, revision, (
    SELECT max(c.revision) FROM changes c WHERE c.key = s.key AND c.is_new
), value FROM state_1 s;
DROP TABLE state_1;
INSERT INTO lives SELECT key, (
    SELECT max(b.revision) FROM changes b
    WHERE b.key = c.key AND b.revision < c.revision AND b.is_new
), revision FROM changes c WHERE c.value IS NULL;
"""

CHECKSUMMED: Final = {
    "meta": ("name", "value"),
    "horizons": ("prefix", "revision", "at", "done_revision", "done_key"),
    "attempts": (
        *("n", "command_id", "fingerprint", "actor", "at", "type", "status", "revision"),
        "details",
    ),
    "key_counts": ("revision", "buckets"),
}
"""The columns that a row's checksum covers, in the tables that no replay can verify."""
COUNTED_WITHOUT_CHECKSUM: Final = "unsealed"
"""The name in `meta` of the revision up to which counts of keys may lack a checksum."""


def checksum_sql(table: str, where: str = "") -> str:
    """SQL that sets the checksum of the rows `where`, for a connection with our SQL functions."""
    values = ", ".join(CHECKSUMMED[table])
    return f"UPDATE {table} SET checksum = row_checksum({values}) {where};"  # noqa: S608 - ours


_MIGRATE_TO_3: Final = """
ALTER TABLE transactions ADD COLUMN checksum INTEGER;
ALTER TABLE changes ADD COLUMN checksum INTEGER;
ALTER TABLE attempts ADD COLUMN checksum INTEGER;
ALTER TABLE key_counts ADD COLUMN checksum INTEGER;
ALTER TABLE horizons ADD COLUMN checksum INTEGER;
ALTER TABLE meta ADD COLUMN checksum INTEGER;
INSERT INTO meta SELECT 'unsealed', ifnull(max(revision), 0), NULL FROM transactions;
"""
"""Fast also with a long log: its old rows stay without checksums, as their event version 1 shows. A
transaction's checksum covers all but its changes, which have their own: so retention can remove
some of them and the others can still be verified."""

_MIGRATIONS: Final = {
    0: ((_LOG_TABLES, _STATE_TABLES, _INDEXES), 2),
    1: ((_MIGRATE_TO_2, _STATE_TABLES, _FILL_STATE_2, _INDEXES), 2),
    2: ((_MIGRATE_TO_3, *map(checksum_sql, ("attempts", "horizons", "meta"))), 3),
}
"""From a schema version to the SQL of each step and the version that they lead to."""


def newer_schema(version: int) -> UnknownVersion:
    """The error about a store whose tables a newer Signalbox has migrated."""
    return UnknownVersion(
        f"The store has schema version {version}; this Signalbox knows {SCHEMA_VERSION}. "
        "Open it with the newer Signalbox that wrote it."
    )


def migrate(connection: apsw.Connection) -> None:
    """Create the schema, or migrate an older one. Raises `UnknownVersion`."""
    version = int(connection.pragma("user_version"))
    if version > SCHEMA_VERSION:
        raise newer_schema(version)
    if version == SCHEMA_VERSION:
        return  # there may be no room to write anything
    if version == 0:
        _set_application_id(connection)
    with connection:
        while version < SCHEMA_VERSION:
            steps, version = _MIGRATIONS[version]
            for step in steps:
                connection.execute(step)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute(
            "INSERT OR IGNORE INTO meta VALUES ('store', ?1, row_checksum('store', ?1))",
            (secrets.token_hex(8),),
        )
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def _set_application_id(connection: apsw.Connection) -> None:
    """Mark a file that has no schema yet as a store, by SQLite's application id, before anything is
    in its write-ahead log alone.

    Where the rest of the migration fails, as on a full disk, the log stays: without it the store
    would seem lost.
    """
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.pragma("application_id", store_marker.APPLICATION_ID)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
