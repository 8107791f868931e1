"""Removal of old changes up to the horizons, in small steps; of each key the newest one stays.

That one is the key's value at the horizon, which later states are computed from.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model import horizons
from signalbox.server.model.keys import after_prefix
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.write.retention_plans import UPDATE_CHECKSUM, Plan, read_settings


class Removed(NamedTuple):
    """How many changes and transactions were removed, or would be."""

    changes: int = 0
    transactions: int = 0

    def plus(self, other: "Removed") -> "Removed":
        return Removed(self.changes + other.changes, self.transactions + other.transactions)

    def minus(self, other: "Removed") -> "Removed":
        return Removed(self.changes - other.changes, self.transactions - other.transactions)


class Step(NamedTuple):
    """How many changes were examined, none where all have been, and what was removed."""

    examined: int
    removed: Removed


def remove_step(connection: apsw.Connection, prefix: str, size: int) -> Step:
    """Examine the next `size` changes up to the horizon of `prefix`, within the open transaction.

    The changes that they replaced are removed, and so are transactions that have none left.
    """
    bound = {"prefix": prefix, "size": size}
    chunk: list[tuple[int, str]] = [(r, k) for r, k in connection.execute(_NEXT_CHANGES, bound)]
    if not chunk:
        return Step(0, Removed())
    others = (one.prefix for one in read_horizons(connection))
    longer = tuple(one for one in others if one.startswith(prefix) and one != prefix)
    own = [(r, k) for r, k in chunk if k.startswith(prefix) and not k.startswith(longer)]
    removed = _remove_replaced(connection, own) if own else Removed()
    connection.execute(_STORE_PROGRESS, (*chunk[-1], prefix))
    connection.execute(UPDATE_CHECKSUM, (prefix,))
    return Step(len(chunk), removed)


def unfinished_prefixes(connection: apsw.Connection) -> list[str]:
    """The prefixes with changes before their horizon that were not examined yet."""
    return [prefix for (prefix,) in connection.execute(_UNFINISHED)]


def remove_unused_records(connection: apsw.Connection) -> None:
    """Remove horizons that equal those of a shorter prefix, and key counts before all horizons."""
    settings = read_settings(connection)
    kept = read_horizons(connection)
    for one in kept:
        others = [other for other in kept if other is not one]
        if not one.prefix or one.prefix in settings:
            continue
        if horizons.horizon_of(others, one.prefix).revision == one.revision:
            connection.execute("DELETE FROM horizons WHERE prefix = ?", (one.prefix,))
            kept = others
    earliest = min(one.revision for one in kept)
    connection.execute("DELETE FROM key_counts WHERE revision < ?", (earliest,))


def count_removable(connection: apsw.Connection, planned: Sequence[Plan]) -> dict[str, Removed]:
    """What compaction by these plans removes, by prefix; the transactions are those of the root."""
    removable = {plan.prefix: _is_removable(plan, planned) for plan in planned}
    counts = {
        prefix: Removed(int(connection.execute(_COUNT.format(removable=condition)).get))
        for prefix, condition in removable.items()
    }
    any_removable = " OR ".join(removable.values())
    transactions = connection.execute(_COUNT_EMPTY.format(removable=any_removable)).get
    counts[""] = counts[""]._replace(transactions=int(transactions))
    return counts


def _remove_replaced(connection: apsw.Connection, changes: list[tuple[int, str]]) -> Removed:
    """Remove the change that each of `changes` (revision and key) has replaced."""
    replacing = msgspec.json.encode(changes).decode()
    replaced = connection.execute(_REPLACED, (replacing,)).fetchall()
    connection.execute(_DELETE_LIVES, (replacing,))
    if not replaced:
        return Removed()
    old = msgspec.json.encode([(revision, key) for revision, key, _ in replaced]).decode()
    connection.execute(_DELETE_CHANGES, (old,))
    if first_changes := [(revision, key) for revision, key, is_new in replaced if is_new]:
        created = msgspec.json.encode(first_changes).decode()
        connection.execute(_STATE_BORN_EARLIER, (created,))
        connection.execute(_LIVES_BORN_EARLIER, (created,))
    revisions = msgspec.json.encode(sorted({revision for revision, *_ in replaced})).decode()
    connection.execute(_DELETE_REVERSALS, (revisions,))
    connection.execute(_DELETE_EMPTY, (revisions,))
    return Removed(len(replaced), connection.changes())


def _is_removable(plan: Plan, planned: Sequence[Plan]) -> str:
    """SQL: change `c` follows this plan's prefix and is replaced at or before its horizon."""
    longer = [one.prefix for one in planned if one.prefix.startswith(plan.prefix)]
    longer.remove(plan.prefix)
    within = [_in_prefix(plan.prefix), *(f"NOT {_in_prefix(prefix)}" for prefix in longer)]
    return _REMOVABLE.format(within=" AND ".join(within), revision=plan.revision)


def _in_prefix(prefix: str) -> str:
    """SQL: the key of change `c` begins with `prefix`."""
    low, high = (apsw.format_sql_value(text) for text in (prefix, after_prefix(prefix)))
    return f"(c.key >= {low} AND c.key < {high})"


_NEXT_CHANGES: Final = """
SELECT c.revision, c.key FROM horizons h CROSS JOIN changes c
WHERE h.prefix = :prefix AND (c.revision, c.key) > (h.done_revision, h.done_key)
    AND c.revision <= h.revision
ORDER BY c.revision, c.key LIMIT :size
"""
_STORE_PROGRESS: Final = "UPDATE horizons SET done_revision = ?, done_key = ? WHERE prefix = ?"
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
_DELETE_CHANGES: Final = """
DELETE FROM changes WHERE (revision, key) IN (
    SELECT asked.value ->> 0, asked.value ->> 1 FROM json_each(?) asked
)
"""
_STATE_BORN_EARLIER: Final = """
UPDATE state SET born = 0 FROM json_each(?) asked
WHERE state.key = asked.value ->> 1 AND state.born = asked.value ->> 0
"""
_LIVES_BORN_EARLIER: Final = """
UPDATE lives SET born = 0 FROM json_each(?) asked
WHERE lives.key = asked.value ->> 1 AND lives.born = asked.value ->> 0
"""
_DELETE_LIVES: Final = """
DELETE FROM lives WHERE (key, born) IN (
    SELECT l.key, l.born FROM json_each(?) asked CROSS JOIN lives l ON l.key = asked.value ->> 1
    WHERE l.died <= asked.value ->> 0
)
"""
_DELETE_REVERSALS: Final = """
DELETE FROM reversals WHERE revision IN (
    SELECT asked.value FROM json_each(?) asked
    WHERE NOT EXISTS (SELECT 1 FROM changes c WHERE c.revision = asked.value)
)
"""
_DELETE_EMPTY: Final = """
DELETE FROM transactions WHERE revision IN (
    SELECT asked.value FROM json_each(?) asked
    WHERE NOT EXISTS (SELECT 1 FROM changes c WHERE c.revision = asked.value)
)
"""
_REMOVABLE: Final = """({within} AND EXISTS (
    SELECT 1 FROM changes n
    WHERE n.key = c.key AND n.revision > c.revision AND n.revision <= {revision}
))"""
_COUNT: Final = "SELECT count(*) FROM changes c WHERE {removable}"
_COUNT_EMPTY: Final = """
SELECT count(*) FROM transactions t
WHERE t.changes AND NOT EXISTS (
    SELECT 1 FROM changes c WHERE c.revision = t.revision AND NOT ({removable})
)
"""
