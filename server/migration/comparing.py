"""Compare two logs and the states that follow from them, row by row."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.migration.copying import Progress
from signalbox.server.migration.locations import BATCH, LocalLog, MigrationLog
from signalbox.server.model.events import Transaction
from signalbox.server.store import log_table, state_table
from signalbox.server.store.database import Database, transaction

MAX_DIFFERENCES: Final = 20
CACHE: Final = 64_000
"""In KiB, of a replica that is created for a comparison."""
MAX_SHOWN: Final = 60

Row = tuple[Any, ...]


class Side(NamedTuple):
    """One store's tables. Up to revision `thinned_up_to` rows of the other side may be missing."""

    name: str
    connection: apsw.Connection
    thinned_up_to: int


def differences(
    log: MigrationLog, other: MigrationLog, last: int, folder: Path, progress: Progress
) -> list[str]:
    """The differences of two logs up to revision `last`, and of their states, one sentence each.

    Logs on servers are read from their beginning into replicas in `folder`. Placeholders are
    ignored, and what retention has removed on one side since.
    """
    opened: list[Database] = []
    try:
        remote = [own for own in (log, other) if not isinstance(own, LocalLog)]
        for number, own in enumerate(remote):
            report = partial(_report, progress, number * last, len(remote) * last)
            opened.append(_replica(own, last, folder / f"{number}.db", report))
        replicas = iter(opened)
        sides = [
            Side(
                own.name,
                (own.database if isinstance(own, LocalLog) else next(replicas)).writer,
                _thinned_up_to(own, across),
            )
            for own, across in ((log, other), (other, log))
        ]
        return list(islice(_differences(*sides), MAX_DIFFERENCES))
    finally:
        for database in opened:
            database.close()


def _report(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Report how much of the remote logs is read; `before` transactions are of those before."""
    progress(before + done, total)


def _replica(source: MigrationLog, last: int, path: Path, progress: Progress) -> Database:
    """A temporary replica of a log that is compared, as a node would have it."""
    database = Database(path)
    connection = database.writer
    connection.pragma("synchronous", "OFF")
    connection.pragma("cache_size", -CACHE)
    metadata: LogMetadata = source.metadata
    database.make_replica(metadata.store, None, metadata.horizons)
    after = 0
    while after < last and (batch := source.read(after, min(BATCH, last - after))):
        _append(connection, batch, after)
        after = batch[-1].revision
        progress(after, last)
    return database


def _append(connection: apsw.Connection, batch: list[Transaction], after: int) -> None:
    """Append transactions to the log that the state is rebuilt from, and fold them into it."""
    with transaction(connection):
        log_table.insert(connection, batch)
        state_table.fold(connection, after, batch[-1].revision)


def _thinned_up_to(log: MigrationLog, other: MigrationLog) -> int:
    """The revision up to which retention may have removed rows from `log` alone; 0: none."""
    own = log.metadata.horizons
    if set(own) == set(other.metadata.horizons):
        return 0
    return max((revision for _, revision, _ in own), default=0)


def _differences(side: Side, other: Side) -> Iterator[str]:
    """The rows in which both sides of a migration differ, one sentence each."""
    for table in TABLES:
        for ours, theirs in _joined_rows(table, side.connection, other.connection):
            if ours == theirs:
                continue
            row = ours or theirs or ()
            missing = side if ours is None else other if theirs is None else None
            if missing and table.is_thinned_out and row[0] <= missing.thinned_up_to:
                continue
            here, there = _row_text(ours), _row_text(theirs)
            yield f"{table.name}: {side.name} has {here}, {other.name} has {there}"


class Table(NamedTuple):
    """The first `key_columns` columns are the key of a row."""

    name: str
    sql: str
    key_columns: int
    is_thinned_out: bool = True


TABLES: Final = (
    Table(
        "transaction",
        "SELECT revision, command_id, actor, at, type, changes, hex(fingerprint) "
        "FROM transactions WHERE type <> 'compacted' ORDER BY revision",
        1,
    ),
    Table("change", "SELECT revision, key, value, is_new FROM changes ORDER BY revision, key", 2),
    Table("reversal", "SELECT revision, target FROM reversals ORDER BY revision, target", 2),
    Table("state", "SELECT key, value, revision FROM state ORDER BY key", 1, is_thinned_out=False),
)


def _joined_rows(
    table: Table, one: apsw.Connection, other: apsw.Connection
) -> Iterator[tuple[Row | None, Row | None]]:
    """A full outer join of both sides' rows by their keys, in order."""
    ours, theirs = one.execute(table.sql), other.execute(table.sql)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        left_key = left and left[: table.key_columns]
        right_key = right and right[: table.key_columns]
        is_left = right_key is None or (left_key is not None and left_key <= right_key)
        is_right = left_key is None or (right_key is not None and right_key <= left_key)
        yield (left if is_left else None, right if is_right else None)
        left = next(ours, None) if is_left else left
        right = next(theirs, None) if is_right else right


def _row_text(row: Row | None) -> str:
    """A row of the state in the message about a difference, shortened."""
    return "nothing" if row is None else " ".join(str(part)[:MAX_SHOWN] for part in row)
