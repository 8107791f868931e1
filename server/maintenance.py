"""Maintenance of a store: verify, rebuild, back up, rotate tokens."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import apsw

from signalbox.server.model.errors import DamagedStore, StoreError
from signalbox.server.runtime.error_messages import DAMAGED, damaged_store, reason
from signalbox.server.store import (
    ballast,
    checks_before_opening,
    key_counts,
    log_table,
)
from signalbox.server.store.data_dir import lock_data_dir
from signalbox.server.store.database import Database
from signalbox.server.store.file_names import STORE_FILE
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.store.integrity import (
    checksum_problems,
    count_without_checksum,
    schema_problems,
    until_unreadable,
)
from signalbox.server.store.key_index import KeyIndex
from signalbox.server.store.read_only import cannot_create_files, is_read_only, temporary_copy
from signalbox.server.store.schema import SCHEMA_VERSION, STATE_INDEXES, newer_schema
from signalbox.server.store.state_table import fold
from signalbox.server.store.tokens import Tokens

RESTORE_ADVICE: Final = (
    "Replace the store by a backup, and remove its -wal and -shm files; without one, save with "
    "`signalbox export` what can still be read, or with `sqlite3 FILE .recover` what SQLite still "
    "finds in it."
)
_UNREADABLE: Final = (
    "The file {} cannot be opened: its header, the number of its schema or its first tables are "
    "damaged, or it is no SQLite database."
)
REBUILD_ADVICE: Final = (
    "The event log is sound: `signalbox rebuild` makes everything else anew from it."
)

MAX_PROBLEMS: Final = 20
CHANGES_PER_STEP: Final = 5_000
"""Changes that a rebuild folds into the state at once."""
REBUILD_CACHE_KIB: Final = 100_000
"""Large, since consecutive changes have distant keys."""

Progress = Callable[[int, int], None]
"""Called with how many transactions or pages are done, and of how many."""


def verify(data_dir: Path) -> dict[str, Any]:
    """Verify that the file is as it was written, and that a replay of the log gives the state.

    Reads one snapshot, also beside a running server; memory does not grow with the store. Returns
    `{"ok", "store", "revision", "keys", "problems", "advice", "notes"}`: `advice` is what to do
    about the problems, `notes` are findings that are no problems. Raises `StoreError` where there
    is no store or where it cannot be read.
    """
    names = ("ok", "store", "revision", "keys", "problems", "advice", "notes")
    report: dict[str, Any] = dict.fromkeys(names)
    try:
        with (
            _reading(data_dir) as connection_as_is,
            _with_current_schema(connection_as_is) as connection,
        ):
            lost = checks_before_opening.count_lost_commits(connection_as_is)
            connection.execute("BEGIN")
            report |= _checked(connection, lost)
    except DamagedStore:
        report |= {
            "problems": [_UNREADABLE.format(_path(data_dir))],
            "advice": RESTORE_ADVICE,
            "notes": [],
        }
    return report | {"ok": not report["problems"]}


def rebuild(data_dir: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Rebuild the state from the event log, in one transaction. Returns as `verify` does.

    Raises `StoreInUse` beside a running server, `StoreError` where the log cannot be read.
    """
    path = _path(data_dir)
    lock = lock_data_dir(data_dir)
    try:
        with closing(Database(path)) as database:
            _replay(database.writer, progress)
    except DAMAGED as error:
        raise damaged_store(path, ", and nothing was changed") from error
    except apsw.Error as error:
        raise StoreError(
            f"The store {path} cannot be rebuilt: {reason(error)}. Nothing was changed."
        ) from error
    finally:
        lock.release()
    return verify(data_dir)


def backup(data_dir: Path, target: Path, progress: Progress | None = None) -> int:
    """Copy a snapshot of the store to a new file, also beside a running server; its size in bytes.

    `progress` is called with the pages of the file that are copied. Raises `StoreError` where the
    file exists or cannot be written; nothing is left of it then.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; a backup never overwrites.")
    try:
        str(target).encode()
    except UnicodeEncodeError:
        raise StoreError(f"{str(target)!r} is not UTF-8; SQLite writes to no other path.") from None
    with _reading(data_dir) as source:
        os.umask(0o077)
        try:
            target.touch()  # the system gives the reason of a failure, SQLite does not
            _copy(source, target, progress)
            return target.stat().st_size
        except (apsw.Error, OSError) as error:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            raise StoreError(f"The backup {target} cannot be written: {reason(error)}.") from error


def _copy(source: apsw.Connection, target: Path, progress: Progress | None = None) -> None:
    """Copy the store's database to a new file with SQLite's backup API."""
    with (
        closing(apsw.Connection(str(target))) as copy,
        copy.backup("main", source, "main") as steps,
    ):
        while not steps.done:
            steps.step(10_000)
            if progress is not None:
                progress(steps.page_count - steps.remaining, steps.page_count)


def tokens(data_dir: Path) -> dict[str, str]:
    """The store's tokens: `{"read_token", "write_token"}`. Raises `StoreError`."""
    with _reading(data_dir) as connection:
        rows = dict(connection.execute("SELECT name, value FROM meta WHERE name GLOB 'token.*'"))
    return {f"{name}_token": rows[f"token.{name}"] for name in ("read", "write")}


