"""Revisions that are being read page by page, which retention must leave as they are."""

from collections.abc import Iterator
from contextlib import contextmanager

from signalbox.server.model.horizons import LAST_REVISION


class HeldRevisions:
    """The revisions that are being read now."""

    def __init__(self) -> None:
        """No revisions are held yet."""
        self._held: list[int] = []

    @contextmanager
    def holding(self, revision: int) -> Iterator[None]:
        """Keep retention from removing what this revision needs, while it is read."""
        self._held.append(revision)
        try:
            yield
        finally:
            self._held.remove(revision)

    def __contains__(self, revision: int) -> bool:
        """Whether the revision is being read."""
        return revision in self._held

    def lowest(self) -> int:
        """The lowest revision that is held; `LAST_REVISION` where none is."""
        return min(self._held, default=LAST_REVISION)
