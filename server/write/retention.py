"""Retention: for how long the past of which keys is kept, and the compaction that removes the rest.

The settings under `_signalbox.retention` say how old changes may get. What lies behind a horizon is
thinned out in small steps: of each key the newest change at or before it stays, which is what the
state there and everything later is made of.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model import horizons
from signalbox.server.model.app_settings import RETENTION, RetentionSetting, age_milliseconds
from signalbox.server.model.horizons import LAST_REVISION, Horizon
from signalbox.server.model.keys import after_prefix
from signalbox.server.read import history
from signalbox.server.store import clock_records
from signalbox.server.store.horizons import read_horizons
from signalbox.server.store.schema import checksum_sql

SET_MS: Final = 978_307_200_000
"""2001, in ms since 1970: earlier times are of clocks that nobody had set, which begin with 1970,
1980 or 2000."""

DEFAULT: Final = RetentionSetting(max_age="365d")


class Plan(NamedTuple):
    """How far a prefix is to be compacted: up to `revision`, the last one not later than `at`."""

    prefix: str
    max_age: str | None
    revision: int
    at: int


class Removed(NamedTuple):
    changes: int = 0
    transactions: int = 0

    def plus(self, other: "Removed") -> "Removed":
        return Removed(self.changes + other.changes, self.transactions + other.transactions)

    def minus(self, other: "Removed") -> "Removed":
        return Removed(self.changes - other.changes, self.transactions - other.transactions)


class Step(NamedTuple):
    """How many changes were looked at, none where all have been, and what went."""

    seen: int
    removed: Removed


def plans(
    connection: apsw.Connection, now: int | None = None, held: int = LAST_REVISION
) -> list[Plan]:
    """For every prefix with a setting or a horizon of its own, where its horizon is to be at `now`.

    Without `now`, in ms since 1970, where it is.
    A horizon never goes back: what was removed stays so, whatever is set afterwards. Nor does it go
    beyond revision `held`, which somebody still needs.
    """
    rules = _rules(connection)
    kept = {one.prefix: one for one in read_horizons(connection)}
    aged = None if now is None else _Aged(connection, now, held)
    return [
        _plan(prefix, rules, horizons.horizon_of(list(kept.values()), prefix), aged)
        for prefix in sorted(kept.keys() | rules.keys())
    ]


class _Aged:
    """Up to which revision everything is as old as may be, at `now`; none beyond `held`."""

    def __init__(self, connection: apsw.Connection, now: int, held: int) -> None:
        self._connection, self.now, self._held = connection, now, held
        self._seen = clock_records.read_observed(connection)
        self._first = history.first_time(connection)

    def revision(self, age: int) -> int:
        """By the stamps that can be right, or by when it was seen to be there."""
        at, latest = self.now - age, self.now + clock_records.DAY_MS
        # Looking for a stamp that can be right may take a walk: not where all are later anyway.
        stamped = 0 if at < self._first else history.revision_at(self._connection, at, latest)
        if history.time_of(self._connection, stamped) < SET_MS:
            stamped = 0
        return min(max(stamped, clock_records.revision_observed_for(self._seen, age)), self._held)


def publish(connection: apsw.Connection, wanted: Sequence[Plan]) -> None:
    """Say from where on the past will be whole, within the open transaction, before any of it goes.

    A new prefix starts where the one stands that it has followed so far: before that goes on.
    """
    for plan in sorted(wanted):
        connection.execute(_FOLLOW, (plan.prefix,))
    for plan in wanted:
        connection.execute(_ADVANCE, (plan.revision, plan.at, plan.prefix, plan.revision))
        connection.execute(_SEAL, (plan.prefix,))


def step(connection: apsw.Connection, prefix: str, size: int) -> Step:
    """Look at the next `size` changes behind the horizon of `prefix`, within the open transaction.

    Whatever a change has replaced goes; what then has no change left goes too.
    """
    bound = {"prefix": prefix, "size": size}
    chunk: list[tuple[int, str]] = [(r, k) for r, k in connection.execute(_CHUNK, bound)]
    if not chunk:
        return Step(0, Removed())
    others = (one.prefix for one in read_horizons(connection))
    longer = tuple(one for one in others if one.startswith(prefix) and one != prefix)
    own = [(r, k) for r, k in chunk if k.startswith(prefix) and not k.startswith(longer)]
    removed = _thin_out(connection, own) if own else Removed()
    connection.execute(_DONE, (*chunk[-1], prefix))
    connection.execute(_SEAL, (prefix,))
    return Step(len(chunk), removed)


def unfinished(connection: apsw.Connection) -> list[str]:
    """The prefixes whose horizon is ahead of what has been removed."""
    return [prefix for (prefix,) in connection.execute(_UNFINISHED)]


def tidy(connection: apsw.Connection) -> None:
    """Forget horizons that tell nothing of their own, and counts that nobody may ask for."""
    settings = _rules(connection)
    kept = read_horizons(connection)
    for one in kept:
        shorter = [other for other in kept if other is not one]
        if not one.prefix or one.prefix in settings:
            continue
        if horizons.horizon_of(shorter, one.prefix).revision == one.revision:
            connection.execute("DELETE FROM horizons WHERE prefix = ?", (one.prefix,))
            kept = shorter
    earliest = min(one.revision for one in kept)
    connection.execute("DELETE FROM key_counts WHERE revision < ?", (earliest,))


def would_remove(connection: apsw.Connection, wanted: Sequence[Plan]) -> dict[str, Removed]:
    """From prefix to what compaction removes; the transactions are told at the root."""
    goes = {plan.prefix: _goes(plan, wanted) for plan in wanted}
    found = {
        prefix: Removed(int(connection.execute(_COUNT.format(goes=one)).get))
        for prefix, one in goes.items()
    }
    empty = connection.execute(_COUNT_EMPTY.format(goes=" OR ".join(goes.values()))).get
    found[""] = found[""]._replace(transactions=int(empty))
    return found


def _rules(connection: apsw.Connection) -> dict[str, RetentionSetting]:
    """From prefix to setting; the root always has one."""
    rules = {"": DEFAULT}
    for key, raw in connection.execute(_SETTINGS, (RETENTION, after_prefix(RETENTION + "."))):
        if key == RETENTION or key.startswith(RETENTION + "."):
            prefix = key[len(RETENTION) + 1 :]
            rules[prefix + "." if prefix else ""] = msgspec.json.decode(raw, type=RetentionSetting)
    return rules


def _plan(
    prefix: str, rules: dict[str, RetentionSetting], stands: Horizon, aged: _Aged | None
) -> Plan:
    rule = rules[max((one for one in rules if prefix.startswith(one)), key=len)]
    if rule.max_age is None or aged is None:
        return Plan(prefix, rule.max_age, stands.revision, stands.at)
    age = age_milliseconds(rule.max_age)
    if (revision := aged.revision(age)) <= stands.revision:
        return Plan(prefix, rule.max_age, stands.revision, stands.at)
    return Plan(prefix, rule.max_age, revision, aged.now - age)


def _thin_out(connection: apsw.Connection, changes: list[tuple[int, str]]) -> Removed:
    """Remove what each of `changes` (revision and key) has replaced."""
    asked = msgspec.json.encode(changes).decode()
    replaced = connection.execute(_REPLACED, (asked,)).fetchall()
    connection.execute(_FORGET_LIVES, (asked,))
    if not replaced:
        return Removed()
    gone = msgspec.json.encode([(revision, key) for revision, key, _ in replaced]).decode()
    connection.execute(_REMOVE, (gone,))
    if births := [(revision, key) for revision, key, is_new in replaced if is_new]:
        begun = msgspec.json.encode(births).decode()
        connection.execute(_BORN_BEFORE, (begun,))
        connection.execute(_LIVED_BEFORE, (begun,))
    revisions = msgspec.json.encode(sorted({revision for revision, *_ in replaced})).decode()
    connection.execute(_FORGET_REVERSALS, (revisions,))
    connection.execute(_REMOVE_EMPTY, (revisions,))
    return Removed(len(replaced), connection.changes())


def _goes(plan: Plan, wanted: Sequence[Plan]) -> str:
    """SQL: change `c` follows this plan's prefix and is replaced at or before its horizon."""
    longer = [one.prefix for one in wanted if one.prefix.startswith(plan.prefix)]
    longer.remove(plan.prefix)
    within = [_range(plan.prefix), *(f"NOT {_range(prefix)}" for prefix in longer)]
    return _GOES.format(within=" AND ".join(within), revision=plan.revision)