def rotate_tokens(data_dir: Path) -> None:
    """New tokens for the store; every script and window must log in anew. Raises `StoreInUse`."""
    path = _path(data_dir)
    lock = lock_data_dir(data_dir)
    try:
        with closing(Database(path)) as database:
            Tokens.of(database, rotate=True)
    finally:
        lock.release()


def _checked(connection: apsw.Connection, lost: int) -> dict[str, Any]:
    """The result of a check of the store; `lost` counts the commits after damage in its log."""
    report: dict[str, Any]
    damage = list(_at_most(_damage(connection)))
    if lost:
        damage.append(
            f"The write-ahead log is damaged; {lost} commits after the damage are not read."
        )
    if damage:
        report = {"problems": damage, "advice": RESTORE_ADVICE, "notes": []}
    else:
        wrong = list(_at_most(_read_model_problems(connection)))
        advice = REBUILD_ADVICE if wrong else None
        report = {"problems": wrong, "advice": advice, "notes": list(_notes(connection))}
    with suppress(*DAMAGED):
        report |= _summary(connection)
    return report


def _summary(connection: apsw.Connection) -> dict[str, Any]:
    """The store's revision, number of keys and id, for the report of a verification."""
    return {
        "revision": log_table.last_revision(connection),
        "keys": connection.execute("SELECT count(*) FROM state").get,
        "store": connection.execute("SELECT value FROM meta WHERE name = 'store'").get,
    }


def _notes(connection: apsw.Connection) -> Iterator[str]:
    """Findings that are no problems."""
    if older := count_without_checksum(connection):
        yield (
            f"{older} transactions were written by an older Signalbox, without checksums: whether "
            "their values are still those that were written cannot be told."
        )
    if ignored := connection.execute(_IGNORED, {"oldest": _oldest_complete(connection)}).get:
        yield f"{ignored} deletions in the log are of keys that were not there; they do nothing."


def _damage(connection: apsw.Connection) -> Iterator[str]:
    """Damage that only a backup repairs: of nothing that could be derived again."""
    definitions = list(until_unreadable("The table sqlite_schema", schema_problems(connection)))
    yield from definitions
    if definitions:
        return  # other checks rely on the schema
    yield from checksum_problems(connection)
    yield from until_unreadable("The event log", _log_problems(connection))
    yield from until_unreadable("The file", _structure_problems(connection))


def _structure_problems(connection: apsw.Connection) -> Iterator[str]:
    """Damage of the file's structure, as SQLite's own check finds it."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"The structure of the file is damaged (SQLite's own check: {line})."


def _read_model_problems(connection: apsw.Connection) -> Iterator[str]:
    """Where the tables of the state differ from a replay of the log."""
    yield from until_unreadable("The tables of the state", _differences(connection))


def _differences(connection: apsw.Connection) -> Iterator[str]:
    """How the tables of the state differ from what a replay of the log gives."""
    for (key,) in connection.execute(_BASELESS):
        yield f"{key} should begin with what retention has left of it, and does not."
    for replayed, stored in ((_REPLAYED, _STATE), (_LIVED, _LIVES)):
        rows = zip_longest(connection.execute(replayed), connection.execute(stored))
        for expected, actual in rows:
            if expected != actual:
                yield (
                    f"Replaying the log gives {_row_text(expected)}, "
                    f"the read model has {_row_text(actual)}."
                )


def _log_problems(connection: apsw.Connection) -> Iterator[str]:
    """Gaps and contradictions in the log; up to its horizon retention may have removed parts."""
    oldest = _oldest_complete(connection)
    for row in connection.execute(_UNSOUND, {"oldest": oldest}):
        revision, before, expected, changes, is_older = row
        if revision != before + 1 and revision > oldest + 1:
            yield f"The log has nothing between revision {before} and {revision}."
        if (
            changes > expected
            or (changes < expected and revision > oldest)
            or (expected and not changes)
        ):
            yield f"Transaction {revision} should have {expected} changes and has {changes}."
        if is_older:
            yield f"Transaction {revision} is older than the one before it."


def _oldest_complete(connection: apsw.Connection) -> int:
    """The revision after which the log is complete for all keys; before, no replay verifies."""
    return max(horizon.revision for horizon in read_horizons(connection))


def _replay(connection: apsw.Connection, progress: Progress | None) -> None:
    """Delete the state and fold the whole log into it again, step by step."""
    total, done = log_table.last_revision(connection), 0
    keys = KeyIndex(())
    connection.pragma("cache_size", -REBUILD_CACHE_KIB)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM state; DELETE FROM lives; DELETE FROM key_counts")
        for name in STATE_INDEXES:
            connection.execute(f"DROP INDEX {name}")
        while done < total:
            last = connection.execute(_STEP_END, (done, CHANGES_PER_STEP)).get or total
            fold(connection, done, int(last))
            key_counts.extend_counts(connection, keys, done, int(last))
            done = int(last)
            if progress is not None:
                progress(done, total)
        for index in STATE_INDEXES.values():
            connection.execute(index)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _reading(data_dir: Path) -> Iterator[apsw.Connection]:
    """A read-only connection. Raises `StoreError`, also for errors of reading in the block."""
    path = _path(data_dir)
    try:
        with ExitStack() as stack:
            is_copied = is_read_only(path) or cannot_create_files(path)
            file = stack.enter_context(temporary_copy(path)) if is_copied else path
            ballast.remove_if_full_for_reading(file)
            connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
            stack.callback(connection.close)
            connection.set_busy_timeout(5_000)
            # So that a damaged definition of one table does not prevent reading the others.
            connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
            checks_before_opening.check_is_store(path, connection)
            checks_before_opening.check_wal_belongs_to(path, connection)
            connection.execute("SELECT value FROM meta LIMIT 1").fetchall()
            yield connection
    except DAMAGED as error:
        raise damaged_store(path) from error
    except apsw.Error as error:
        raise StoreError(f"The store {path} cannot be read: {reason(error)}.") from error


@contextmanager
def _with_current_schema(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """The store's file, or a copy migrated to the current schema. Raises `UnknownVersion`."""
    version = int(connection.pragma("user_version"))
    if version > SCHEMA_VERSION:
        raise newer_schema(version)
    if version == SCHEMA_VERSION:
        yield connection
        return
    with TemporaryDirectory(prefix="signalbox-") as folder:
        path = Path(folder) / STORE_FILE
        _copy(connection, path)
        with closing(Database(path)) as database:
            yield database.writer


