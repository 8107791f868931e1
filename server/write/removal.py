"""Removal of old changes up to the horizons, in small steps; of each key the newest one stays.

That one is the key's value at the horizon, which later states are computed from.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model.horizons import Horizon, Horizons
from signalbox.server.model.keys import AFTER_ALL_KEYS
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.write.retention_plans import Plan, read_settings

Position = tuple[int, str]
"""A change in the log: its revision and key."""


class Removed(NamedTuple):
    """How many changes of which prefixes, and how many transactions, were or would be removed."""

    changes: Counter[str]
    transactions: int


class Sweep:
    """One pass over the log up to the horizons, of all prefixes together, in steps of any size.

    It begins where the least has been done. A step is made within a transaction, and counted with
    `advance` once that is on disk; what was examined and not stored yet is examined again, which
    removes nothing.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        """Begin a pass of compaction where the stored progress of each prefix ends."""
        self._horizons = read_horizons(connection)
        self._ranges: dict[str, tuple[Position, Position]] = {
            prefix: ((revision, key), (end, AFTER_ALL_KEYS))
            for prefix, revision, key, end in connection.execute(_UNFINISHED)
        }
        """After which change, and up to which, those of each prefix are to be examined."""
        self._starting: dict[Position, list[str]] = {}
        self._ending: dict[Position, list[str]] = {}
        for prefix, (start, end) in self._ranges.items():
            self._starting.setdefault(start, []).append(prefix)
            self._ending.setdefault(end, []).append(prefix)
        self._limits = deque(sorted(self._starting.keys() | self._ending.keys()))
        self._position: Position = (0, "")
        self._active: set[str] = set()
        """The prefixes that the next step is for, up to the first of the limits."""
        self._pass_limits()

    @property
    def is_done(self) -> bool:
        """Whether all changes up to the horizons have been examined."""
        return not self._active

    def remove(self, connection: apsw.Connection, size: int) -> "Step":
        """Examine the next `size` changes, within the open transaction.

        The changes that they replaced are removed, and so are transactions that have none left.
        """
        stop = self._limits[0]
        rows = connection.execute(_NEXT_CHANGES, (*self._position, *stop, size))
        chunk: list[Position] = [(revision, key) for revision, key in rows]
        own = [change for change in chunk if self._horizons.of(change[1]).prefix in self._active]
        keys, transactions = _remove_replaced(connection, own) if own else ([], 0)
        changes = Counter(self._horizons.of(key).prefix for key in keys)
        position = chunk[-1] if len(chunk) == size else stop
        return Step(len(chunk), position, Removed(changes, transactions))

    def advance(self, step: "Step") -> None:
        """The step's transaction is on disk: go on behind it."""
        self._position = step.position
        self._pass_limits()

    def store_progress(self, connection: apsw.Connection) -> None:
        """Store how far each prefix has been examined, within the open transaction."""
        connection.executemany(
            _STORE_PROGRESS,
            [
                (*min(self._position, end), prefix)
                for prefix, (start, end) in self._ranges.items()
                if start < self._position
            ],
        )

    def _pass_limits(self) -> None:
        """Let prefixes begin and end that do so here; where none is left, go to the next start."""
        while self._limits and (self._limits[0] <= self._position or not self._active):
            self._position = max(self._position, self._limits[0])
            limit = self._limits.popleft()
            self._active.update(self._starting.get(limit, ()))
            self._active.difference_update(self._ending.get(limit, ()))


class Step(NamedTuple):
    """How many changes were examined, up to which, and what was removed."""

    examined: int
    position: Position
    removed: Removed


def remove_unused_records(connection: apsw.Connection) -> None:
    """Remove horizons that equal those of a shorter prefix, and key counts before all horizons."""
    settings, horizons = read_settings(connection), read_horizons(connection)
    unused = [
        (horizon.prefix,)
        for horizon in horizons
        if horizon.prefix
        and horizon.prefix not in settings
        and horizons.above(horizon).revision == horizon.revision
    ]
    connection.executemany("DELETE FROM horizons WHERE prefix = ?", unused)
    earliest = min(
        horizon.revision for horizon in horizons
    )  # also without those, which equal another one
    connection.execute("DELETE FROM key_counts WHERE revision < ?", (earliest,))


