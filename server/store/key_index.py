"""An index that counts sorted keys in memory: how many lie in any range, which is at any offset.

Keys are counted in buckets, a million in eight thousand. Within one bucket SQL counts.
"""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate, islice
from typing import Final

import msgspec

from signalbox.server.model.keys import AFTER_ALL_KEYS

BUCKET: Final = 128

CountRange = Callable[[str, str], int]
"""Counts the keys in [low, high) by looking at them."""


class KeyIndex:
    """The first key and the number of keys of every bucket. `keys` are sorted."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Distribute sorted keys to buckets of the index."""
        source = iter(keys)
        self._firsts: list[str] = [""]
        self._counts: list[int] = [len(list(islice(source, BUCKET)))]
        self._cumulative: list[int] | None = None
        self._is_uneven = False
        while bucket := list(islice(source, BUCKET)):
            self._firsts.append(bucket[0])
            self._counts.append(len(bucket))

    def __len__(self) -> int:
        """The number of keys, which is that of all buckets."""
        return self._cumulative_counts()[-1]

    def rank(self, key: str, count: CountRange, near: tuple[str, int] | None = None) -> int:
        """How many keys sort before `key`; faster with a key nearby and its rank, `near`."""
        bucket = bisect_right(self._firsts, key) - 1
        if near and bisect_right(self._firsts, near[0]) - 1 == bucket and near[0] <= key:
            return near[1] + (count(near[0], key) if self._counts[bucket] else 0)
        first = self._firsts[bucket]
        return self._cumulative_counts()[bucket] + (
            count(first, key) if first != key and self._counts[bucket] else 0
        )

    def at(self, offset: int) -> tuple[str, int]:
        """The key to start at, and how many to skip from there, to find the key at `offset`."""
        sums = self._cumulative_counts()
        bucket = min(bisect_right(sums, offset) - 1, len(self._firsts) - 1)
        return self._firsts[bucket], offset - sums[bucket]

    def count(self, low: str, high: str, count: CountRange) -> int:
        """How many keys lie in [low, high); SQL counts where a bucket is not wholly in there."""
        firsts, buckets = self._firsts, len(self._firsts)
        begin = bisect_left(firsts, low)
        end = buckets if high == AFTER_ALL_KEYS else bisect_right(firsts, high) - 1
        if begin > end or begin == buckets:
            return count(low, high)
        before = count(low, firsts[begin]) if low != firsts[begin] else 0
        behind = count(firsts[end], high) if end < buckets and firsts[end] != high else 0
        sums = self._cumulative_counts()
        return before + (sums[end] - sums[begin]) + behind

    def seek(self, low: str, offset: int, count: CountRange) -> tuple[str, int]:
        """As `at`, for the key at `offset` from `low` on."""
        bucket = bisect_right(self._firsts, low) - 1
        if bucket + 1 == len(self._firsts):
            return low, offset
        before = count(low, self._firsts[bucket + 1])
        if offset < before:
            return low, offset
        return self.at(offset - before + self._cumulative_counts()[bucket + 1])

    @property
    def total(self) -> int:
        """The number of keys; may be wrong where retention has removed what it was counted from."""
        return self._cumulative_counts()[-1]

    @property
    def buckets(self) -> int:
        """The number of buckets of the index."""
        return len(self._firsts)

    def copy(self, most: int) -> "KeyIndex":
        """The counts of the index in at most `most` buckets, or a few more."""
        step = -(-len(self._firsts) // most)
        other = KeyIndex(())
        if step == 1:
            other._firsts, other._counts = self._firsts[:], self._counts[:]
            return other
        other._firsts = self._firsts[::step]
        other._counts = [
            sum(self._counts[start : start + step]) for start in range(0, len(self._counts), step)
        ]
        return other

    def encode(self) -> bytes:
        """The index as compact bytes, for `decode`."""
        return zlib.compress(msgspec.json.encode((self._firsts, self._counts)), 1)

    @classmethod
    def decode(cls, encoded: bytes) -> "KeyIndex":
        """The index that `encode` has made these bytes of."""
        index = cls(())
        index._firsts, index._counts = _BUCKETS.decode(zlib.decompress(encoded))
        return index

    def change(self, added: list[str], removed: list[str]) -> None:
        """Count added and removed keys; both lists are sorted."""
        self._tally(added, 1)
        self._tally(removed, -1)
        if added or removed:
            self._cumulative = None

    def balance(self, keys: Callable[[str, str], Iterable[str]]) -> None:
        """Split full buckets and drop empty ones; `keys` lists those in [low, high) in order."""
        if not self._is_uneven:
            return
        self._is_uneven = False
        for bucket in range(len(self._counts) - 1, -1, -1):
            if self._counts[bucket] > 2 * BUCKET:
                self._split(bucket, keys)
            elif not self._counts[bucket] and bucket:
                del self._firsts[bucket], self._counts[bucket]
                self._cumulative = None

    def _split(self, bucket: int, keys: Callable[[str, str], Iterable[str]]) -> None:
        """Split one bucket of the index into several."""
        low = self._firsts[bucket]
        high = self._firsts[bucket + 1] if bucket + 1 < len(self._firsts) else AFTER_ALL_KEYS
        parts = KeyIndex(keys(low, high))
        self._firsts[bucket : bucket + 1] = [low, *parts._firsts[1:]]
        self._counts[bucket : bucket + 1] = parts._counts
        self._cumulative = None

    def _tally(self, keys: list[str], step: int) -> None:
        """Add `step` for each of the sorted keys to its bucket."""
        start = 0
        while start < len(keys):
            bucket = bisect_right(self._firsts, keys[start]) - 1
            end = len(keys)
            if bucket + 1 < len(self._firsts):
                end = bisect_left(keys, self._firsts[bucket + 1], start)
            self._counts[bucket] += step * (end - start)
            if not 0 < self._counts[bucket] <= 2 * BUCKET:
                self._is_uneven = True
            start = end

    def _cumulative_counts(self) -> list[int]:
        """The number of keys before each bucket, and at last that of all keys."""
        if self._cumulative is None:
            self._cumulative = list(accumulate(self._counts, initial=0))
        return self._cumulative


_BUCKETS: Final = msgspec.json.Decoder(tuple[list[str], list[int]])
