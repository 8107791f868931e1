"""The state as it is now: keys are counted in memory, items are found in the table of the state."""

from collections.abc import Callable
from typing import Final, TypeVar

import apsw

from signalbox.server.model.keys import AFTER_ALL_KEYS, RESERVED, RESERVED_END, after_prefix
from signalbox.server.read import state_query, tree
from signalbox.server.read.known_totals import KnownTotal, KnownTotals
from signalbox.server.read.state_query import Filter, Item, JsonPage, Page, StateQuery
from signalbox.server.read.state_scan import StateScan
from signalbox.server.read.text_index import TextIndex
from signalbox.server.read.tree import KnownRank
from signalbox.server.store.key_index import KeyIndex
from signalbox.server.store.projection import Projection
from signalbox.server.store.reader_pool import ReaderPool
from signalbox.server.store.recent_items import RecentItems
from signalbox.server.store.state_table import key_counter

Result = TypeVar("Result")


class CurrentView:
    """A `StateView` of the last commit."""

    def __init__(
        self, readers: ReaderPool, projection: Projection, texts: TextIndex, recent: RecentItems
    ) -> None:
        """The view of the last commit; `projection` has its key index, `texts` that of texts."""
        self._readers, self._projection, self._texts = readers, projection, texts
        self._recent = recent
        self._totals = KnownTotals()

    @property
    def revision(self) -> int:
        """The revision of the current state: that of the last visible commit."""
        return self._projection.revision

    def get(self, key: str) -> Item | None:
        """The key's item as of the last commit, None where there is none."""
        if (row := self._recent.get(key)) is None:
            row = self._readers.row(state_query.ITEM, (key,))
            if row[0] is None:
                return None
            self._recent.keep(row)
        elif row[2] > self._projection.revision:
            self._projection.observe(row[2])
        return Item(*row)

    def page(
        self,
        wanted: Filter,
        sort: str = "key",
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        with_total: bool = True,
    ) -> Page:
        """A page of the items that match now; see `StateView.page`."""
        return self._page(StateQuery(wanted, sort, after, offset, limit), with_total)

    def json_page(self, wanted: Filter, sort: str, after: str | None, limit: int) -> JsonPage:
        """The same page of the last commit, its items as JSON."""
        query = StateQuery(wanted, sort, after, 0, limit, as_json=True)
        if query.is_indexed and sort == "key":
            with self._readers.snapshot() as connection:
                if found := state_query.json_items(connection, query):
                    total = self._count(connection, query, query.pattern.high)
                    return JsonPage(self.revision, total, *found)
        return JsonPage.of(self._page(query, with_total=True))

    def _page(self, query: StateQuery, with_total: bool) -> Page:
        """The page of a query now."""
        if not query.is_indexed:
            page = self._scan(query, lambda scan: scan.page(with_total))
            if with_total:
                self._totals.remember(query.filter, KnownTotal(page.revision, page.total))
            return page
        with self._readers.snapshot() as connection:
            total = self._count(connection, query, query.pattern.high) if with_total else -1
            items, more = state_query.items(connection, query, *self._start(connection, query))
        return Page(self.revision, total, items, query.cursor(items[-1]) if more else None)

    def position(self, wanted: Filter, key: str) -> int | None:
        """How many matching keys sort before `key` now; None where every key must be looked at."""
        query = StateQuery.of(wanted)
        if not query.is_indexed:
            return None
        with self._readers.snapshot() as connection:
            return self._count(connection, query, max(query.pattern.low, key))

    def count(self, wanted: Filter) -> int:
        """How many keys match now, exactly."""
        query = StateQuery.of(wanted)
        if not query.is_indexed:
            return self._scan(query, StateScan.count)
        with self._readers.snapshot() as connection:
            return self._count(connection, query, query.pattern.high)

    def keys(self) -> int:
        """How many keys there are now, the app's own settings left out."""
        return self.count(Filter())

    def tree(self, prefix: str = "", after: str | None = None, limit: int = 100) -> tree.Tree:
        """The next segments below `prefix` now; see `StateView.tree`."""
        with self._readers.snapshot() as connection:
            total = self._count_visible(connection, prefix, after_prefix(prefix))
            keys = _CurrentTreeKeys(connection, self._projection.index, prefix)
            children, following = tree.children(keys, prefix, after, limit)
        return tree.Tree(self.revision, total, children, following)

    def _scan(self, query: StateQuery, ask: Callable[[StateScan], Result]) -> Result:
        """Look at keys one by one, in a native thread."""
        blocks = self._texts.blocks() if query.search else None
        known = self._totals.get(query.filter)
        return self._readers.in_thread(
            lambda connection: ask(StateScan(connection, query, blocks, known))
        )

    def _count(self, connection: apsw.Connection, query: StateQuery, high: str) -> int:
        """How many keys of the query's range sort before `high`."""
        pattern = query.pattern
        if pattern.shows_reserved:
            return self._projection.index.count(pattern.low, high, key_counter(connection))
        return self._count_visible(connection, pattern.low, high)

    def _count_visible(self, connection: apsw.Connection, low: str, high: str) -> int:
        """How many keys lie in [low, high), the app's own left out unless all of them are."""
        index, counter = self._projection.index, key_counter(connection)
        hidden_low, hidden_high = max(low, RESERVED), min(high, RESERVED_END)
        hidden = 0
        if hidden_low < hidden_high and not low.startswith(RESERVED):
            hidden = index.count(hidden_low, hidden_high, counter)
        return index.count(low, high, counter) - hidden

    def _start(self, connection: apsw.Connection, query: StateQuery) -> tuple[str, int]:
        """The key from which SQL reads the page, and how many matches it skips from there."""
        if not query.offset or query.sort != "key":
            return query.low, query.offset
        index, counter = self._projection.index, key_counter(connection)
        rank = index.rank(query.low, counter) + query.offset
        crosses_hidden = not query.pattern.shows_reserved and query.low <= RESERVED
        if crosses_hidden and rank >= index.rank(RESERVED, counter):
            rank += index.count(RESERVED, RESERVED_END, counter)
        first, skip = index.at(rank)
        return connection.execute(_NTH, (first, skip)).get or AFTER_ALL_KEYS, 0


class _CurrentTreeKeys:
    """The keys of the tree of the last commit; see `tree.SortedKeys`. Ranks are those among the
    keys that are visible below the prefix.
    """

    def __init__(self, connection: apsw.Connection, index: KeyIndex, prefix: str) -> None:
        """The keys now below `prefix`, counted by the key `index`."""
        self._connection, self._index = connection, index
        self._counter = key_counter(connection)
        hides = not prefix.startswith(RESERVED)
        self._hidden = index.count(RESERVED, RESERVED_END, self._counter) if hides else 0

    def first(self, low: str, high: str) -> str | None:
        """The first key in [low, high) of the current state."""
        key: str | None = self._connection.execute(_FIRST, (low, high)).get
        return key

    def exists(self, key: str) -> bool:
        """Whether the current state has the key."""
        return self.first(key, key + "\0") is not None

    def rank(self, key: str, near: KnownRank | None) -> int:
        """How many visible keys sort before `key`, by the index of all keys."""
        known = (near[0], near[1] + self._hidden_before(near[0])) if near else None
        return self._index.rank(key, self._counter, known) - self._hidden_before(key)

    def _hidden_before(self, key: str) -> int:
        """How many of the app's own keys, which are hidden, sort before `key`."""
        return self._hidden if key >= RESERVED_END else 0


_FIRST: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1"
_NTH: Final = "SELECT key FROM state WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?"
