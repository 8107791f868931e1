"""Pages of bytes that readers who came together share, made a few at a time off the hub."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, NamedTuple, TypeVar

import apsw
from gevent.event import Event

from signalbox.server.runtime.scheduling import FairLock
from signalbox.server.store.reader_pool import ReaderPool

CACHED_BYTES: Final = 8 * 1024 * 1024
"""Of pages that are kept for readers who are a little behind."""
Position = TypeVar("Position")


class Page(NamedTuple, Generic[Position]):
    """`data` may be empty; `next` is where the next page begins, None at the end."""

    data: bytes
    next: Position | None


class SharedPages:
    """A page that several readers ask for is made once. One that nobody has asked for lately is
    made again, so that a reader who is slow costs no memory.
    """

    def __init__(self, readers: ReaderPool, cached_bytes: int = CACHED_BYTES) -> None:
        """Pages are made on snapshots of `readers`, and cached up to `cached_bytes` together."""
        self._readers, self._cached_bytes = readers, cached_bytes
        # One page at a time: the pool's other threads are for shorter queries.
        self.making = FairLock()
        self._made: OrderedDict[Hashable, Page[Any]] = OrderedDict()
        self._being_made: dict[Hashable, Event] = {}
        self._bytes = self._reading = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For as long as somebody reads, shared pages are kept."""
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            if not self._reading:
                self._made.clear()
                self._bytes = 0

    def get(
        self, name: Hashable, make: Callable[[apsw.Connection], Page[Position]]
    ) -> Page[Position]:
        """The shared page of this name; if need be `make` makes it in a native thread.

        What makes up the page must be in its name. Raises what `make` raises.
        """
        while name not in self._made:
            if (others := self._being_made.get(name)) is not None:
                others.wait()  # and make it where that failed
                continue
            self._being_made[name] = Event()
            try:
                with self.making:
                    page = self._readers.in_thread(make)
                self._keep(name, page)
                return page
            finally:
                self._being_made.pop(name).set()
        self._made.move_to_end(name)
        found: Page[Position] = self._made[name]
        return found

    def _keep(self, name: Hashable, page: Page[Any]) -> None:
        """Keep the page, and forget those that were asked for longest ago."""
        self._made[name] = page
        self._bytes += len(page.data)
        while self._bytes > self._cached_bytes and len(self._made) > 1:
            _, oldest = self._made.popitem(last=False)
            self._bytes -= len(oldest.data)
