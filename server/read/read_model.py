"""The read model: the state in SQLite tables, and every question that queries ask of it.

Fast questions are answered where the caller runs, from one snapshot; those that must look at every
key go to a native thread with a connection of its own, while the calling greenlet waits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import apsw

from signalbox.server.model import horizons, reversal
from signalbox.server.model.commands import HistoryCommand
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Entry, Transaction, net_keys
from signalbox.server.model.keys import LAST, after_prefix, compile_pattern
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read import search, tree
from signalbox.server.read.as_of import Past
from signalbox.server.read.current import Present
from signalbox.server.read.log_queries import LogQueries
from signalbox.server.read.readers import UNREADABLE, Readers
from signalbox.server.read.reversal_log import SqlReversalLog
from signalbox.server.read.search import Filter, Item, Page
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store import attempts, log, state
from signalbox.server.store.database import Database

Result = TypeVar("Result")

SNAPSHOT_ITEMS: Final = 500


class ReadModel(LogQueries):
    """Derived from the event log; written only by the writer, within the log's commit."""

    def __init__(self, database: Database) -> None:
        self._writer = database.writer
        self._readers = Readers(database)
        self._for_writer = Readers(database, threads=1)
        self._held: list[int] = []
        self.store = database.meta("store") or ""
        log.check_newest(self._writer)
        self._present = Present(self._writer, log.last_revision(self._writer))
        super().__init__()
        self._past = Past(self._readers, self._present.counted)

    @property
    def revision(self) -> int:
        """The last transaction's that queries see."""
        return self._present.revision

    # Written by the writer.

    def apply(
        self,
        transactions: Sequence[Transaction],
        kept: Sequence[Outcome],
        added: list[str],
        removed: list[str],
    ) -> None:
        """Write what `transactions` make of the state, within the open commit.

        `added` and `removed` are the keys that come and go with all of them together.
        """
        if transactions:
            last = transactions[-1].revision
            has_deletions = any(raw is None for t in transactions for _, raw, _ in t.changes)
            state.fold(self._writer, transactions[0].revision - 1, last, has_deletions)
            self._present.announce(last, added, removed)
        attempts.keep(self._writer, kept)

    def absorb(self, transactions: Sequence[Transaction]) -> None:
        """As `apply`, for transactions of another log, as they are."""
        added, removed = net_keys(transactions, lambda keys: state.existing(self._writer, keys))
        self.apply(transactions, (), added, removed)

    def maintain(self, job: Callable[[apsw.Connection], None]) -> None:
        """Do `job` on the writer's connection, within the open commit."""
        job(self._writer)

    def committed(self) -> None:
        """The commit is on disk: queries may be answered from it."""
        self._present.settle()
        self._present.balance()

    def abandoned(self) -> None:
        """The commit failed: forget what it would have changed."""
        self._present.abandon()

    def entry(self, key: str) -> Entry | None:
        """What the writer decides against: the state on its own connection."""
        return state.entry(self._writer, key)

    def entries_of(self, keys: Sequence[str]) -> dict[str, Entry]:
        """As `entry`, for those of many keys that exist."""
        return state.entries_of(self._writer, keys)

    def entries(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """As `entry`, for every key that begins with `prefix`, in key order."""
        return state.entries(self._writer, prefix)

    def below(self, prefix: str) -> int:
        """How many keys begin with `prefix`."""
        return self._present.visible(self._writer, prefix, after_prefix(prefix))

    def reversal(
        self, command: HistoryCommand, actor: str, listed: int, dry_run: bool
    ) -> reversal.Reversal:
        """As `reversal.decide`, by the last commit."""
        # Not by those who answer queries: nobody may write meanwhile.
        return self._for_writer.in_thread(
            lambda connection: reversal.decide(
                SqlReversalLog(connection), command, actor, listed, dry_run
            )
        )

    def settle(self, known: Sequence[Outcome]) -> None:
        """Write outcomes that were promised, within the open commit."""
        attempts.settle(self._writer, known)

    def unknown_outcomes(self) -> list[Outcome]:
        """Kept outcomes of attempts of which it was not known what became of them."""
        return attempts.unknown_outcomes(self._writer)

    def first_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """The fingerprint and first answer of a command id that is remembered."""
        return attempts.find(self._writer, identity)

    def committed_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """As `first_outcome`, for those that are not the writer, which may be at work."""
        with self.snapshot() as connection:
            return attempts.find(connection, identity)

    # Asked by queries; of a revision `at`, None for now.

    def get(self, key: str, at: int | None = None) -> Item | None:
        """The key's item, None where it does not exist. Raises `Compacted`."""
        if at is not None:
            item, compacted = self._past.item(key, at)
            if compacted:
                raise horizons.compacted_error(compacted, at)
            return item
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
        at: int | None = None,
    ) -> Page:
        """`limit` matching items behind the cursor `after`, or from `offset` on.

        `sort` is "key" or "changed" (last change first). Raises `Invalid` for an unusable filter or
        cursor.
        """
        question = search.StateQuery(wanted, sort, after, offset, limit)
        if at is not None:
            return self._past.page(question, at, with_total)
        if not question.is_indexed:
            return self.in_thread(
                lambda connection: self._scanned(connection, question, with_total)
            )
        with self.snapshot() as connection:
            high = question.pattern.high
            total = self._present.count(connection, question, high) if with_total else -1
            start = self._present.start(connection, question)
            items, more = search.items(connection, question, *start)
        return Page(self.revision, total, items, question.cursor(items[-1]) if more else None)

    def position(self, wanted: Filter, key: str, at: int | None = None) -> int | None:
        """How many matching keys sort before `key`; None where that takes looking at every key."""
        question = search.StateQuery(wanted, "key", None, 0, 0)
        if not question.is_indexed:
            return None
        if at is not None:
            return self._past.position(question, key, at)
        with self.snapshot() as connection:
            return self._present.count(connection, question, max(question.pattern.low, key))

    def count(self, wanted: Filter, at: int | None = None) -> int:
        """How many keys match, exactly."""
        question = search.StateQuery(wanted, "key", None, 0, 0)
        if at is not None:
            return self._past.count(question, at)
        if not question.is_indexed:
            return self.in_thread(lambda connection: search.count(connection, question))
        with self.snapshot() as connection:
            return self._present.count(connection, question, question.pattern.high)

    def tree(
        self, prefix: str = "", after: str | None = None, limit: int = 100, at: int | None = None
    ) -> tree.Tree:
        """The next segments below `prefix`, in segment order, with exact numbers of keys."""
        if at is not None:
            return self._past.tree(prefix, after, limit, at)
        with self.snapshot() as connection:
            total = self._present.visible(connection, prefix, after_prefix(prefix))
            keys = self._present.keys(connection, prefix)
            children, following = tree.children(keys, prefix, after, limit)
        return tree.Tree(self.revision, total, children, following)

    def keys(self, at: int | None = None) -> int:
        """How many keys there are, the app's own settings left out."""
        if at is not None:
            return self.count(Filter(), at)
        with self.snapshot() as connection:
            return self._present.visible(connection, "", LAST)

    def pages_at(self, match: str, at: int) -> Iterator[list[Item]]:
        """Every item that matches at a revision, page by page. Holds that revision meanwhile."""
        with self.holding(at):
            yield from self._past.pages(match, at)

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
            rows = list(attempts.listed(connection, actor, status, before, limit + 1, without))
            position = rows[limit - 1][0] if len(rows) > limit else None
            return [record for _, record in rows[:limit]], position

        if actor or without:
            return self.in_thread(find)
        with self.snapshot() as connection:
            return find(connection)

    def attempt(self, identity: str) -> dict[str, Any] | None:
        """The record of one remembered attempt."""
        with self.snapshot() as connection:
            return attempts.one(connection, identity)

    def transactions(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions above revision `after`, as streams resume with."""
        with self.snapshot() as connection:
            return log.read(connection, after, limit)

    def checksums(self, first: int, last: int) -> dict[int, int]:
        """As `log.checksums`."""
        with self.snapshot() as connection:
            return log.checksums(connection, first, last)

    def snapshot_pages(
        self, revision: int, match: str, limit: int = SNAPSHOT_ITEMS
    ) -> Iterator[list[Item]]:
        """All items that match as they were at `revision`, page by page, nothing held between.

        Others get a turn between two pages, however fast these are taken.
        """
        with self.holding(revision):
            page, after = self._page_at(revision, match, None, limit)
            while after is not None:
                if page:
                    yield page
                yield_to_hub()
                page, after = self._page_at(revision, match, after, limit)
            if page:
                yield page

    @contextmanager
    def holding(self, revision: int) -> Iterator[None]:
        """Let retention remove nothing meanwhile that this revision needs."""
        self._held.append(revision)
        try:
            yield
        finally:
            self._held.remove(revision)

    def held(self) -> int:
        """The lowest revision that somebody is reading, for whom nothing may go."""
        return min(self._held, default=horizons.LAST_REVISION)

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
        """One consistent view, equal to `revision` and to the index. Do not wait inside.

        Raises `Unavailable` where the store cannot be read.
        """
        connection, revision = self._readers.begin()
        if revision != self.revision:
            self._present.settle()
        try:
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
        except UNREADABLE as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> Unavailable:
        """As `OpenFiles.unreadable`."""
        return self._readers.unreadable(error)

    def in_thread(self, question: Callable[[apsw.Connection], Result]) -> Result:
        """Answer from a snapshot of its own in a native thread; only the caller waits."""
        return self._readers.in_thread(question)

    def close(self) -> None:
        self._readers.close()
        self._for_writer.close()

    def _scanned(
        self, connection: apsw.Connection, question: search.StateQuery, with_total: bool
    ) -> Page:
        items, more = search.items(connection, question, question.low, question.offset)
        total = -1
        if with_total:
            is_whole = question.is_first and not more
            total = len(items) if is_whole else search.count(connection, question)
        following = question.cursor(items[-1]) if more else None
        return Page(log.last_revision(connection), total, items, following)
