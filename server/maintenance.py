"""Care for a store: verify, rebuild, back up, rotate tokens."""

import os
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import apsw

from server import log
from server.app import STORE_FILE, own
from server.database import Database
from server.errors import StoreError
from server.events import VERSION
from server.http.guard import Tokens
from server.state import fold

MAX_PROBLEMS: Final = 20
STEP: Final = 1_000
"""Transactions folded at once while rebuilding."""

Progress = Callable[[int, int], None]
"""Called with how many transactions are done, and of how many."""


def verify(data_dir: Path) -> dict[str, Any]:
    """Whether the file is sound and a replay of the log gives the read model, byte for byte.

    Reads one snapshot, also beside a running server; memory does not grow with the store. Returns
    `{"ok", "store", "revision", "keys", "problems"}`. Raises `StoreError` where there is no store.
    """
    connection = _open(data_dir)
    try:
        connection.execute("BEGIN")
        problems = list(_first(_problems(connection)))
        revision = log.last_revision(connection)
        keys = connection.execute("SELECT count(*) FROM state").get
        store = connection.execute("SELECT value FROM meta WHERE name = 'store'").get
    finally:
        connection.close()
    return {
        "ok": not problems,
        "store": store,
        "revision": revision,
        "keys": keys,
        "problems": problems,
    }


def rebuild(data_dir: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Make the state anew from the event log, in one transaction. Returns as `verify` does.

    Raises `StoreInUse` beside a running server.
    """
    _path(data_dir)
    lock = own(data_dir)
    try:
        database = Database(data_dir / STORE_FILE)
        try:
            _replay(database.writer, progress)
        finally:
            database.close()
        return verify(data_dir)
    finally:
        lock.release()


def backup(data_dir: Path, target: Path) -> int:
    """Copy the store as it is at one moment to a new file; its size in bytes.

    Works beside a running server. Raises `StoreError` where the file exists or cannot be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; a backup never overwrites.")
    source = _open(data_dir)
    try:
        os.umask(0o077)
        copy = apsw.Connection(str(target))
        with copy.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(10_000)
        copy.close()
    except apsw.Error as error:
        target.unlink(missing_ok=True)
        raise StoreError(f"{target} cannot be written: {error}.") from error
    finally:
        source.close()
    return target.stat().st_size


def tokens(data_dir: Path) -> dict[str, str]:
    """The store's tokens: `{"read_token", "write_token"}`. Raises `StoreError`."""
    connection = _open(data_dir)
    try:
        found = dict(connection.execute("SELECT name, value FROM meta WHERE name GLOB 'token.*'"))
    finally:
        connection.close()
    return {f"{name}_token": found[f"token.{name}"] for name in ("read", "write")}


def rotate_tokens(data_dir: Path) -> None:
    """New tokens for the store; every script and window must log in anew. Raises `StoreInUse`."""
    lock = own(data_dir)
    try:
        database = Database(data_dir / STORE_FILE)
        Tokens.of(database, rotate=True)
        database.close()
    finally:
        lock.release()


def _problems(connection: apsw.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    yield from _log_problems(connection)
    replayed = connection.execute(_REPLAYED)
    for expected, found in zip_longest(replayed, connection.execute(_STATE)):
        if expected != found:
            yield f"Replaying the log gives {_shown(expected)}, the read model has {_shown(found)}."


def _log_problems(connection: apsw.Connection) -> Iterator[str]:
    count, first, last, newest = connection.execute(_SPAN).get
    if count != last or first != 1:
        yield f"The log has {count} transactions from revision {first} to {last}: some are missing."
    if newest > VERSION:
        yield f"The log has events of version {newest}; this Signalbox knows {VERSION}."
    for revision, expected, found in connection.execute(_MISCOUNTED):
        yield f"Transaction {revision} should have {expected} changes and has {found}."
    for (revision,) in connection.execute(_BACKWARDS):
        yield f"Transaction {revision} is older than the one before it."


def _replay(connection: apsw.Connection, progress: Progress | None) -> None:
    total, done = log.last_revision(connection), 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM state; DELETE FROM lives; DELETE FROM key_counts")
        while done < total:
            last = min(done + STEP, total)
            fold(connection, done, last)
            done = last
            if progress is not None:
                progress(done, total)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _open(data_dir: Path) -> apsw.Connection:
    path = _path(data_dir)
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5_000)
        connection.execute("SELECT value FROM meta LIMIT 1").fetchall()
    except apsw.Error as error:
        raise StoreError(f"{path} cannot be opened as a Signalbox store: {error}.") from error
    return connection


def _path(data_dir: Path) -> Path:
    path = data_dir / STORE_FILE
    if not path.exists():
        raise StoreError(f"There is no store in {data_dir}.")
    return path


def _first(problems: Iterator[str]) -> Iterator[str]:
    for count, problem in enumerate(problems, start=1):
        yield problem
        if count == MAX_PROBLEMS:
            yield "There may be more."
            return


def _shown(row: tuple[Any, ...] | None) -> str:
    return "nothing" if row is None else f"{row[0]} = {row[1][:60]} at revision {row[2]}"


_SPAN: Final = """
SELECT count(*), ifnull(min(revision), 1), ifnull(max(revision), 0), ifnull(max(version), 0)
FROM transactions
"""
_REPLAYED: Final = """
SELECT key, value, revision
FROM (SELECT key, value, max(revision) AS revision FROM changes GROUP BY key)
WHERE value IS NOT NULL ORDER BY key
"""
_STATE: Final = "SELECT key, value, revision FROM state ORDER BY key"
_MISCOUNTED: Final = """
SELECT t.revision, t.changes, count(c.key)
FROM transactions t LEFT JOIN changes c ON c.revision = t.revision
GROUP BY t.revision HAVING count(c.key) <> t.changes
"""
_BACKWARDS: Final = """
SELECT later.revision
FROM transactions later JOIN transactions earlier ON earlier.revision = later.revision - 1
WHERE later.at < earlier.at
"""