class RemovableCount:
    """Counts what compaction by these plans removes, in pieces of the log."""

    def __init__(self, planned: Sequence[Plan]) -> None:
        """Count what compaction would remove by the `planned` horizons; nothing is counted yet."""
        self._horizons = Horizons(Horizon(plan.prefix, plan.revision, plan.at) for plan in planned)
        self._stop = max(plan.revision for plan in planned)
        self._done: Position = (0, "")
        self._changes: Counter[str] = Counter()
        self._transactions = 0
        self._left = 0
        """How many changes of the last transaction stay, as far as they were examined."""

    def examine(self, connection: apsw.Connection, size: int) -> bool:
        """Examine the next `size` changes; False where there are no more."""
        rows: list[Any] = connection.execute(
            _CHANGES_WITH_NEXT, (*self._done, self._stop, size)
        ).fetchall()
        for revision, key, replaced_at in rows:
            if revision != self._done[0]:
                self._end_transaction()
            horizon = self._horizons.of(key)
            if replaced_at is not None and replaced_at <= horizon.revision:
                self._changes[horizon.prefix] += 1
            else:
                self._left += 1
            self._done = (revision, key)
        return len(rows) == size

    def result(self) -> Removed:
        """What could be removed, once there are no more changes to examine."""
        self._end_transaction()
        return Removed(self._changes, self._transactions)

    def _end_transaction(self) -> None:
        """Count the transaction whose changes were examined, if none would be left."""
        self._transactions += self._done[0] > 0 and self._left == 0
        self._left = 0


def _end(horizon: Horizon) -> Position:
    """The position up to which removal examines the changes of a prefix."""
    return horizon.revision, AFTER_ALL_KEYS


def _remove_replaced(connection: apsw.Connection, changes: list[Position]) -> tuple[list[str], int]:
    """Remove the change that each of `changes` has replaced: their keys, and the number of
    transactions that were removed with them.
    """
    replacing = msgspec.json.encode(changes).decode()
    replaced: list[Any] = connection.execute(_REPLACED, (replacing,)).fetchall()
    connection.execute(_DELETE_LIVES, (replacing,))
    if not replaced:
        return [], 0
    old = msgspec.json.encode([(revision, key) for revision, key, _ in replaced]).decode()
    connection.execute(_DELETE_CHANGES, (old,))
    if first_changes := [(revision, key) for revision, key, is_new in replaced if is_new]:
        created = msgspec.json.encode(first_changes).decode()
        connection.execute(_STATE_BORN_EARLIER, (created,))
        connection.execute(_LIVES_BORN_EARLIER, (created,))
    revisions = msgspec.json.encode(sorted({revision for revision, *_ in replaced})).decode()
    connection.execute(_DELETE_REVERSALS, (revisions,))
    connection.execute(_DELETE_EMPTY, (revisions,))
    return [key for _, key, _ in replaced], connection.changes()


_UNFINISHED: Final = """
SELECT prefix, done_revision, done_key, revision FROM horizons h WHERE EXISTS (
    SELECT 1 FROM changes c
    WHERE (c.revision, c.key) > (h.done_revision, h.done_key) AND c.revision <= h.revision
)
"""
_NEXT_CHANGES: Final = """
SELECT revision, key FROM changes
WHERE (revision, key) > (?, ?) AND (revision, key) <= (?, ?)
ORDER BY revision, key LIMIT ?
"""
_STORE_PROGRESS: Final = """
UPDATE horizons SET done_revision = ?1, done_key = ?2,
    checksum = row_checksum(prefix, revision, at, ?1, ?2)
WHERE prefix = ?3
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
_CHANGES_WITH_NEXT: Final = """
SELECT c.revision, c.key, (
    SELECT min(n.revision) FROM changes n WHERE n.key = c.key AND n.revision > c.revision
)
FROM changes c WHERE (c.revision, c.key) > (?, ?) AND c.revision < ?
ORDER BY c.revision, c.key LIMIT ?
"""
