"""Queries of the current state that have to look at keys one by one: pages, totals and counts.

They look at every key once, except where an index of texts says that a block of keys is not it.
"""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from signalbox.server.model.horizons import without_reserved
from signalbox.server.read import state_query
from signalbox.server.read.known_totals import KnownTotal
from signalbox.server.read.state_query import Item, Page, StateQuery, as_item, taken
from signalbox.server.read.text_blocks import ALL_KEYS, Candidates, TextBlocks
from signalbox.server.store import log_table

MAX_SORTED: Final = 20_000
"""So many matches are sorted by their last change; of more the changes are walked backwards."""


class StateScan:
    """One query, read with one connection within one snapshot."""

    def __init__(
        self,
        connection: apsw.Connection,
        query: StateQuery,
        blocks: TextBlocks | None = None,
        known: KnownTotal | None = None,
    ) -> None:
        """Scan for a query; `blocks` say which keys can contain the text that it searches for,
        `known` how many keys matched its filter before.
        """
        self._connection, self._query, self._known = connection, query, known
        pattern = query.pattern
        parts = [(pattern.low, pattern.high)]
        if not pattern.shows_reserved:
            parts = without_reserved(parts)
        candidates: Candidates = ALL_KEYS
        if query.search and blocks:
            candidates = blocks.candidates(connection, query.search)
        self._candidates = [each for low, high in parts for each in _between(candidates, low, high)]

    def page(self, with_total: bool) -> Page:
        """The query's page, with its total if that is wanted."""
        query, total = self._query, -1
        if query.sort == "changed":
            found, more, total = self._page_by_change(with_total)
        else:
            found, more = self._page_by_key()
            if with_total:
                total = self._total(found, more)
        following = query.cursor(found[-1]) if more else None
        return Page(log_table.last_revision(self._connection), total, found, following)

    def count(self) -> int:
        """How many keys match, wherever the query's page begins."""
        return self._count(self._candidates)

    def _page_by_key(self) -> tuple[list[Item], bool]:
        """The items of the page in key order, and whether there are more."""
        query = self._query
        bound = {"limit": query.limit + 1, "skip": query.offset}
        within = _between(self._candidates, query.low, query.high)
        return taken(map(as_item, self._select(_PAGE, within, bound)), query.limit)

    def _total(self, found: list[Item], more: bool) -> int:
        """How many keys match, if `found` is the page in key order: only others are counted."""
        query = self._query
        is_first = query.low == query.pattern.low and not query.offset
        if is_first and not more:
            return len(found)
        if (updated := self._updated_total()) is not None:
            return updated
        before = self._count(_between(self._candidates, query.pattern.low, query.low))
        if not found:
            return before + self._count(_between(self._candidates, query.low, query.high))
        rest = _between(self._candidates, found[-1].key + "\0", query.high) if more else []
        return before + query.offset + len(found) + self._count(rest)

    def _updated_total(self) -> int | None:
        """How many keys match, where that is known from what has changed since a count."""
        return self._known.updated(self._connection, self._query) if self._known else None

    def _page_by_change(self, with_total: bool) -> tuple[list[Item], bool, int]:
        """The items of the page by last change, whether there are more, and the total.

        A few matches are found in key order and sorted. Of many the first ones are soon found by
        walking the keys by their last change, which takes longer for each key.
        """
        query = self._query
        total = self._updated_total()
        if total is None or total <= MAX_SORTED:
            bound = {"limit": MAX_SORTED + 1, "skip": 0}
            matches = self._select(_MATCHES, self._candidates, bound)
            places = [(int(revision), str(key)) for revision, key in matches]
            if len(places) <= MAX_SORTED:
                return *self._sorted_page(places), len(places)
            rest = _between(self._candidates, places[-1][1] + "\0", query.high)
            total = len(places) + self._count(rest) if with_total else -1
        return *state_query.items(self._connection, query, query.low, query.offset), total

    def _sorted_page(self, places: list[tuple[int, str]]) -> tuple[list[Item], bool]:
        """The items of the page, and whether there are more, of the matches by their revisions."""
        query = self._query
        places.sort(reverse=True)
        keys = [key for place, key in places if not query.before or (place, key) < query.before]
        asked = msgspec.json.encode(keys[query.offset : query.offset + query.limit + 1]).decode()
        rows = self._connection.execute(_OF_KEYS.format(columns=query.columns), (asked,))
        return taken(map(as_item, rows), query.limit)

    def _count(self, candidates: Candidates) -> int:
        """How many keys of some candidates match."""
        ((number,),) = self._select(_COUNT, candidates, {}) if candidates else ((0,),)
        return int(number)

    def _select(
        self, sql: str, candidates: Candidates, bound: dict[str, Any]
    ) -> Sequence[tuple[Any, ...]] | apsw.Cursor:
        """The rows of the matching keys among candidates, in key order."""
        conditions, values = state_query.key_and_value_conditions(self._query, "r.beyond_ascii")
        bound |= values | {"ranges": msgspec.json.encode(candidates).decode()}
        where = " AND ".join(["TRUE", *conditions])
        return self._connection.execute(
            _RANGES + sql.format(where=where, columns=self._query.columns), bound
        )


def _between(candidates: Candidates, low: str, high: str) -> Candidates:
    """Those parts of candidates that lie in [low, high)."""
    return [
        (max(start, low), min(end, high), beyond_ascii)
        for start, end, beyond_ascii in candidates
        if max(start, low) < min(end, high)
    ]


_RANGES: Final = """
WITH ranges AS MATERIALIZED (
    SELECT value ->> 0 AS low, value ->> 1 AS high, value ->> 2 AS beyond_ascii
    FROM json_each(:ranges)
)
"""
_KEYS: Final = """
FROM ranges r CROSS JOIN state s ON s.key >= r.low AND s.key < r.high
"""
"""In key order, since the ranges are."""
_PAGE: Final = (
    "SELECT {columns}"
    + _KEYS
    + "LEFT JOIN transactions t ON t.revision = s.revision "
    + "WHERE {where} LIMIT :limit OFFSET :skip"
)
_MATCHES: Final = "SELECT s.revision, s.key" + _KEYS + "WHERE {where} LIMIT :limit OFFSET :skip"
_COUNT: Final = "SELECT count(*)" + _KEYS + "WHERE {where}"
_OF_KEYS: Final = """
SELECT {columns}
FROM json_each(?) asked CROSS JOIN state s ON s.key = asked.value
LEFT JOIN transactions t ON t.revision = s.revision
"""
