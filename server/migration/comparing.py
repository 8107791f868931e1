"""Whether two logs and what follows from them are the same: read back, and compared row by row."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.migration.copying import Progress
from signalbox.server.migration.locations import PIECE, File, Log
from signalbox.server.model.events import Transaction
from signalbox.server.store import log, state
from signalbox.server.store.database import Database, transaction

MAX_DIFFERENCES: Final = 20
CACHE: Final = 64_000
"""In KiB, of a replica that is made for a comparison."""
SHOWN: Final = 60

Row = tuple[Any, ...]


class Side(NamedTuple):
    """A read model. `thinned` is up to where rows may be missing that the other side has."""

    shown: str
    connection: apsw.Connection
    thinned: int


def differences(one: Log, other: Log, last: int, folder: Path, progress: Progress) -> list[str]:
    """What differs between two logs up to revision `last` and in what is made of them, in words.

    Logs on servers are read from their beginning into replicas in `folder`. What only fills gaps is
    left out, and what retention has removed on one side since.
    """
    opened: list[Database] = []
    try:
        remote = [each for each in (one, other) if not isinstance(each, File)]
        for number, each in enumerate(remote):
            tell = partial(_tell, progress, number * last, len(remote) * last)
            opened.append(_replica(each, last, folder / f"{number}.db", tell))
        replicas = iter(opened)
        sides = [
            Side(
                each.shown,
                (each.database if isinstance(each, File) else next(replicas)).writer,
                _thinned(each, across),
            )
            for each, across in ((one, other), (other, one))
        ]
        return list(islice(_differences(*sides), MAX_DIFFERENCES))
    finally:
        for database in opened:
            database.close()


def _tell(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _replica(source: Log, last: int, path: Path, progress: Progress) -> Database:
    """What a node would make of the log."""
    database = Database(path)
    connection = database.writer
    connection.pragma("synchronous", "OFF")
    connection.pragma("cache_size", -CACHE)
    metadata: LogMetadata = source.metadata
    database.make_replica(metadata.store, None, metadata.horizons)
    after = 0
    while after < last and (piece := source.read(after, min(PIECE, last - after))):
        _take(connection, piece, after)
        after = piece[-1].revision
        progress(after, last)
    return database


def _take(connection: apsw.Connection, piece: list[Transaction], after: int) -> None:
    with transaction(connection):
        log.insert(connection, piece)
        state.fold(connection, after, piece[-1].revision)


def _thinned(one: Log, other: Log) -> int:
    """Where both were thinned out alike, nothing may be missing."""
    own = one.metadata.horizons
    if set(own) == set(other.metadata.horizons):
        return 0
    return max((revision for _, revision, _ in own), default=0)


def _differences(one: Side, other: Side) -> Iterator[str]:
    for table in TABLES:
        for ours, theirs in _merged(table, one.connection, other.connection):
            if ours == theirs:
                continue
            known = ours or theirs or ()
            missing = one if ours is None else other if theirs is None else None
            if missing and table.has_past and known[0] <= missing.thinned:
                continue
            yield (
                f"{table.name}: {one.shown} has {_words(ours)}, {other.shown} has {_words(theirs)}"
            )


class Table(NamedTuple):
    """`keys` columns stand first and say which row it is."""

    name: str
    sql: str
    keys: int
    has_past: bool = True


TABLES: Final = (
    Table(
        "transaction",
        "SELECT revision, command_id, actor, at, type, changes, hex(fingerprint) "
        "FROM transactions WHERE type <> 'compacted' ORDER BY revision",
        1,
    ),
    Table("change", "SELECT revision, key, value, is_new FROM changes ORDER BY revision, key", 2),
    Table("reversal", "SELECT revision, target FROM reversals ORDER BY revision, target", 2),
    Table("state", "SELECT key, value, revision FROM state ORDER BY key", 1, has_past=False),
)


def _merged(
    table: Table, one: apsw.Connection, other: apsw.Connection
) -> Iterator[tuple[Row | None, Row | None]]:
    """The rows of both in order, side by side where they are about the same."""
    ours, theirs = one.execute(table.sql), other.execute(table.sql)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        is_left = right is None or (left is not None and left[: table.keys] <= right[: table.keys])
        is_right = left is None or (right is not None and right[: table.keys] <= left[: table.keys])
        yield (left if is_left else None, right if is_right else None)
        left = next(ours, None) if is_left else left
        right = next(theirs, None) if is_right else right


def _words(row: Row | None) -> str:
    return "nothing" if row is None else " ".join(str(part)[:SHOWN] for part in row)
