"""Totals that were counted lately: the next of the same filter looks only at what changed since.

So whoever pages through a search, or leaves it open in a window while others write, has all keys
looked at once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.read import state_query
from signalbox.server.read.state_query import Filter, StateQuery
from signalbox.server.store import log_table
from signalbox.server.store.horizons_table import read_horizons

MAX_FILTERS: Final = 32
MAX_CHANGES: Final = 10_000
MAX_KEYS: Final = 1_000
"""Of more changes, or more changed keys, all keys are counted anew."""


class KnownTotal(NamedTuple):
    """How many keys matched a filter at a revision."""

    revision: int
    total: int

    def updated(self, connection: apsw.Connection, query: StateQuery) -> int | None:
        """How many keys match the filter of `query`, the same, in the connection's snapshot.

        None where that has to be counted: much has changed, or retention has removed what was.
        """
        pattern = query.pattern
        changes = connection.execute(_CHANGED, (self.revision, MAX_CHANGES + 1)).fetchall()
        keys = sorted({str(key) for (key,) in changes})
        if len(changes) > MAX_CHANGES or len(keys) > MAX_KEYS:
            return None
        horizons = read_horizons(connection)
        if horizons.incomplete_prefixes(self.revision, pattern.low, pattern.high):
            return None
        now = log_table.last_revision(connection)
        before, after = (_matching(connection, query, keys, at) for at in (self.revision, now))
        return self.total - before + after


class KnownTotals:
    """The totals of the filters that were asked for last."""

    def __init__(self) -> None:
        """No total is known yet."""
        self._known: OrderedDict[Filter, KnownTotal] = OrderedDict()

    def get(self, wanted: Filter) -> KnownTotal | None:
        """What is known of a filter."""
        return self._known.get(wanted)

    def remember(self, wanted: Filter, total: KnownTotal) -> None:
        """Remember a total, and forget that of the filter that was not asked for for longest."""
        self._known[wanted] = total
        self._known.move_to_end(wanted)
        if len(self._known) > MAX_FILTERS:
            self._known.popitem(last=False)


def _matching(connection: apsw.Connection, query: StateQuery, keys: Sequence[str], at: int) -> int:
    """How many of `keys` matched at a revision, which is complete."""
    conditions, bound = state_query.key_and_value_conditions(query)
    where = " AND ".join([*conditions, state_query.visible(query.pattern)])
    bound |= {"keys": msgspec.json.encode(keys).decode(), "at": at}
    bound |= {"low": query.pattern.low, "high": query.pattern.high}
    return int(connection.execute(_MATCHING.format(where=where), bound).get)


_CHANGED: Final = "SELECT key FROM changes WHERE revision > ? LIMIT ?"
_MATCHING: Final = """
SELECT count(*)
FROM json_each(:keys) asked
CROSS JOIN changes s ON s.key = asked.value AND s.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :at
)
WHERE s.value IS NOT NULL AND s.key >= :low AND s.key < :high AND {where}
"""
