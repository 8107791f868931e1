"""The table of attempts: store outcomes that the log does not hold, and find any by command id."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any, Final

import apsw

from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import (
    StoreError,
    is_remembered,
)
from signalbox.server.model.events import (
    REVERSING,
    Transaction,
    decode,
    encode,
)
from signalbox.server.model.outcomes import Outcome, accepted_answer, common_prefix

MAX_STORED: Final = 100_000
"""Outcomes that the table holds at most; the oldest are deleted."""


def store(connection: apsw.Connection, outcomes: Sequence[Outcome]) -> None:
    """Insert the outcomes that the log does not hold, within the open transaction."""
    rows = [_row(outcome) for outcome in outcomes if outcome.is_stored]
    if rows:
        connection.executemany(_STORE, rows)
        connection.execute(
            "DELETE FROM attempts WHERE n <= (SELECT max(n) FROM attempts) - ?", (MAX_STORED,)
        )


def replace_unknown(connection: apsw.Connection, outcomes: Sequence[Outcome]) -> None:
    """As `store`, in the place of the unknown outcomes of the same attempts."""
    connection.executemany(
        "DELETE FROM attempts WHERE command_id = ? AND status = 'unknown'",
        [(outcome.attempt.id,) for outcome in outcomes],
    )
    store(connection, outcomes)


def first_answer(connection: apsw.Connection, identity: str) -> tuple[bytes, dict[str, Any]] | None:
    """The fingerprint and the first answer of a command id."""
    for fingerprint, revision, changes in connection.execute(
        "SELECT fingerprint, revision, changes FROM transactions WHERE command_id = ?", (identity,)
    ):
        return fingerprint, accepted_answer(identity, revision, changes)
    for fingerprint, details in connection.execute(
        "SELECT fingerprint, details FROM attempts WHERE command_id = ?", (identity,)
    ):
        answer = json.loads(details)["answer"]
        answer.pop("http_status", None)  # earlier versions stored it beside the code
        if answer["status"] == "accepted" or is_remembered(answer["code"]):
            return fingerprint, answer
    return None


def unknown_outcomes(connection: apsw.Connection) -> list[Outcome]:
    """The stored outcomes of attempts of which it is unknown whether they were appended."""
    outcomes = []
    for identity, fingerprint, revision, details in connection.execute(_UNKNOWN):
        fields = json.loads(details)
        record = fields["record"]
        attempt = Attempt(
            identity, record["actor"], record["type"], fingerprint, None, key=record.get("key")
        )
        sent = _sent(**fields["sent"]) if "sent" in fields else None
        outcomes.append(Outcome(attempt, record["at"], revision, sent=sent))
    return outcomes


def _sent(revision: int, event: str) -> Transaction | None:
    """The transaction in an event that `_row` has stored; None where it cannot be decoded."""
    try:
        return decode(b64decode(event), revision)
    except (StoreError, ValueError):
        return None


def list_records(
    connection: apsw.Connection,
    actor: str | None,
    status: str | None,
    before: tuple[int, int] | None,
    limit: int,
    without: str | None = None,
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Position and record of each remembered attempt, newest first, without those of `without`."""
    revision, n = before or (2**62, 2**62)
    bound = {
        "actor": actor,
        "without": without,
        "status": status,
        "revision": revision,
        "n": n,
        "limit": limit,
    }
    condition = _OF_ACTOR if actor else _WITHOUT_ACTOR if without else "TRUE"
    for at_revision, number, details, *fields in connection.execute(_LIST.format(condition), bound):
        if details:
            record = json.loads(details)["record"]
        else:
            record = _logged(connection, at_revision, *fields)
        yield (at_revision, number), record


def record_of(connection: apsw.Connection, identity: str) -> dict[str, Any] | None:
    """The record of the attempt with this command id; None where none is remembered."""
    for row in connection.execute(_ONE, (identity,)):
        return _logged(connection, *row)
    for (details,) in connection.execute(
        "SELECT details FROM attempts WHERE command_id = ? AND status <> 'unknown'", (identity,)
    ):
        record: dict[str, Any] = json.loads(details)["record"]
        return record
    return None


