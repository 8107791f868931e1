"""Keeps the index of texts in memory up to date with the state, behind it, while people search."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter
from typing import Final

import apsw
import gevent

from signalbox.server.model.errors import Unavailable
from signalbox.server.model.keys import AFTER_ALL_KEYS
from signalbox.server.read.text_blocks import Block, TextBlocks, joined, read_blocks, unknown
from signalbox.server.runtime.threads import off_hub
from signalbox.server.store.reader_pool import ReaderPool

MIN_KEYS: Final = 20_000
"""Fewer keys are all looked at within a few milliseconds."""
MIN_CHANGED: Final = 500
"""So many changed keys cost a search a few milliseconds."""
MAX_BLOCKS: Final = 65_536
"""40 MB, four million keys; those behind them are in a block that can contain anything."""
SLICE_SECONDS: Final = 0.01
SLICE_PAUSE: Final = 3
"""Pause after a slice, in times of how long it took."""
PAUSE: Final = 50
"""Pause after all of them, in times of how long they took: while somebody searches, a fiftieth of
the processor goes into this."""
MIN_PAUSE_SECONDS: Final = 1.0


class TextIndex:
    """The blocks of the state's texts, made once somebody has searched."""

    def __init__(self, readers: ReaderPool, keys: Callable[[], int]) -> None:
        """No blocks yet; `keys` says how many keys there are."""
        self._readers, self._keys = readers, keys
        self._blocks: TextBlocks | None = None
        self._job: gevent.Greenlet[[], None] | None = None
        self._not_before = self._spent = 0.0

    def blocks(self) -> TextBlocks | None:
        """What is known, for a search that begins now; a later one may know more."""
        if self._job is None and monotonic() >= self._not_before and self._keys() >= MIN_KEYS:
            self._job = gevent.spawn(self.renew)
        return self._blocks

    def close(self) -> None:
        """End what runs in the background."""
        if self._job is not None:
            self._job.kill()

    def renew(self) -> None:
        """Bring the blocks up to date, then pause; in a greenlet of its own."""
        self._spent = 0.0
        try:
            with suppress(Unavailable):  # the next search tries again
                self._read_outdated()
        finally:
            self._not_before = monotonic() + max(PAUSE * self._spent, MIN_PAUSE_SECONDS)
            self._job = None

    def _read_outdated(self) -> None:
        """Read the blocks in which keys have changed, if enough have. Raises `Unavailable`."""
        blocks = self._blocks or TextBlocks(0, [unknown("")])
        revision, ranges = self._readers.in_thread(partial(blocks.outdated, MIN_CHANGED))
        if not ranges:
            return
        new: list[list[Block]] = []
        kept = blocks.outside(ranges)
        for low, high in ranges:
            others = kept + sum(map(len, new))
            rest_is_kept = high < AFTER_ALL_KEYS
            room = MAX_BLOCKS + rest_is_kept - others
            new.append(joined(self._read(low, high, room)))
        size = kept + sum(map(len, new))
        self._blocks = off_hub(lambda: blocks.renewed(revision, ranges, new), size)

    def _read(self, low: str, high: str, room: int) -> list[Block]:
        """The blocks of the keys in [low, high): about `room` of them, and one of all the rest."""
        blocks: list[Block] = []
        start: str | None = low
        while start is not None:
            if len(blocks) >= room:
                return [*blocks, unknown(start)]
            took, more, start = self._readers.in_thread(partial(_slice, start, high))
            blocks += more
            self._spent += took
            gevent.sleep(SLICE_PAUSE * took)
        return blocks


def _slice(
    low: str, high: str, connection: apsw.Connection
) -> tuple[float, list[Block], str | None]:
    """The first blocks in [low, high), how many seconds they took, and the next one's first key."""
    began = perf_counter()
    blocks: list[Block] = []
    following: str | None = None
    for block, following in read_blocks(connection, low, high):  # noqa: B007 - used behind the loop
        blocks.append(block)
        if perf_counter() - began > SLICE_SECONDS:
            break
    return perf_counter() - began, blocks, following
