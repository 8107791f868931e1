"""What became of an attempt: the answer its sender gets, and what is kept of it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apsw

from server.commands import Attempt
from server.errors import SignalboxError

KEPT: Final = 100_000
"""How many rejected and unchanged outcomes are remembered."""


class Outcome(NamedTuple):
    """`revision` is the transaction's, or the store's where nothing changed; `at` in ms UTC."""

    attempt: Attempt
    at: int
    revision: int
    changes: int = 0
    error: SignalboxError | None = None
    duplicate: dict[str, Any] | None = None
    """The first answer, where the same command had been sent before."""

    @property
    def http_status(self) -> int:
        if self.duplicate:
            return int(self.duplicate["http_status"])
        return self.error.status if self.error else 200

    @property
    def is_kept(self) -> bool:
        """Whether it goes into the table of attempts (what changed something is in the log)."""
        if self.duplicate or self.attempt.dry_run:
            return False
        return self.error.remembered if self.error else not self.changes

    def answer(self) -> dict[str, Any]:
        """The acknowledgement as the POST gets it."""
        if self.duplicate:
            first = {name: value for name, value in self.duplicate.items() if name != "http_status"}
            return first | {"duplicate": True}
        if self.error:
            return {"id": self.attempt.id, "status": "rejected", **self.error.fields()}
        answer = accepted(self.attempt.id, self.revision, self.changes)
        return answer | {"dry_run": True, "revision": None} if self.attempt.dry_run else answer

    def event(self) -> dict[str, Any]:
        """The acknowledgement as streams carry it."""
        answer = self.answer()
        return {"id": answer.pop("id"), "actor": self.attempt.actor, **answer}

    def record(self) -> dict[str, Any]:
        """The attempt as `attempts` lists it."""
        record = {**self.event(), "type": self.attempt.type, "at": self.at}
        return {"key": self.attempt.key, **record} if self.attempt.key else record


def accepted(identity: str, revision: int, changes: int) -> dict[str, Any]:
    """The answer to an accepted command."""
    return {
        "id": identity,
        "status": "accepted",
        "revision": revision,
        "changed": changes > 0,
        "changes": changes,
        "duplicate": False,
    }


def keep(connection: apsw.Connection, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes that the log does not hold, within the open transaction."""
    rows = [_row(outcome) for outcome in outcomes if outcome.is_kept]
    if rows:
        connection.executemany("INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute(
            "DELETE FROM attempts WHERE n <= (SELECT max(n) FROM attempts) - ?", (KEPT,)
        )


def find(connection: apsw.Connection, identity: str) -> tuple[bytes, dict[str, Any]] | None:
    """The fingerprint and the first answer (with its `http_status`) of a command id."""
    for fingerprint, revision, changes in connection.execute(
        "SELECT fingerprint, revision, changes FROM transactions WHERE command_id = ?", (identity,)
    ):
        return fingerprint, accepted(identity, revision, changes) | {"http_status": 200}
    for fingerprint, details in connection.execute(
        "SELECT fingerprint, details FROM attempts WHERE command_id = ?", (identity,)
    ):
        return fingerprint, json.loads(details)["answer"]
    return None


def listed(
    connection: apsw.Connection,
    actor: str | None,
    status: str | None,
    before: tuple[int, int] | None,
    limit: int,
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Position and record of each remembered attempt, newest first."""
    revision, n = before or (2**62, 2**62)
    bound = {"actor": actor, "status": status, "revision": revision, "n": n, "limit": limit}
    for at_revision, number, identity, who, at, kind, changes, key, details in connection.execute(
        _LISTED, bound
    ):
        if details is None:
            record = accepted(identity, at_revision, changes) | {
                "actor": who,
                "type": kind,
                "at": at,
            }
            record |= {"key": key}
        else:
            record = json.loads(details)["record"]
        yield (at_revision, number), record


def one(connection: apsw.Connection, identity: str) -> dict[str, Any] | None:
    """The record of one command id."""
    for revision, who, at, kind, changes, key in connection.execute(_ONE, (identity,)):
        return accepted(identity, revision, changes) | {
            "actor": who,
            "type": kind,
            "at": at,
            "key": key,
        }
    for (details,) in connection.execute(
        "SELECT details FROM attempts WHERE command_id = ?", (identity,)
    ):
        record: dict[str, Any] = json.loads(details)["record"]
        return record
    return None


def _row(outcome: Outcome) -> tuple[Any, ...]:
    attempt = outcome.attempt
    answer = outcome.answer()
    details = {"answer": answer | {"http_status": outcome.http_status}, "record": outcome.record()}
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


_FIRST_KEY: Final = "(SELECT min(key) FROM changes c WHERE c.revision = t.revision)"
_ONE: Final = f"""
SELECT revision, actor, at, type, changes, {_FIRST_KEY} FROM transactions t WHERE command_id = ?
"""  # noqa: S608 - pieces of this module
_LISTED: Final = f"""
SELECT * FROM (
    SELECT revision, 0 AS n, command_id, actor, at, type, changes, {_FIRST_KEY} AS key,
        NULL AS details
    FROM transactions t
    WHERE (:actor IS NULL OR actor = :actor) AND ifnull(:status, 'accepted') = 'accepted'
        AND revision < :revision + (:n > 0)
    ORDER BY revision DESC LIMIT :limit
) UNION ALL SELECT * FROM (
    SELECT revision, n, command_id, actor, at, type, 0, NULL, details
    FROM attempts
    WHERE (:actor IS NULL OR actor = :actor) AND (:status IS NULL OR status = :status)
        AND (revision, n) < (:revision, :n)
    ORDER BY n DESC LIMIT :limit
) ORDER BY revision DESC, n DESC LIMIT :limit
"""  # noqa: S608 - pieces of this module
