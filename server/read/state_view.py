"""The interface of the state, now or as of a revision: what may be asked of it."""

from typing import Protocol

from signalbox.server.read.state_query import Filter, Item, JsonPage, Page
from signalbox.server.read.tree import Tree


class StateView(Protocol):
    """The state now, or as of an earlier revision.

    Of an earlier revision some keys may be unknown, since retention has removed what they were:
    these are left out, and pages and trees name their prefixes as `compacted`.
    """

    @property
    def revision(self) -> int:
        """The revision that the answers are for; now: the last transaction's that queries see."""

    def get(self, key: str) -> Item | None:
        """The key's item, None where there is none. Raises `Compacted` where that is unknown."""

    def page(
        self,
        wanted: Filter,
        sort: str = "key",
        after: str | None = None,
        offset: int = 0,
        limit: int = 100,
        with_total: bool = True,
    ) -> Page:
        """`limit` matching items after the cursor `after`, or from `offset` on.

        `sort` is "key" or "changed" (last change first). Raises `Invalid` for an unusable filter or
        cursor.
        """

    def json_page(self, wanted: Filter, sort: str, after: str | None, limit: int) -> JsonPage:
        """The same page as `page`, its items as JSON."""

    def position(self, wanted: Filter, key: str) -> int | None:
        """How many matching keys sort before `key`; None where that takes looking at every key."""

    def count(self, wanted: Filter) -> int:
        """How many keys of the state match, exactly."""

    def keys(self) -> int:
        """How many keys there are, the app's own settings left out."""

    def tree(self, prefix: str = "", after: str | None = None, limit: int = 100) -> Tree:
        """The next segments below `prefix`, in segment order, with exact numbers of keys."""