def _logged(
    connection: apsw.Connection,
    revision: int,
    identity: str,
    actor: str,
    at: int,
    kind: str,
    changes: int,
) -> dict[str, Any]:
    """The record of a transaction, its key or prefix worked out from its changes."""
    record = accepted_answer(identity, revision, changes) | {"actor": actor, "type": kind, "at": at}
    if kind in REVERSING:
        record["of"] = [target for (target,) in connection.execute(_TARGETS, (revision,))]
    if kind != "rename":
        first, last = connection.execute(_ENDS, (revision,)).get
        return record | {"key": common_prefix(first, last), "touched": changes}
    moved, *ends = connection.execute(_MOVED, (revision,)).get
    gone, put = common_prefix(*ends[:2]), common_prefix(*ends[2:])
    return record | {"key": gone, "to": put, "touched": moved}


def _row(outcome: Outcome) -> tuple[Any, ...]:
    """The row of an outcome in the table of attempts."""
    attempt = outcome.attempt
    answer = outcome.answer()
    details = {"answer": answer, "record": outcome.record()}
    if sent := outcome.sent:
        event = b64encode(encode(sent)).decode()
        details["sent"] = {"revision": sent.revision, "event": event}
    return (
        attempt.id,
        attempt.fingerprint,
        attempt.actor,
        outcome.at,
        attempt.type,
        answer["status"],
        outcome.revision,
        json.dumps(details),
    )


_STORE: Final = """
INSERT OR REPLACE INTO attempts SELECT n, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
    row_checksum(n, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
FROM (SELECT ifnull(max(n), 0) + 1 AS n FROM attempts)
"""
_UNKNOWN: Final = """
SELECT command_id, fingerprint, revision, details FROM attempts WHERE status = 'unknown' ORDER BY n
"""
_TARGETS: Final = """
SELECT t.command_id FROM reversals r JOIN transactions t ON t.revision = r.target
WHERE r.revision = ? AND t.type <> 'compacted' ORDER BY r.target
"""
"""Placeholders of removed transactions are nobody's attempts, here and below."""
_ENDS: Final = """
SELECT (SELECT min(key) FROM changes WHERE revision = ?1),
    (SELECT max(key) FROM changes WHERE revision = ?1)
"""
_MOVED: Final = """
SELECT count(*) FILTER (WHERE value IS NULL),
    min(key) FILTER (WHERE value IS NULL), max(key) FILTER (WHERE value IS NULL),
    min(key) FILTER (WHERE value NOT NULL), max(key) FILTER (WHERE value NOT NULL)
FROM changes WHERE revision = ?
"""
_ONE: Final = """
SELECT revision, command_id, actor, at, type, changes FROM transactions
WHERE command_id = ? AND type <> 'compacted'
"""
_OF_ACTOR: Final = "actor = :actor"
_WITHOUT_ACTOR: Final = """revision IN (
    WITH RECURSIVE actors (actor) AS (
        SELECT min(actor) FROM transactions
        UNION ALL
        SELECT (SELECT min(t.actor) FROM transactions t WHERE t.actor > actors.actor)
        FROM actors WHERE actors.actor IS NOT NULL
    )
    SELECT t.revision FROM actors CROSS JOIN transactions t ON t.revision IN (
        SELECT own.revision FROM transactions own
        WHERE own.actor = actors.actor AND own.revision < :revision + (:n > 0)
        ORDER BY own.revision DESC LIMIT :limit
    )
    WHERE actors.actor <> :without
)"""
"""The newest of every other actor, without scanning an actor that writes all the time."""
_LIST: Final = """
SELECT * FROM (
    SELECT revision, 0 AS n, NULL AS details, command_id, actor, at, type, changes
    FROM transactions
    WHERE {} AND ifnull(:status, 'accepted') = 'accepted' AND revision < :revision + (:n > 0)
        AND type <> 'compacted'
    ORDER BY revision DESC LIMIT :limit
) UNION ALL SELECT * FROM (
    SELECT revision, n, details, command_id, actor, at, type, 0
    FROM attempts
    WHERE (:actor IS NULL OR actor = :actor) AND actor IS NOT :without AND status <> 'unknown'
        AND (:status IS NULL OR status = :status)
        AND (revision, n) < (:revision, :n)
    ORDER BY n DESC LIMIT :limit
) ORDER BY revision DESC, n DESC LIMIT :limit
"""
