"""Make a store of the first schema, which knew no history, for the tests of its migration."""

from pathlib import Path
from time import time
from typing import Final

import apsw

VERSION: Final = 1
DAY_MS: Final = 86_400_000
STATE: Final = {"lamp.on": "true", "train.epoch": "7", "train.note": "grüß"}
"""What it holds, as the command line prints it; six revisions."""
SQL: Final = """
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
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX state_by_revision ON state (revision);
INSERT INTO meta VALUES ('store', '8f6519048806c717');
INSERT INTO changes VALUES
    (1, 'lamp.on', 'false'), (2, 'lamp.on', 'true'), (3, 'gone', '[1]'), (4, 'gone', NULL),
    (5, 'train.note', '"grüß"'), (6, 'train.epoch', '7');
INSERT INTO state VALUES
    ('lamp.on', 'true', 2), ('train.epoch', '7', 6), ('train.note', '"grüß"', 5);
INSERT INTO transactions VALUES
    (1, 1, 'c1', X'503D04E4ECC59CA6817E615BF09EFEB6', 'set', 'tester', 1, 1),
    (2, 1, 'c2', X'61ACEB17D6639043A3DE84737E19A200', 'set', 'tester', 2, 1),
    (3, 1, 'c3', X'7219C86DAAEC7A4AFF9DBC89E4300D2E', 'set', 'tester', 4, 1),
    (4, 1, 'c4', X'FE95C1C780A4A3C71397B5F392AE47C7', 'delete', 'tester', 6, 1),
    (5, 1, 'c5', X'9DCCC1D94A03E8DF80411B22D9A0E849', 'set', 'tester', 8, 1),
    (6, 1, 'c6', X'6A8B5A67A5AAF28E395289E98A1B1A12', 'add', 'tester', 10, 1);
INSERT INTO attempts VALUES
    (1, 'c7', X'7F51E03962E3F6571458F32A10C0DB0E', 'tester', 12, 'rename', 'rejected', 6,
    '{"answer": {"id": "c7", "status": "rejected", "code": "not_found",
        "message": "There is no key none to rename.", "key": "none", "http_status": 404},
    "record": {"key": "none", "id": "c7", "actor": "tester", "status": "rejected",
        "code": "not_found", "message": "There is no key none to rename.", "type": "rename",
        "at": 12}}');
"""


def make_store(path: Path) -> dict[str, str]:
    """Write it to a new file; what it holds."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.execute("BEGIN;" + SQL + "COMMIT")
    # Of yesterday: what is older than a year goes.
    connection.execute("UPDATE transactions SET at = at + ?", (int(time() * 1000) - DAY_MS,))
    connection.pragma("user_version", VERSION)
    connection.close()
    return STATE
