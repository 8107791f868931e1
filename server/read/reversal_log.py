"""The event log as `server.model.reversal` asks it: SQL on one snapshot, in a native thread."""

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model.horizons import LAST_REVISION, Horizon
from signalbox.server.model.keys import RESERVED, RESERVED_END, compile_pattern
from signalbox.server.model.reversal import Done, Effect, Latest
from signalbox.server.read import history
from signalbox.server.store import log
from signalbox.server.store.horizons import read_horizons

CHUNK: Final = 5_000


class SqlReversalLog:
    """See `reversal.Log`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.revision = log.last_revision(connection)

    def horizons(self) -> list[Horizon]:
        return read_horizons(self._connection)

    def newest_of(self, actor: str) -> Iterator[Done]:
        for row in self._connection.execute(_OF_ACTOR, (actor,)):
            yield self._done(row)

    def named(self, identity: str) -> list[Done]:
        found = [self._done(row) for row in self._connection.execute(_NAMED, (identity,))]
        if found:
            return found
        batch = re.compile(re.escape(identity) + "-[0-9]+")
        rows = self._connection.execute(_BATCHES, (identity + "-", identity + "."))
        return [self._done(row) for row in rows if batch.fullmatch(row[1])]

    def done(self, revision: int) -> Done:
        row: Any = self._connection.execute(_DONE, (revision,)).get
        return self._done(row)

    def reversed_by(self, revision: int) -> int | None:
        found: int | None = self._connection.execute(_REVERSED_BY, (revision,)).get
        return found

    def touches_visible(self, revision: int) -> bool:
        bound = (revision, RESERVED, RESERVED_END)
        return self._connection.execute(_VISIBLE, bound).get is not None

    def keys_of(self, revision: int) -> list[str]:
        return [key for (key,) in self._connection.execute(_KEYS, (revision,))]

    def effects(self, revisions: Collection[int]) -> Iterator[Effect]:
        asked = msgspec.json.encode(sorted(revisions)).decode()
        for row in self._connection.execute(_EFFECTS, (asked,)):
            yield Effect(*row)

    def touched(self, revisions: Collection[int], key: str) -> list[int]:
        return [
            revision
            for revision in sorted(revisions)
            if self._connection.execute(_TOUCHED, (revision, key)).get
        ]

    def before(self, key: str, revision: int) -> int:
        return int(self._connection.execute(_BEFORE, (key, revision)).get or 0)

    def now_and_then(
        self, match: str, revision: int
    ) -> Iterator[tuple[str, str | None, str | None]]:
        changed = history.changed_keys(
            self._connection, revision, self.revision, compile_pattern(match)
        )
        while keys := list(islice(changed, CHUNK)):
            now = self.now(keys)
            for key, was in history.values_at(self._connection, keys, revision):
                yield key, now.get(key), was

    def now(self, keys: Collection[str]) -> dict[str, str]:
        asked = msgspec.json.encode(list(keys)).decode()
        rows = self._connection.execute(_NOW, (asked,))
        return {key: raw for key, raw in rows}  # noqa: C416 - a row is a tuple of any length

    def latest(self, keys: Collection[str]) -> Iterator[Latest]:
        asked = msgspec.json.encode(list(keys)).decode()
        for row in self._connection.execute(_LATEST_OF, (asked,)):
            yield Latest(*row)

    def _done(self, row: tuple[Any, ...]) -> Done:
        revision, identity, actor, kind, changes = row
        of = log.reversed_revisions(self._connection, revision)
        return Done(revision, identity, actor, kind, changes, of)


_COLUMNS: Final = "SELECT revision, command_id, actor, type, changes FROM transactions "
_OF_ACTOR: Final = _COLUMNS + "WHERE actor = ? ORDER BY revision DESC"
_NAMED: Final = _COLUMNS + "WHERE command_id = ?"
_BATCHES: Final = (
    _COLUMNS + "WHERE command_id >= ? AND command_id < ? AND type = 'import' ORDER BY revision"
)
_DONE: Final = _COLUMNS + "WHERE revision = ?"
_REVERSED_BY: Final = "SELECT max(revision) FROM reversals WHERE target = ?"
_VISIBLE: Final = """
SELECT 1 FROM changes WHERE revision = ? AND NOT (key >= ? AND key < ?) LIMIT 1
"""
_WAS_THERE: Final = """(
    SELECT p.value FROM changes p WHERE p.key = {0}.key AND p.revision < {0}.revision
    ORDER BY p.revision DESC LIMIT 1
) IS NOT NULL"""
"""A log may delete a key that is not there, which did nothing."""
_LATEST: Final = """
SELECT l.revision FROM changes l
WHERE l.key = {key} AND l.revision < {below} AND (l.value IS NOT NULL OR {was_there})
ORDER BY l.revision DESC LIMIT 1
"""
_EFFECTS_OF: Final = """
SELECT e.key, e.first, ({latest}),
    (SELECT b.value FROM changes b WHERE b.key = e.key AND b.revision < e.first
     ORDER BY b.revision DESC LIMIT 1)
FROM (
    SELECT c.key, min(c.revision) AS first
    FROM json_each(?) asked CROSS JOIN changes c ON c.revision = asked.value
    WHERE c.value IS NOT NULL OR {was_there}
    GROUP BY c.key
) e
"""
_EFFECTS: Final = _EFFECTS_OF.format(
    latest=_LATEST.format(key="e.key", below=LAST_REVISION, was_there=_WAS_THERE.format("l")),
    was_there=_WAS_THERE.format("c"),
)
_KEYS: Final = "SELECT key FROM changes WHERE revision = ?"
_TOUCHED: Final = "SELECT 1 FROM changes WHERE revision = ? AND key = ?"
_BEFORE: Final = _LATEST.format(key="?", below="?", was_there=_WAS_THERE.format("l"))
_LATEST_OF: Final = """
SELECT asked.value, t.revision, t.actor, t.at, s.value
FROM json_each(?) asked CROSS JOIN transactions t ON t.revision = ({latest})
LEFT JOIN state s ON s.key = asked.value
""".format(
    latest=_LATEST.format(key="asked.value", below=LAST_REVISION, was_there=_WAS_THERE.format("l"))
)
_NOW: Final = """
SELECT s.key, s.value FROM json_each(?) asked CROSS JOIN state s ON s.key = asked.value
"""
