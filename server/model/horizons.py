"""Retention horizons: the oldest complete revision of each prefix of keys.

A key follows the horizon of the longest prefix that it begins with. At that revision and later its
state is known exactly; of its changes before, retention has left only the newest.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

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
Found = TypeVar("Found")


class Horizon(NamedTuple):
    """The oldest complete revision of a prefix and its time `at`, in ms since 1970 UTC.

    The empty prefix stands for all keys; revision 0: nothing is missing.
    """

    prefix: str
    revision: int
    at: int


class Horizons(tuple[Horizon, ...]):  # noqa: SLOT001 - it remembers what it has sorted
    """All horizons of a store, that of the empty prefix among them; prefixes end with a dot.

    A key is looked up by its own prefixes, so a question costs no more where there are thousands.
    """

    @cached_property
    def _by_prefix(self) -> dict[str, Horizon]:
        """The horizons by their prefixes."""
        return {horizon.prefix: horizon for horizon in self}

    @cached_property
    def _cuts(self) -> list[str]:
        """Where a horizon begins or ends, in order."""
        ends = {
            after_prefix(horizon.prefix) if horizon.prefix else AFTER_ALL_KEYS for horizon in self
        }
        return sorted(self._by_prefix.keys() | ends)

    def of(self, key: str) -> Horizon:
        """The horizon that a key (or all keys that begin with it) follows."""
        return longest_prefix(self._by_prefix, key)

    def above(self, horizon: Horizon) -> Horizon:
        """The horizon of the next shorter prefix; not for the one of the empty prefix."""
        return self.of(horizon.prefix[:-1])

    def complete_since(self, low: str, high: str) -> Horizon:
        """The latest horizon that any key in [low, high) follows: all changes since are there."""
        followed = (self.of(start) for start, _ in self.split(low, high))
        return max(followed, key=lambda horizon: horizon.revision, default=Horizon("", 0, 0))

    def complete_ranges(self, revision: int, low: str, high: str) -> list[Range]:
        """The parts of [low, high), in order, whose state at `revision` is complete."""
        complete: list[Range] = []
        for start, end in self.split(low, high):
            if self.of(start).revision > revision:
                continue
            begin = complete.pop()[0] if complete and complete[-1][1] == start else start
            complete.append((begin, end))
        return complete

    def incomplete_prefixes(self, revision: int, low: str, high: str) -> list[str]:
        """The prefixes in [low, high) whose state at `revision` is not complete."""
        followed = {self.of(start) for start, _ in self.split(low, high)}
        return sorted(horizon.prefix for horizon in followed if horizon.revision > revision)

    def split(self, low: str, high: str) -> list[Range]:
        """[low, high) split where another horizon begins or ends."""
        inside = self._cuts[bisect_right(self._cuts, low) : bisect_left(self._cuts, high)]
        return list(pairwise((low, *inside, high))) if low < high else []


def longest_prefix(by_prefix: Mapping[str, Found], key: str) -> Found:
    """The entry of the longest prefix that `key` begins with; prefixes are empty or end with a dot.

    There must be an entry of the empty prefix.
    """
    end = len(key)
    while (end := key.rfind(".", 0, end)) >= 0:
        if key[: end + 1] in by_prefix:
            return by_prefix[key[: end + 1]]
    return by_prefix[""]


def compacted_error(prefixes: Sequence[str], revision: int) -> Compacted:
    """The error of a query or command that needs what retention has removed below `prefixes`."""
    names = "all keys" if "" in prefixes else f"the keys below {', '.join(prefixes)}"
    return Compacted(
        f"Retention has removed what {names} were at revision {revision}.",
        keys=list(prefixes),
    )


def without_reserved(ranges: Sequence[Range]) -> list[Range]:
    """Ranges of keys without the app's own keys."""
    parts = []
    for low, high in ranges:
        parts += [(low, min(high, RESERVED)), (max(low, RESERVED_END), high)]
    return [(low, high) for low, high in parts if low < high]
