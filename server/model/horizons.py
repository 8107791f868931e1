"""From which moment on the changes of which keys are whole: what retention has left of the log.

Every key follows the horizon of the longest prefix that it begins with. At its horizon's revision
and later the state of a key is known exactly; of what was before, only the newest change is kept.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from signalbox.server.model.errors import Compacted
from signalbox.server.model.keys import (
    LAST,
    RESERVED,
    RESERVED_END,
    after_prefix,
)

LAST_REVISION: Final = 2**62
"""Beyond every revision."""
Range = tuple[str, str]
"""Keys from the first string on, below the second."""


class Horizon(NamedTuple):
    """`at` in ms since 1970 UTC; the empty prefix is the root. Nothing is missing at revision 0."""

    prefix: str
    revision: int
    at: int


def horizon_of(horizons: Sequence[Horizon], key: str) -> Horizon:
    """The one that a key (or all keys that begin with it) follows."""
    return max((one for one in horizons if key.startswith(one.prefix)), key=_length)


def complete_since(horizons: Sequence[Horizon], low: str, high: str) -> Horizon:
    """The latest horizon that any key in [low, high) follows."""
    return max(
        (horizon_of(horizons, start) for start, _ in _pieces(horizons, low, high)),
        key=lambda one: one.revision,
        default=Horizon("", 0, 0),
    )


def complete_ranges(horizons: Sequence[Horizon], revision: int, low: str, high: str) -> list[Range]:
    """The parts of [low, high), in order, whose state at `revision` is known."""
    found: list[Range] = []
    for start, end in _pieces(horizons, low, high):
        if horizon_of(horizons, start).revision > revision:
            continue
        begin = found.pop()[0] if found and found[-1][1] == start else start
        found.append((begin, end))
    return found


def incomplete_prefixes(
    horizons: Sequence[Horizon], revision: int, low: str, high: str
) -> list[str]:
    """The prefixes in [low, high) whose state at `revision` is not known."""
    followed = {horizon_of(horizons, start) for start, _ in _pieces(horizons, low, high)}
    return sorted(one.prefix for one in followed if one.revision > revision)


def compacted_error(prefixes: Sequence[str], revision: int) -> Compacted:
    """The refusal where what is asked for needs more than is known of `prefixes`."""
    names = ", ".join(prefix or "all keys" for prefix in prefixes)
    return Compacted(
        f"What revision {revision} needs of {names} has been removed by retention.",
        keys=list(prefixes),
    )


def without_reserved(ranges: Sequence[Range]) -> list[Range]:
    """The same keys but the app's own."""
    found = []
    for low, high in ranges:
        found += [(low, min(high, RESERVED)), (max(low, RESERVED_END), high)]
    return [(low, high) for low, high in found if low < high]


def _pieces(horizons: Sequence[Horizon], low: str, high: str) -> list[Range]:
    """[low, high) cut where another horizon begins or ends."""
    cuts = {low, high}
    for one in horizons:
        cuts |= {one.prefix, after_prefix(one.prefix) if one.prefix else LAST}
    inside = sorted(cut for cut in cuts if low <= cut <= high)
    return list(pairwise(inside))


def _length(one: Horizon) -> int:
    return len(one.prefix)
