"""The tree of the flat keys by their dots: the next segments below a prefix, with exact counts."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from signalbox.server.model.keys import RESERVED, after_prefix

KnownRank = tuple[str, int]
"""A key and its rank."""


class SortedKeys(Protocol):
    """The sorted keys that a tree is made of."""

    def first(self, low: str, high: str) -> str | None:
        """The first key of the tree in [low, high), None where there is none."""

    def exists(self, key: str) -> bool:
        """Whether the tree has this very key, not only keys below it."""

    def rank(self, key: str, near: KnownRank | None) -> int:
        """How many visible keys of the tree sort before `key`; `near`, one of these, helps."""


class Child(NamedTuple):
    """One next segment: a key, a prefix of keys, or both; `keys` counts those at and below it."""

    segment: str
    key: str | None
    prefix: str | None
    keys: int


class Tree(NamedTuple):
    """`total` counts the keys below the prefix."""

    revision: int
    total: int
    children: list[Child]
    next: str | None
    compacted: Sequence[str] = ()


class _Ranks:
    """Caches the last rank: where one child ends, the next mostly begins."""

    def __init__(self, keys: SortedKeys) -> None:
        """The ranks of the keys of a tree, of which none is known yet."""
        self._keys = keys
        self._last: KnownRank | None = None

    def of(self, key: str) -> int:
        """How many keys of the tree sort before `key`."""
        if self._last is None or self._last[0] != key:
            self._last = key, self._keys.rank(key, self._last)
        return self._last[1]

    def move(self, old: str, new: str) -> None:
        """Reuse the rank of `old` for `new`: there is no key in [old, new)."""
        if self._last is not None and self._last[0] == old:
            self._last = new, self._last[1]


def children(
    keys: SortedKeys, prefix: str, after: str | None, limit: int
) -> tuple[list[Child], str | None]:
    """At most `limit` children after segment `after`, in the byte order of their segments.

    Also the last one's segment where there are more.

    Keys sort by bytes, and some characters sort before '.', such as '-': `a-b` comes between `a`
    and `a.c`. So the keys of segment `a` may be in two places; it is listed at the first that fits
    the order of segments.
    """
    listed: list[Child] = []
    ranks = _Ranks(keys)
    position = prefix + after if after is not None else prefix
    last, end = after, after_prefix(prefix)
    while len(listed) <= limit and (key := keys.first(position, end)):
        segment = key[len(prefix) :].split(".", 1)[0]
        whole = prefix + segment
        ranks.move(position, whole + "." if key.startswith(whole + ".") else key)
        for candidate in _due_segments(segment):
            if (last is None or candidate > last) and (
                child := _child(keys, ranks, prefix, candidate, key)
            ):
                listed.append(child)
                last = candidate
        position = whole + "\0" if key == whole else after_prefix(whole + ".")
    more = len(listed) > limit
    return listed[:limit], listed[limit - 1].segment if more else None


def _due_segments(segment: str) -> list[str]:
    """This segment, and before it the shorter ones that end before a character below '.'."""
    return [segment[:end] for end, letter in enumerate(segment) if letter < "." and end] + [segment]


def _child(keys: SortedKeys, ranks: _Ranks, prefix: str, segment: str, first: str) -> Child | None:
    """The child of a segment, if there is any; `first` is the first key not handled yet."""
    key, below = prefix + segment, prefix + segment + "."
    itself = key == first or (not first.startswith(below) and keys.exists(key))
    inside = 0 if below == RESERVED else -ranks.of(below) + ranks.of(after_prefix(below))
    if not itself and not inside:
        return None
    return Child(segment, key if itself else None, below if inside else None, inside + itself)
