"""Compare a store's schema with that of a new one, and its rows with their checksums."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model import checksums
from signalbox.server.model.events import VERSION, WITHOUT_CHECKSUM
from signalbox.server.runtime.error_messages import DAMAGED
from signalbox.server.store.database import Database
from signalbox.server.store.schema import CHECKSUMMED, COUNTED_WITHOUT_CHECKSUM

MAX_SHOWN: Final = 60
"""Characters of a value that a problem quotes."""


def until_unreadable(table: str, problems: Iterable[str]) -> Iterator[str]:
    """The problems that an integrity check finds, up to where the file cannot be read."""
    try:
        yield from problems
    except UnicodeDecodeError as error:
        yield f"{table}: a text there is not UTF-8 ({shortened(error.object)})."
    except DAMAGED:
        yield f"{table}: what is there cannot be read to its end."


def schema_problems(connection: apsw.Connection) -> Iterator[str]:
    """How tables and indexes differ from those of a new store; then no other check makes sense."""
    expected = _definitions_of_a_new_store()
    actual = _definitions(connection)
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            yield f"The definition of {name} in the file is not the one that Signalbox has made."


def checksum_problems(connection: apsw.Connection) -> Iterator[str]:
    """Rows that are not as they were written, in all tables that no replay can verify."""
    yield from until_unreadable("The table transactions", _transaction_problems(connection))
    yield from until_unreadable("The table changes", _change_problems(connection))
    for table in CHECKSUMMED:
        yield from until_unreadable(f"The table {table}", _row_problems(connection, table))


def count_without_checksum(connection: apsw.Connection) -> int:
    """How many transactions an older Signalbox has written, without checksums."""
    return int(
        connection.execute(
            "SELECT count(*) FROM transactions WHERE version = ?", (WITHOUT_CHECKSUM,)
        ).get
    )


def shortened(value: Any) -> str:
    """A value as a problem quotes it: shortened, without invisible characters."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    cut = text[: MAX_SHOWN + 1]
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)
    return clean if len(clean) <= MAX_SHOWN else clean[:MAX_SHOWN] + "…"


@cache
def _definitions_of_a_new_store() -> dict[str, str]:
    """The SQL of each table and index that a new store has."""
    with closing(Database(None)) as new:
        return _definitions(new.writer)


def _definitions(connection: apsw.Connection) -> dict[str, str]:
    """The SQL of each table and index without spaces: an older store got columns added."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    return {
        f"{kind} {name}": f"{table} {re.sub(_SPACE, '', sql or '')}"
        for kind, name, table, sql in rows
    }


def _transaction_problems(connection: apsw.Connection) -> Iterator[str]:
    """Transactions that do not fit their checksums, or have an impossible version."""
    for revision, version, *content, of, checksum in connection.execute(_TRANSACTIONS):
        texts = [_text(part) if isinstance(part, bytes) else part for part in content[:3]]
        subject = f"Transaction {revision} ({shortened(texts[2])} by {shortened(texts[1])})"
        if not WITHOUT_CHECKSUM <= version <= VERSION:
            yield f"{subject} says that its version is {shortened(version)}."
        elif version == WITHOUT_CHECKSUM:
            if checksum is not None:
                yield f"{subject} says that it was written without a checksum, and has one."
        elif checksum != _transaction_checksum(revision, texts, content[3:], of):
            yield (
                f"{subject} is not as it was written: its id, actor, time, type, fingerprint, "
                "number of changes or what it reverses was altered."
            )


def _transaction_checksum(revision: int, texts: list[Any], rest: list[Any], of: str) -> int:
    """As `events.head_checksum`, of the values in a row."""
    (identity, actor, kind), (at, fingerprint, made) = texts, rest
    command_id = str(identity).removesuffix(f"@{revision}")
    return checksums.of_row(
        revision, command_id, actor, at, kind, fingerprint, made, msgspec.json.decode(of)
    )


def _change_problems(connection: apsw.Connection) -> Iterator[str]:
    """Changes that do not fit their checksums, or belong to no transaction."""
    for revision, key, value, is_new, checksum, version in connection.execute(_CHANGES):
        subject = f"The change of {shortened(key)} in transaction {revision}"
        if version is None:
            yield f"{subject} belongs to no transaction."
        elif version == WITHOUT_CHECKSUM:
            if checksum is not None or is_new not in (0, 1):
                yield f"{subject} is not as an older Signalbox has written it."
        elif is_new not in (0, 1) or checksum != checksums.of_row(
            _text(key), _text(value), bool(is_new)
        ):
            to = "a deletion" if value is None else shortened(value)
            yield f"{subject} is not as it was written: its key or value was altered, now {to}."


def _row_problems(connection: apsw.Connection, table: str) -> Iterator[str]:
    """Rows of a table in `CHECKSUMMED` that do not fit their checksums."""
    columns, unsealed = ", ".join(CHECKSUMMED[table]), -1
    if table == "key_counts":
        unsealed = int(connection.execute(_META_VALUE, (COUNTED_WITHOUT_CHECKSUM,)).get or 0)
    for *values, checksum in connection.execute(f"SELECT {columns}, checksum FROM {table}"):  # noqa: S608 - ours
        is_older = checksum is None and table == "key_counts" and values[0] <= unsealed
        if not is_older and checksum != checksums.of_row(*values):
            yield f"The table {table}: the row {shortened(values[0])!r} is not as it was written."


def _text(value: Any) -> Any:
    """A value of a row: a text was read as bytes, which damage may have made no UTF-8."""
    return value.decode() if isinstance(value, bytes) else value


_META_VALUE: Final = "SELECT value FROM meta WHERE name = ?"
_SPACE: Final = re.compile(r"\s+")
_TRANSACTIONS: Final = """
SELECT revision, version, CAST(command_id AS BLOB), CAST(actor AS BLOB), CAST(type AS BLOB),
    at, fingerprint, changes, iif(type IN ('undo', 'redo'), (
        SELECT json_group_array(target ORDER BY target) FROM reversals r
        WHERE r.revision = t.revision
    ), '[]'), checksum
FROM transactions t ORDER BY revision
"""
_CHANGES: Final = """
SELECT c.revision, CAST(c.key AS BLOB), CAST(c.value AS BLOB), c.is_new, c.checksum, t.version
FROM changes c LEFT JOIN transactions t ON t.revision = c.revision
ORDER BY c.revision, c.key
"""
