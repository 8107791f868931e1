"""The read model: everything that queries may ask of the store, from consistent snapshots.

Short queries are answered where the caller runs; those that must look at every key run in a native
thread with a connection of its own, while the calling greenlet waits.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

import apsw

from signalbox.server.read.current_state import CurrentView
from signalbox.server.read.held_revisions import HeldRevisions
from signalbox.server.read.log_pages import LogPages
from signalbox.server.read.log_queries import LogQueries
from signalbox.server.read.rule_queries import RuleQueries
from signalbox.server.read.shared_pages import SharedPages
from signalbox.server.read.snapshot_pages import Snapshots
from signalbox.server.read.state_as_of import AsOfView, KeySets
from signalbox.server.read.state_view import StateView
from signalbox.server.read.text_index import TextIndex
from signalbox.server.runtime.scheduling import Turns
from signalbox.server.store import attempts_table
from signalbox.server.store.database import Database
from signalbox.server.store.projection import Projection
from signalbox.server.store.reader_pool import ReaderPool

Result = TypeVar("Result")


class ReadModel:
    """The state by `current` or `at` a revision, all of it by `snapshots`, the log by `log`, the
    rules by `rules`, and the attempts.
    """

    def __init__(self, database: Database, projection: Projection) -> None:
        """The read model of the store in `database`, as far as `projection` has made it visible."""
        self.store = database.meta("store") or ""
        self._projection = projection
        self._readers = ReaderPool(database, projection.observe)
        self.held, self.turns = HeldRevisions(), Turns()
        self.shared_pages = SharedPages(self._readers)
        self.snapshots = Snapshots(self.held, self.shared_pages, self.turns)
        self._texts = TextIndex(self._readers, lambda: len(projection.index))
        self.current: StateView = CurrentView(
            self._readers, projection, self._texts, database.recent_items
        )
        self.log = LogQueries(self._readers)
        self.log_pages = LogPages(self.store, self.held, self.shared_pages, self.turns)
        self.rules = RuleQueries(self._readers, projection, self.held)
        self._key_sets = KeySets(projection.counts_for)

    @property
    def revision(self) -> int:
        """The revision that queries see: that of the last visible commit."""
        return self._projection.revision

    def at(self, revision: int | None) -> StateView:
        """The state as of a revision; None: as it is now."""
        if revision is None:
            return self.current
        return AsOfView(self._readers, self._key_sets, revision)

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
            rows = list(
                attempts_table.list_records(connection, actor, status, before, limit + 1, without)
            )
            position = rows[limit - 1][0] if len(rows) > limit else None
            return [record for _, record in rows[:limit]], position

        if actor or without:
            return self.in_thread(find)
        with self.snapshot() as connection:
            return find(connection)

    def attempt(self, identity: str) -> dict[str, Any] | None:
        """The record of one remembered attempt; None where it is not known."""
        with self.snapshot() as connection:
            return attempts_table.record_of(connection, identity)

    def free_bytes(self) -> int:
        """Bytes of the file that removed rows have left, which later writes use again."""
        with self.snapshot() as connection:
            return int(connection.execute(_FREE).get)

    def snapshot(self) -> AbstractContextManager[apsw.Connection]:
        """One consistent view, equal to `revision`. Do not wait inside."""
        return self._readers.snapshot()

    def in_thread(self, query: Callable[[apsw.Connection], Result]) -> Result:
        """Run `query` on a snapshot of its own in a native thread; only the caller waits."""
        return self._readers.in_thread(query)

    def close(self) -> None:
        """Close the connections that queries read with."""
        self._texts.close()
        self._readers.close()


_FREE: Final = """
SELECT free.freelist_count * size.page_size
FROM pragma_freelist_count() free, pragma_page_size() size
"""
