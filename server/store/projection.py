"""The projection: the tables and counts that the writer keeps in step with the event log.

The writer changes it within the commit that appends to the log, and decides commands against it;
what queries ask is in `server/read/`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any, Final, TypeVar

import apsw

from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import (
    RULES_VERSION,
    Entry,
    Transaction,
    net_key_changes,
    version_of,
)
from signalbox.server.model.keys import RULES, after_prefix
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.rules import RuleSet, rules_of
from signalbox.server.store import (
    attempts_table,
    key_counts,
    log_table,
    state_table,
)
from signalbox.server.store.database import Database
from signalbox.server.store.key_counts import KeyCounts
from signalbox.server.store.key_index import KeyIndex
from signalbox.server.store.reader_pool import ReaderPool

Result = TypeVar("Result")
_RAW: Final = attrgetter("raw")


class Projection:
    """`revision` and `index` (how many keys lie where) are those of the last visible commit."""

    def __init__(self, database: Database) -> None:
        """Open the projection of a store. Raises `UnknownVersion` for that of a newer Signalbox."""
        self._writer, self._recent = database.writer, database.recent_items
        # Apart from the connections of queries: while the writer waits, nothing can be written.
        self._readers = ReaderPool(database, threads=1)
        self._readers_ahead = ReaderPool(database, threads=1)
        log_table.check_newest(self._writer)
        self.revision = log_table.last_revision(self._writer)
        self.index = KeyIndex(state_table.keys(self._writer))
        self.rules = rules_of(
            (key, entry.raw) for key, entry in state_table.entries(self._writer, RULES)
        )
        """The rules of the last visible commit."""
        self._uncommitted: tuple[int, list[str], list[str], RuleSet] | None = None
        self._counted = key_counts.last_stored(self._writer)
        self._counted_next = self._counted
        self._changed_keys = key_counts.CHANGED_KEYS_PER_COUNT

    # Within an open commit.

    def apply(
        self,
        transactions: Sequence[Transaction],
        outcomes: Sequence[Outcome],
        added: list[str],
        removed: list[str],
        rules: RuleSet | None = None,
    ) -> None:
        """Write what `transactions` make of the state, and `outcomes` that the log does not hold.

        `added` and `removed` are the keys that exist only after, and only before all of them;
        `rules` are those after, where the caller has them.
        """
        if transactions:
            last = transactions[-1].revision
            has_deletions = any(None in map(_RAW, each.changes) for each in transactions)
            state_table.fold(self._writer, transactions[0].revision - 1, last, has_deletions)
            self._store_counts_if_due(len(added) + len(removed))
            rules = self._rules(transactions) if rules is None else rules
            self._uncommitted = (last, sorted(added), sorted(removed), rules)
        attempts_table.store(self._writer, outcomes)

    def apply_decided(self, transactions: Sequence[Transaction]) -> None:
        """As `apply`, for transactions that were decided elsewhere: of another log or a history."""
        added, removed = net_key_changes(
            transactions, lambda keys: state_table.existing(self._writer, keys)
        )
        self.apply(transactions, (), added, removed)

    def maintain(self, job: Callable[[apsw.Connection], None]) -> None:
        """Run `job`, which changes no state, on the writer's connection."""
        job(self._writer)

    def resolve_unknown(self, outcomes: Sequence[Outcome]) -> None:
        """Replace stored unknown outcomes by what is known now."""
        attempts_table.replace_unknown(self._writer, outcomes)

    # When it has ended.

    def committed(self) -> None:
        """Make the commit, which is on disk, visible to queries."""
        self._make_visible()
        self.index.balance(lambda low, high: state_table.keys(self._writer, low, high))

    def rolled_back(self) -> None:
        """Forget what the failed commit would have changed in the projection."""
        self._uncommitted, self._counted_next = None, self._counted

    def observe(self, revision: int) -> None:
        """A snapshot has this revision: the commit may be on disk before `committed` is called."""
        if revision != self.revision:
            self._make_visible()

    # What commands are decided against, on the writer's own connection.

    def entry(self, key: str) -> Entry | None:
        """The value and revision of a key, as the next command is decided against."""
        if row := self._recent.get(key):
            return Entry(row[1], row[2])
        return state_table.entry(self._writer, key)

    def entries_of(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The entries of those keys that exist, as the next command is decided against."""
        return state_table.entries_of(self._writer, keys)

    def entries(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every key that begins with `prefix`, in order, as the next command is decided against."""
        return state_table.entries(self._writer, prefix)

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key that begins with `prefix`, as `entries` of the projection, without values."""
        return state_table.keys(self._writer, prefix, after_prefix(prefix))

    def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`, by the counts that the projection keeps."""
        counter = state_table.key_counter(self._writer)
        return self.index.count(prefix, after_prefix(prefix), counter)

    def transactions(self, after: int, limit: int) -> list[Transaction]:
        """At most `limit` transactions of the log above revision `after`."""
        return log_table.read(self._writer, after, limit)

    def first_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """The fingerprint and first answer of a command id that is remembered."""
        return attempts_table.first_answer(self._writer, identity)

    def unknown_outcomes(self) -> list[Outcome]:
        """Stored outcomes of attempts of which it is unknown whether they were appended."""
        return attempts_table.unknown_outcomes(self._writer)

    # Of the last commit, also while the writer's connection is in another one.

    def committed_outcome(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """As `first_outcome`, for callers other than the writer."""
        with self._readers.snapshot() as connection:
            return attempts_table.first_answer(connection, identity)

    def in_thread(self, query: Callable[[apsw.Connection], Result]) -> Result:
        """Run the writer's own long query in a native thread, which queries do not use."""
        return self._readers.in_thread(query)

    def ahead_in_thread(self, query: Callable[[apsw.Connection], Result]) -> Result:
        """As `in_thread`, for what the writer does not wait for."""
        return self._readers_ahead.in_thread(query)

    def snapshot(self) -> AbstractContextManager[apsw.Connection]:
        """The last commit, for short queries. Do not wait inside."""
        return self._readers.snapshot()

    def unreadable(self, error: Exception) -> Unavailable:
        """As `OpenFiles.unreadable`: why the projection cannot be read."""
        return self._readers.unreadable(error)

    def counts_for(self, revision: int) -> KeyCounts:
        """How many keys lie where now, to be counted back to `revision`.

        Empty where counts are stored of `revision` or later: then nobody needs these.
        """
        if 0 < self._counted >= revision:
            return KeyCounts(self.revision, KeyIndex(()))
        return KeyCounts(self.revision, self.index.copy(self.index.buckets))

    def close(self) -> None:
        """Close the projection's own connections, which committed outcomes are read with."""
        self._readers_ahead.close()
        self._readers.close()

    def _rules(self, transactions: Sequence[Transaction]) -> RuleSet:
        """The rules after the transactions."""
        rules = self.rules
        for transaction in transactions:
            if version_of(transaction) == RULES_VERSION:
                rules = rules.changed({change.key: change.raw for change in transaction.changes})
        return rules

    def _store_counts_if_due(self, changed_keys: int) -> None:
        """Store key counts of the last commit, once so many keys have changed."""
        if (
            self._changed_keys >= key_counts.CHANGED_KEYS_PER_COUNT
            and self.revision > self._counted
        ):
            key_counts.store_counts(self._writer, KeyCounts(self.revision, self.index))
            self._counted_next, self._changed_keys = self.revision, 0
        self._changed_keys += changed_keys

    def _make_visible(self) -> None:
        """Let queries see the last commit: its revision, and the counts of its keys."""
        if self._uncommitted:
            self.revision, added, removed, self.rules = self._uncommitted
            self._uncommitted, self._counted = None, self._counted_next
            self.index.change(added, removed)
