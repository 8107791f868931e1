"""The read model: the state in SQLite tables, and every question that queries ask of it.

Fast questions are answered where the caller runs, from one snapshot; those that must look at every
key go to a native thread with a connection of its own, while the calling greenlet waits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple, TypeVar

import apsw
import gevent

from server import log, outcomes, search, state, tree
from server.database import Database
from server.decide import Entry
from server.events import Transaction
from server.index import KeyIndex
from server.keys import LAST, RESERVED, RESERVED_END, after_prefix, compile_pattern
from server.outcomes import Outcome
from server.readers import Readers
from server.search import Filter, Item
from server.tree import Known, Rank

Result = TypeVar("Result")

SNAPSHOT_ITEMS: Final = 500
HIGHEST: Final = 2


class Page(NamedTuple):
    """`total` counts every match, -1 where not asked for; `next` continues behind `items`."""

    revision: int
    total: int
    items: list[Item]
    next: str | None


class ReadModel:
    """Derived from the event log; written only by the writer, within the log's commit."""

    def __init__(self, database: Database, replicates_log: bool = False) -> None:
        self._writer = database.writer
        self._replicates_log = replicates_log
        self._readers = Readers(database)
        self._pending: tuple[int, list[str], list[str]] | None = None
        self.store = database.meta("store") or ""
        log.check_newest(self._writer)
        self.revision = log.last_revision(self._writer)
        self._index = KeyIndex(
            key for (key,) in self._writer.execute("SELECT key FROM state ORDER BY key")
        )

    # Written by the writer.

    def apply(
        self,
        transactions: Sequence[Transaction],
        kept: Sequence[Outcome],
        added: list[str],
        removed: list[str],
    ) -> None:
        """Write what `transactions` make of the state, within the open commit if the log has one.

        `added` and `removed` are the keys that come and go with all of them together.
        """
        with _transaction(self._writer) if self._replicates_log else nullcontext():
            if self._replicates_log and transactions:
                log.insert(self._writer, transactions)
            if transactions:
                state.fold(self._writer, transactions[0].revision - 1, transactions[-1].revision)
                self._pending = (transactions[-1].revision, sorted(added), sorted(removed))
            outcomes.keep(self._writer, kept)

    def committed(self) -> None:
        """The commit is on disk: queries may be answered from it."""
        if self._pending:
            self._settle()
        self._index.balance(self._list_keys)

    def abandoned(self) -> None:
        """The commit failed: forget what it would have changed."""
        self._pending = None

    def entry(self, key: str) -> Entry | None:
        """What the writer decides against: the state on its own connection."""
        return state.entry(self._writer, key)

    def entries_of(self, keys: Sequence[str]) -> dict[str, Entry]:
        """As `entry`, for those of many keys that exist."""
        return state.entries_of(self._writer, keys)

    def entries(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """As `entry`, for every key that begins with `prefix`, in key order."""
        return state.entries(self._writer, prefix)

    def first_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """The fingerprint and first answer of a command id that is remembered."""
        return outcomes.find(self._writer, identity)

    # Asked by queries.

    def get(self, key: str) -> Item | None:
        """The key's item, None where it does not exist."""
        with self.snapshot() as connection:
            return search.item(connection, key)

    def page(
        self,
        wanted: Filter,
        sort: str = "key",
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        with_total: bool = True,
    ) -> Page:
        """`limit` matching items behind the cursor `after`, or from `offset` on.

        `sort` is "key" or "changed" (last change first). Raises `Invalid` for an unusable filter or
        cursor.
        """
        question = search.Question(wanted, sort, after, offset, limit)
        if not question.is_indexed:
            return self.in_thread(
                lambda connection: self._scanned(connection, question, with_total)
            )
        with self.snapshot() as connection:
            total = self._count_range(connection, question) if with_total else -1
            items, more = search.items(connection, question, *self._start(connection, question))
        return Page(self.revision, total, items, question.cursor(items[-1]) if more else None)

    def position(self, wanted: Filter, key: str) -> int | None:
        """How many matching keys sort before `key`; None where that takes looking at every key."""
        question = search.Question(wanted, "key", None, 0, 0)
        if not question.is_indexed:
            return None
        with self.snapshot() as connection:
            low = question.pattern.low
            if question.pattern.shows_reserved:
                return self._index.count(low, max(low, key), _counter(connection))
            return self._visible(connection, low, max(low, key))

    def count(self, wanted: Filter) -> int:
        """How many keys match, exactly."""
        question = search.Question(wanted, "key", None, 0, 0)
        if not question.is_indexed:
            return self.in_thread(lambda connection: search.count(connection, question))
        with self.snapshot() as connection:
            return self._count_range(connection, question)

    def tree(self, prefix: str = "", after: str | None = None, limit: int = 100) -> tree.Tree:
        """The next segments below `prefix`, in segment order, with exact numbers of keys."""
        with self.snapshot() as connection:
            total = self._visible(connection, prefix, after_prefix(prefix))
            children = tree.children(
                connection, self._ranker(connection, prefix), prefix, after, limit + 1
            )
        more = len(children) > limit
        children = children[:limit]
        return tree.Tree(self.revision, total, children, children[-1].segment if more else None)

    def keys(self) -> int:
        """How many keys there are, the app's own settings left out."""
        with self.snapshot() as connection:
            return self._visible(connection, "", LAST)

    def attempts(
        self,
        actor: str | None = None,
        status: str | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 100,
        without: str | None = None,
    ) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
        """Records of attempts, newest first; the last one's position where there are more.

        All of them, or only those of `actor`, or all but those of `without`.
        """

        def find(
            connection: apsw.Connection,
        ) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
            rows = list(outcomes.listed(connection, actor, status, before, limit + 1, without))
            position = rows[limit - 1][0] if len(rows) > limit else None
            return [record for _, record in rows[:limit]], position

        if actor or without:
            return self.in_thread(find)
        with self.snapshot() as connection:
            return find(connection)

    def attempt(self, identity: str) -> dict[str, Any] | None:
        """The record of one remembered attempt."""
        with self.snapshot() as connection:
            return outcomes.one(connection, identity)

    def transactions(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, as streams resume with."""
        with self.snapshot() as connection:
            return log.read(connection, after, limit)

    def snapshot_pages(
        self, revision: int, match: str, limit: int = SNAPSHOT_ITEMS
    ) -> Iterator[list[Item]]:
        """All items that match as they were at `revision`, page by page, nothing held between.

        Others get a turn between two pages, however fast these are taken.
        """
        page, after = self._page_at(revision, match, None, limit)
        while after is not None:
            if page:
                yield page
            gevent.idle(priority=HIGHEST)
            page, after = self._page_at(revision, match, after, limit)
        if page:
            yield page

    def _page_at(
        self, revision: int, match: str, after: str | None, limit: int
    ) -> tuple[list[Item], str | None]:
        def ask(connection: apsw.Connection) -> tuple[list[Item], str | None]:
            return search.items_at(connection, revision, match, after, limit)

        if compile_pattern(match).is_range:
            with self.snapshot() as connection:
                if search.changed_little(connection, revision):
                    return ask(connection)
        return self.in_thread(ask)

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """One consistent view, equal to `revision` and to the index. Do not wait inside."""
        connection, revision = self._readers.begin()
        if revision != self.revision:
            self._settle()
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    def in_thread(self, question: Callable[[apsw.Connection], Result]) -> Result:
        """Answer from a snapshot of its own in a native thread; only the caller waits."""
        return self._readers.in_thread(question)

    def close(self) -> None:
        self._readers.close()

    def _scanned(
        self, connection: apsw.Connection, question: search.Question, with_total: bool
    ) -> Page:
        items, more = search.items(connection, question, question.low, question.offset)
        total = -1
        if with_total:
            is_whole = question.is_first and not more
            total = len(items) if is_whole else search.count(connection, question)
        following = question.cursor(items[-1]) if more else None
        return Page(log.last_revision(connection), total, items, following)

    def _start(self, connection: apsw.Connection, question: search.Question) -> tuple[str, int]:
        """Where SQL begins to read: a key, and how many matches to skip from there."""
        if not question.offset or question.sort != "key":
            return question.low, question.offset
        count = _counter(connection)
        rank = self._index.rank(question.low, count) + question.offset
        crosses_hidden = not question.pattern.shows_reserved and question.low <= RESERVED
        if crosses_hidden and rank >= self._index.rank(RESERVED, count):
            rank += self._index.count(RESERVED, RESERVED_END, count)
        first, skip = self._index.at(rank)
        found = connection.execute(
            "SELECT key FROM state WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?", (first, skip)
        ).get
        return found or LAST, 0

    def _count_range(self, connection: apsw.Connection, question: search.Question) -> int:
        pattern = question.pattern
        if pattern.shows_reserved:
            return self._index.count(pattern.low, pattern.high, _counter(connection))
        return self._visible(connection, pattern.low, pattern.high)

    def _visible(self, connection: apsw.Connection, low: str, high: str) -> int:
        count = _counter(connection)
        hidden_low, hidden_high = max(low, RESERVED), min(high, RESERVED_END)
        hidden = (
            self._index.count(hidden_low, hidden_high, count) if hidden_low < hidden_high else 0
        )
        if low.startswith(RESERVED):
            hidden = 0
        return self._index.count(low, high, count) - hidden

    def _ranker(self, connection: apsw.Connection, prefix: str) -> Rank:
        """Ranks among the keys that are visible below `prefix`."""
        count = _counter(connection)
        hides = not prefix.startswith(RESERVED)
        hidden = self._index.count(RESERVED, RESERVED_END, count) if hides else 0

        def before(key: str) -> int:
            return hidden if key >= RESERVED_END else 0

        def rank(key: str, near: Known | None) -> int:
            known = (near[0], near[1] + before(near[0])) if near else None
            return self._index.rank(key, count, known) - before(key)

        return rank

    def _settle(self) -> None:
        if self._pending:
            self.revision, added, removed = self._pending
            self._pending = None
            self._index.change(added, removed)

    def _list_keys(self, low: str, high: str) -> Iterator[str]:
        for (key,) in self._writer.execute(
            "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key", (low, high)
        ):
            yield key


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    """All or nothing. apsw's own `with` keeps the interpreter lock while it waits for readers, who
    may need it for a function of ours.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _counter(connection: apsw.Connection) -> Callable[[str, str], int]:
    def count(low: str, high: str) -> int:
        return int(
            connection.execute(
                "SELECT count(*) FROM state WHERE key >= ? AND key < ?", (low, high)
            ).get
        )

    return count
