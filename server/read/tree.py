"""The tree that dots make of the flat keys: next segments with exact counts, never incomplete."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from signalbox.server.model.keys import RESERVED, after_prefix

KnownRank = tuple[str, int]
"""A key and its rank."""


class SortedKeys(Protocol):
    """The sorted keys that a tree is made of."""

    def first(self, low: str, high: str) -> str | None:
        """The first key in [low, high)."""

    def exists(self, key: str) -> bool: ...

    def rank(self, key: str, near: KnownRank | None) -> int:
        """How many visible keys sort before `key`; a rank nearby, not behind, may help."""


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
    """Remembers the last rank: where one child ends, the next mostly begins."""

    def __init__(self, keys: SortedKeys) -> None:
        self._keys = keys
        self._last: KnownRank | None = None

    def of(self, key: str) -> int:
        if self._last is None or self._last[0] != key:
            self._last = key, self._keys.rank(key, self._last)
        return self._last[1]

    def move(self, old: str, new: str) -> None:
        """There is no key in [old, new)."""
        if self._last is not None and self._last[0] == old:
            self._last = new, self._last[1]


def children(
    keys: SortedKeys, prefix: str, after: str | None, limit: int
) -> tuple[list[Child], str | None]:
    """At most `limit` children behind segment `after`, in the byte order of their segments.

    Also the last one's segment where there are more.

    Keys sort by bytes, where some characters come before '.', such as '-': `a-b` stands between `a`
    and `a.c`. So the segment `a` may show itself in two places, and is taken at the first that its
    order allows.
    """
    found: list[Child] = []
    ranks = _Ranks(keys)
    position = prefix + after if after is not None else prefix
    past, end = after, after_prefix(prefix)
    while len(found) <= limit and (key := keys.first(position, end)):
        segment = key[len(prefix) :].split(".", 1)[0]
        whole = prefix + segment
        ranks.move(position, whole + "." if key.startswith(whole + ".") else key)
        for candidate in _shorter(segment):
            if (past is None or candidate > past) and (
                child := _child(keys, ranks, prefix, candidate, key)
            ):
                found.append(child)
                past = candidate
        position = whole + "\0" if key == whole else after_prefix(whole + ".")
    more = len(found) > limit
    return found[:limit], found[limit - 1].segment if more else None


def _shorter(segment: str) -> list[str]:
    """Every segment that is due now: those that what sorts before a dot continues, then itself."""
    return [segment[:end] for end, letter in enumerate(segment) if letter < "." and end] + [segment]


def _child(keys: SortedKeys, ranks: _Ranks, prefix: str, segment: str, first: str) -> Child | None:
    """`first` is the first key that has not been passed."""
    key, below = prefix + segment, prefix + segment + "."
    itself = key == first or (not first.startswith(below) and keys.exists(key))
    inside = 0 if below == RESERVED else -ranks.of(below) + ranks.of(after_prefix(below))
    if not itself and not inside:
        return None
    return Child(segment, key if itself else None, below if inside else None, inside + itself)
