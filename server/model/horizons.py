"""Retention horizons: the oldest complete revision of each prefix of keys.

A key follows the horizon of the longest prefix that it begins with. At that revision and later its
state is known exactly; of its changes before, retention has left only the newest.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from signalbox.server.model.errors import Compacted
from signalbox.server.model.keys import (
    AFTER_ALL_KEYS,
    RESERVED,
    RESERVED_END,
    after_prefix,
)

LAST_REVISION: Final = 2**62
"""Beyond every revision."""
Range = tuple[str, str]
"""The keys in [first, second)."""


class Horizon(NamedTuple):
    """The oldest complete revision of a prefix and its time `at`, in ms since 1970 UTC.

    The empty prefix stands for all keys; revision 0: nothing is missing.
    """

    prefix: str
    revision: int
    at: int


def horizon_of(horizons: Sequence[Horizon], key: str) -> Horizon:
    """The horizon that a key (or all keys that begin with it) follows."""
    return max((one for one in horizons if key.startswith(one.prefix)), key=_prefix_length)


def complete_since(horizons: Sequence[Horizon], low: str, high: str) -> Horizon:
    """The latest horizon that any key in [low, high) follows: since then all changes are there."""
    return max(
        (horizon_of(horizons, start) for start, _ in _split_at_horizons(horizons, low, high)),
        key=lambda one: one.revision,
        default=Horizon("", 0, 0),
    )


def complete_ranges(horizons: Sequence[Horizon], revision: int, low: str, high: str) -> list[Range]:
    """The parts of [low, high), in order, whose state at `revision` is complete."""
    found: list[Range] = []
    for start, end in _split_at_horizons(horizons, low, high):
        if horizon_of(horizons, start).revision > revision:
            continue
        begin = found.pop()[0] if found and found[-1][1] == start else start
        found.append((begin, end))
    return found


def incomplete_prefixes(
    horizons: Sequence[Horizon], revision: int, low: str, high: str
) -> list[str]:
    """The prefixes in [low, high) whose state at `revision` is not complete."""
    followed = {horizon_of(horizons, start) for start, _ in _split_at_horizons(horizons, low, high)}
    return sorted(one.prefix for one in followed if one.revision > revision)


def compacted_error(prefixes: Sequence[str], revision: int) -> Compacted:
    """The error of a query or command that needs what retention has removed below `prefixes`."""
    names = ", ".join(prefix or "all keys" for prefix in prefixes)
    return Compacted(
        f"What revision {revision} needs of {names} has been removed by retention.",
        keys=list(prefixes),
    )


def without_reserved(ranges: Sequence[Range]) -> list[Range]:
    """The same ranges without the app's own keys."""
    found = []
    for low, high in ranges:
        found += [(low, min(high, RESERVED)), (max(low, RESERVED_END), high)]
    return [(low, high) for low, high in found if low < high]


def _split_at_horizons(horizons: Sequence[Horizon], low: str, high: str) -> list[Range]:
    """[low, high) split where another horizon begins or ends."""
    cuts = {low, high}
    for one in horizons:
        cuts |= {one.prefix, after_prefix(one.prefix) if one.prefix else AFTER_ALL_KEYS}
    inside = sorted(cut for cut in cuts if low <= cut <= high)
    return list(pairwise(inside))


def _prefix_length(one: Horizon) -> int:
    """How specific a horizon is: the longest prefix of a key decides."""
    return len(one.prefix)