def _range(prefix: str) -> str:
    low, high = (apsw.format_sql_value(text) for text in (prefix, after_prefix(prefix)))
    return f"(c.key >= {low} AND c.key < {high})"


_SETTINGS: Final = "SELECT key, value FROM state WHERE key >= ? AND key < ?"
_FOLLOW: Final = """
INSERT INTO horizons SELECT ?1, revision, at, done_revision, done_key, NULL FROM horizons
WHERE substr(?1, 1, length(prefix)) = prefix ORDER BY length(prefix) DESC LIMIT 1
ON CONFLICT DO NOTHING
"""
_ADVANCE: Final = "UPDATE horizons SET revision = ?, at = ? WHERE prefix = ? AND revision < ?"
_SEAL: Final = checksum_sql("horizons", "WHERE prefix = ?")
_CHUNK: Final = """
SELECT c.revision, c.key FROM horizons h CROSS JOIN changes c
WHERE h.prefix = :prefix AND (c.revision, c.key) > (h.done_revision, h.done_key)
    AND c.revision <= h.revision
ORDER BY c.revision, c.key LIMIT :size
"""
_DONE: Final = "UPDATE horizons SET done_revision = ?, done_key = ? WHERE prefix = ?"
_UNFINISHED: Final = """
SELECT prefix FROM horizons h WHERE EXISTS (
    SELECT 1 FROM changes c
    WHERE (c.revision, c.key) > (h.done_revision, h.done_key) AND c.revision <= h.revision
)
"""
_REPLACED: Final = """
SELECT p.revision, p.key, p.is_new FROM json_each(?) asked
CROSS JOIN changes p ON p.key = asked.value ->> 1 AND p.revision = (
    SELECT max(e.revision) FROM changes e
    WHERE e.key = asked.value ->> 1 AND e.revision < asked.value ->> 0
)
"""
_REMOVE: Final = """
DELETE FROM changes WHERE (revision, key) IN (
    SELECT asked.value ->> 0, asked.value ->> 1 FROM json_each(?) asked
)
"""
_BORN_BEFORE: Final = """
UPDATE state SET born = 0 FROM json_each(?) asked
WHERE state.key = asked.value ->> 1 AND state.born = asked.value ->> 0
"""
_LIVED_BEFORE: Final = """
UPDATE lives SET born = 0 FROM json_each(?) asked
WHERE lives.key = asked.value ->> 1 AND lives.born = asked.value ->> 0
"""
_FORGET_LIVES: Final = """
DELETE FROM lives WHERE (key, born) IN (
    SELECT l.key, l.born FROM json_each(?) asked CROSS JOIN lives l ON l.key = asked.value ->> 1
    WHERE l.died <= asked.value ->> 0
)
"""
_FORGET_REVERSALS: Final = """
DELETE FROM reversals WHERE revision IN (
    SELECT asked.value FROM json_each(?) asked
    WHERE NOT EXISTS (SELECT 1 FROM changes c WHERE c.revision = asked.value)
)
"""
_REMOVE_EMPTY: Final = """
DELETE FROM transactions WHERE revision IN (
    SELECT asked.value FROM json_each(?) asked
    WHERE NOT EXISTS (SELECT 1 FROM changes c WHERE c.revision = asked.value)
)
"""
_GOES: Final = """({within} AND EXISTS (
    SELECT 1 FROM changes n
    WHERE n.key = c.key AND n.revision > c.revision AND n.revision <= {revision}
))"""
_COUNT: Final = "SELECT count(*) FROM changes c WHERE {goes}"
_COUNT_EMPTY: Final = """
SELECT count(*) FROM transactions t
WHERE t.changes AND NOT EXISTS (
    SELECT 1 FROM changes c WHERE c.revision = t.revision AND NOT ({goes})
)
"""
