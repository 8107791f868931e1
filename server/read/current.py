"""The keys as they are: counted in memory, found in the table of the state."""

from collections.abc import Iterator
from typing import Final

import apsw

from signalbox.server.model.keys import LAST, RESERVED, RESERVED_END
from signalbox.server.read.search import StateQuery
from signalbox.server.read.tree import Known
from signalbox.server.store import key_counts
from signalbox.server.store.key_counts import KeyCounts
from signalbox.server.store.key_index import CountRange, KeyIndex


class Present:
    """Follows what the writer commits; every answer is of the last commit that was settled."""

    def __init__(self, writer: apsw.Connection, revision: int) -> None:
        self._writer = writer
        self.revision = revision
        self._index = KeyIndex(
            key for (key,) in writer.execute("SELECT key FROM state ORDER BY key")
        )
        self._pending: tuple[int, list[str], list[str]] | None = None
        self._kept = int(writer.execute("SELECT ifnull(max(revision), 0) FROM key_counts").get or 0)
        self._keeps = self._kept
        self._uncounted = key_counts.EVERY

    # Written by the writer.

    def announce(self, revision: int, added: list[str], removed: list[str]) -> None:
        """What the open commit will make of the keys; every so often, keep how many lay where."""
        if self._uncounted >= key_counts.EVERY and self.revision > self._kept:
            key_counts.keep(self._writer, KeyCounts(self.revision, self._index))
            self._keeps, self._uncounted = self.revision, 0
        self._uncounted += len(added) + len(removed)
        self._pending = (revision, sorted(added), sorted(removed))

    def settle(self) -> None:
        """The commit is there."""
        if self._pending:
            self.revision, added, removed = self._pending
            self._pending, self._kept = None, self._keeps
            self._index.change(added, removed)

    def balance(self) -> None:
        self._index.balance(self._list_keys)

    def abandon(self) -> None:
        """The commit failed: forget what it would have changed."""
        self._pending, self._keeps = None, self._kept

    # Asked by queries.

    def counted(self, revision: int) -> KeyCounts:
        """How many keys lie where, at a revision not below this one; empty where that is kept."""
        if revision <= self._kept and self._kept:
            return KeyCounts(self.revision, KeyIndex(()))
        return KeyCounts(self.revision, self._index.copy(self._index.buckets))

    def visible(self, connection: apsw.Connection, low: str, high: str) -> int:
        """How many keys lie in [low, high), the app's own left out unless asked for."""
        count = counter(connection)
        hidden_low, hidden_high = max(low, RESERVED), min(high, RESERVED_END)
        hidden = (
            self._index.count(hidden_low, hidden_high, count) if hidden_low < hidden_high else 0
        )
        if low.startswith(RESERVED):
            hidden = 0
        return self._index.count(low, high, count) - hidden

    def count(self, connection: apsw.Connection, question: StateQuery, high: str) -> int:
        """How many keys of the question's range sort before `high`."""
        pattern = question.pattern
        if pattern.shows_reserved:
            return self._index.count(pattern.low, high, counter(connection))
        return self.visible(connection, pattern.low, high)

    def start(self, connection: apsw.Connection, question: StateQuery) -> tuple[str, int]:
        """Where SQL begins to read: a key, and how many matches to skip from there."""
        if not question.offset or question.sort != "key":
            return question.low, question.offset
        count = counter(connection)
        rank = self._index.rank(question.low, count) + question.offset
        crosses_hidden = not question.pattern.shows_reserved and question.low <= RESERVED
        if crosses_hidden and rank >= self._index.rank(RESERVED, count):
            rank += self._index.count(RESERVED, RESERVED_END, count)
        first, skip = self._index.at(rank)
        found = connection.execute(
            "SELECT key FROM state WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?", (first, skip)
        ).get
        return found or LAST, 0

    def keys(self, connection: apsw.Connection, prefix: str) -> "KeysNow":
        """The keys below `prefix`, as a tree is made of them."""
        return KeysNow(connection, self._index, prefix)

    def _list_keys(self, low: str, high: str) -> Iterator[str]:
        for (key,) in self._writer.execute(
            "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key", (low, high)
        ):
            yield key


class KeysNow:
    """See `tree.Keys`. Ranks are those among the keys that are visible below the prefix."""

    def __init__(self, connection: apsw.Connection, index: KeyIndex, prefix: str) -> None:
        self._connection, self._index = connection, index
        self._count = counter(connection)
        hides = not prefix.startswith(RESERVED)
        self._hidden = index.count(RESERVED, RESERVED_END, self._count) if hides else 0

    def first(self, low: str, high: str) -> str | None:
        found: str | None = self._connection.execute(_FIRST, (low, high)).get
        return found

    def exists(self, key: str) -> bool:
        return self.first(key, key + "\0") is not None

    def rank(self, key: str, near: Known | None) -> int:
        known = (near[0], near[1] + self._before(near[0])) if near else None
        return self._index.rank(key, self._count, known) - self._before(key)

    def _before(self, key: str) -> int:
        return self._hidden if key >= RESERVED_END else 0


def counter(connection: apsw.Connection) -> CountRange:
    """Counts keys by looking at them."""

    def count(low: str, high: str) -> int:
        return int(connection.execute(_COUNT, (low, high)).get)

    return count


_FIRST: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1"
_COUNT: Final = "SELECT count(*) FROM state WHERE key >= ? AND key < ?"
