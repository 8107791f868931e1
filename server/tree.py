"""The tree that dots make of the flat keys: next segments with exact counts, never incomplete."""

from collections.abc import Callable
from typing import NamedTuple

import apsw

from server.keys import RESERVED, after_prefix

Known = tuple[str, int]
"""A key and its rank."""
Rank = Callable[[str, Known | None], int]
"""The number of visible keys that sort before a key; a rank nearby may help to find it."""


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


class _Ranks:
    """Remembers the last rank: where one child ends, the next mostly begins."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._last: Known | None = None

    def of(self, key: str) -> int:
        if self._last is None or self._last[0] != key:
            self._last = key, self._rank(key, self._last)
        return self._last[1]

    def move(self, old: str, new: str) -> None:
        """There is no key in [old, new)."""
        if self._last is not None and self._last[0] == old:
            self._last = new, self._last[1]


def children(
    connection: apsw.Connection, rank: Rank, prefix: str, after: str | None, limit: int
) -> list[Child]:
    """At most `limit` children behind segment `after`, in the byte order of their segments.

    Keys sort by bytes, where '-' comes before '.': `a-b` stands between `a` and `a.c`. So the
    segment `a` may show itself in two places, and is taken at the first that its order allows.
    """
    found: list[Child] = []
    ranks = _Ranks(rank)
    position = prefix + after if after is not None else prefix
    past = after
    while len(found) < limit and (key := _first(connection, position, prefix)):
        segment = key[len(prefix) :].split(".", 1)[0]
        whole = prefix + segment
        ranks.move(position, whole + "." if key.startswith(whole + ".") else key)
        for candidate in _shorter(segment):
            if (past is None or candidate > past) and (
                child := _child(connection, ranks, prefix, candidate, key)
            ):
                found.append(child)
                past = candidate
        position = whole + "\0" if key == whole else after_prefix(whole + ".")
    return found[:limit]


def _shorter(segment: str) -> list[str]:
    """Every segment that is due now: those that a '-' continues, then the segment itself."""
    return [segment[:end] for end, letter in enumerate(segment) if letter == "-" and end] + [
        segment
    ]


def _child(
    connection: apsw.Connection, ranks: _Ranks, prefix: str, segment: str, first: str
) -> Child | None:
    """`first` is the first key that has not been passed."""
    key, below = prefix + segment, prefix + segment + "."
    itself = key == first or (not first.startswith(below) and _exists(connection, key))
    inside = 0 if below == RESERVED else -ranks.of(below) + ranks.of(after_prefix(below))
    if not itself and not inside:
        return None
    return Child(segment, key if itself else None, below if inside else None, inside + itself)


def _exists(connection: apsw.Connection, key: str) -> bool:
    return connection.execute("SELECT 1 FROM state WHERE key = ?", (key,)).get is not None


def _first(connection: apsw.Connection, position: str, prefix: str) -> str | None:
    key: str | None = connection.execute(
        "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1",
        (position, after_prefix(prefix)),
    ).get
    return key