def _path(data_dir: Path) -> Path:
    """The store's file in a data directory. Raises `StoreError` where there is none."""
    path = checks_before_opening.resolve_link(data_dir / STORE_FILE)
    checks_before_opening.check_exists(path)
    return path


def _at_most(problems: Iterator[str]) -> Iterator[str]:
    """The first `MAX_PROBLEMS` problems that a verification finds."""
    for count, problem in enumerate(problems, start=1):
        yield problem
        if count == MAX_PROBLEMS:
            yield "There may be more."
            return


def _row_text(row: tuple[Any, ...] | None) -> str:
    """A row of the state in a message about a difference, shortened."""
    return "nothing" if row is None else " ".join(str(part)[:60] for part in row)


_STEP_END: Final = """
SELECT revision FROM changes WHERE revision > ? ORDER BY revision, key LIMIT 1 OFFSET ?
"""
_REPLAYED: Final = """
SELECT c.key, c.value, 'at revision', c.revision
FROM (SELECT key, max(revision) AS revision FROM changes GROUP BY key) newest
CROSS JOIN changes c ON c.revision = newest.revision AND c.key = newest.key
WHERE c.value IS NOT NULL ORDER BY newest.key
"""
_STATE: Final = "SELECT key, value, 'at revision', revision FROM state ORDER BY key"
_LIVED: Final = """
SELECT key, 'from revision', revision, 'to', ended FROM (
    SELECT key, revision, value, lead(revision) OVER (PARTITION BY key ORDER BY revision) AS ended
    FROM changes WHERE is_new OR value IS NULL
) WHERE value IS NOT NULL ORDER BY key, revision
"""
_LIVES: Final = """
SELECT key, 'from revision', born, 'to', died FROM lives WHERE born
UNION ALL SELECT key, 'from revision', born, 'to', NULL FROM state WHERE born
ORDER BY key, born
"""
_IGNORED: Final = """
SELECT count(*) FROM (
    SELECT revision, value,
        lag(value IS NULL, 1, iif(revision > :oldest, 1, 0)) OVER (
            PARTITION BY key ORDER BY revision
        ) AS was_absent
    FROM changes
) WHERE value IS NULL AND was_absent
"""
_BASELESS: Final = """
SELECT key FROM (
    SELECT key FROM lives WHERE NOT born UNION ALL SELECT key FROM state WHERE NOT born
) known
WHERE (
    SELECT is_new OR value IS NULL FROM changes c WHERE c.key = known.key
    ORDER BY c.revision LIMIT 1
) IS NOT 0
"""
_UNSOUND: Final = """
SELECT revision, before, expected, found, at < before_at FROM (
    SELECT revision, expected, found, at,
        lag(revision, 1, 0) OVER (ORDER BY revision) AS before,
        lag(at, 1, at) OVER (ORDER BY revision) AS before_at
    FROM (
        SELECT t.revision, t.changes AS expected, t.at, count(c.key) AS found
        FROM transactions t LEFT JOIN changes c ON c.revision = t.revision
        GROUP BY t.revision
    )
) WHERE found <> expected OR at < before_at OR revision <> before + 1
"""
"""One pass over the log."""
