"""The tree that dots make of the flat keys: next segments with exact counts, never incomplete."""

from collections.abc import Callable
from typing import NamedTuple

import apsw

from server.keys import RESERVED, after_prefix

Count = Callable[[str, str], int]
"""The number of visible keys in [low, high)."""


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


def children(
    connection: apsw.Connection, count: Count, prefix: str, after: str | None, limit: int
) -> list[Child]:
    """At most `limit` children behind segment `after`, in the byte order of their segments.

    Keys sort by bytes, where '-' comes before '.': `a-b` stands between `a` and `a.c`. So the
    segment `a` may show itself in two places, and is taken at the first that its order allows.
    """
    found: list[Child] = []
    position = prefix + after if after is not None else prefix
    past = after
    while len(found) < limit and (key := _first(connection, position, prefix)):
        segment = key[len(prefix) :].split(".", 1)[0]
        for candidate in _shorter(segment):
            if (past is None or candidate > past) and (
                child := _child(connection, count, prefix, candidate)
            ):
                found.append(child)
                past = candidate
        position = _behind(prefix, segment, key)
    return found[:limit]


def _shorter(segment: str) -> list[str]:
    """Every segment that is due now: those that a '-' continues, then the segment itself."""
    return [segment[:end] for end, letter in enumerate(segment) if letter == "-" and end] + [
        segment
    ]


def _child(connection: apsw.Connection, count: Count, prefix: str, segment: str) -> Child | None:
    key, below = prefix + segment, prefix + segment + "."
    itself = connection.execute("SELECT 1 FROM state WHERE key = ?", (key,)).get is not None
    inside = 0 if below == RESERVED else count(below, after_prefix(below))
    if not itself and not inside:
        return None
    return Child(segment, key if itself else None, below if inside else None, inside + itself)


def _behind(prefix: str, segment: str, key: str) -> str:
    """Where to look on: behind the leaf, or behind everything below the segment."""
    whole = prefix + segment
    return whole + "\0" if key == whole else after_prefix(whole + ".")


def _first(connection: apsw.Connection, position: str, prefix: str) -> str | None:
    key: str | None = connection.execute(
        "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1",
        (position, after_prefix(prefix)),
    ).get
    return key
