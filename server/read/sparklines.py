"""Sparklines: the last few values of each key in the visible list, cached per key and revision.

A frame reads only keys that have changed since the one before, and of them only what is new, so
that thirty frames a second stay cheap.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import apsw
import msgspec

MAX_POINTS: Final = 32
"""Changes of a key that its sparkline shows."""
MAX_STATE_BYTES: Final = 48
"""Bytes of a value's JSON text up to which it can be drawn as a state."""
MAX_STATES: Final = 6
"""Different texts that a key may have to be drawn as states."""
CACHED_KEYS: Final = 4_000
"""Keys whose sparklines are cached."""

Point = tuple[int, str | None]
"""A time (ms since 1970 UTC) and the value as JSON text; None: deleted, or too long."""


class KeyedValue(Protocol):
    """A key with its value and the revision that set it."""

    @property
    def key(self) -> str:
        """The key that a sparkline is for."""

    @property
    def raw(self) -> str:
        """The key's value as compact JSON text, which its sparkline ends with."""

    @property
    def revision(self) -> int:
        """The revision that set the value; the sparkline ends there."""


class Sparkline(NamedTuple):
    """`points`: times (ms) and heights; None breaks the line. `is_steps`: states, no numbers."""

    is_steps: bool
    points: tuple[tuple[int, float | None], ...]


class SparklineCache:
    """Reads what is not cached with one SQL statement."""

    def __init__(self) -> None:
        """No sparklines are cached yet."""
        self._cached: OrderedDict[str, tuple[int, list[Point], Sparkline | None]] = OrderedDict()

    def sparklines(
        self, connection: apsw.Connection, items: Sequence[KeyedValue]
    ) -> dict[str, Sparkline]:
        """The sparklines of those items that have one, up to the revision of each."""
        uncached = [item for item in items if self._revision(item.key) != item.revision]
        if uncached:
            self._read(connection, uncached)
        lines = {item.key: self._cached[item.key][2] for item in items}
        while len(self._cached) > CACHED_KEYS:
            self._cached.popitem(last=False)
        return {key: line for key, line in lines.items() if line}

    def __len__(self) -> int:
        """The number of keys whose sparklines are cached."""
        return len(self._cached)

    def _revision(self, key: str) -> int:
        """The revision of the key's cached sparkline; 0 where there is none."""
        return self._cached[key][0] if key in self._cached else 0

    def _read(self, connection: apsw.Connection, items: Sequence[KeyedValue]) -> None:
        """Read what is not cached yet for the sparklines of these items."""
        missing = []
        for item in items:
            revision = self._revision(item.key)
            if revision > item.revision:  # an earlier revision than the cached one
                del self._cached[item.key]
                revision = 0
            missing.append((item.key, revision, item.revision))
        new_points = defaultdict[str, list[Point]](list)
        bound = {
            "asked": msgspec.json.encode(missing).decode(),
            "short": MAX_STATE_BYTES,
            "rest": MAX_POINTS - 1,
        }
        for key, at, raw in connection.execute(_RECENT, bound):
            new_points[key].append((at, raw))
        for item in items:
            old = self._cached.pop(item.key)[1] if item.key in self._cached else []
            points = [*old, *new_points[item.key]][-MAX_POINTS:]
            self._cached[item.key] = (item.revision, points, sparkline(item.raw, points))


def sparkline(raw: str, points: Sequence[Point]) -> Sparkline | None:
    """The sparkline of a key whose value is `raw`; None where there is nothing to draw."""
    if len(points) < 2:
        return None
    if is_number(raw):
        heights = tuple((at, height(value)) for at, value in points)
        return Sparkline(False, heights) if sum(y is not None for _, y in heights) > 1 else None
    if raw[0] not in 'tf"' or len(raw) > MAX_STATE_BYTES:
        return None
    states = levels(value for _, value in points)
    if not 2 <= len(states) <= MAX_STATES:
        return None
    return Sparkline(
        True, tuple((at, states.get(value) if value else None) for at, value in points)
    )


def levels(raws: Iterable[str | None]) -> dict[str, float]:
    """A height in a sparkline for each state: false below true, texts in order of appearance."""
    states = [raw for raw in dict.fromkeys(raws) if raw is not None]
    if set(states) <= {"true", "false"}:
        states.sort()
    return {state: float(level) for level, state in enumerate(states)}


def is_number(raw: str) -> bool:
    """Whether a key's value is drawn as a number; by the first character of its JSON."""
    return raw[0] in "-0123456789"


def height(raw: str | None) -> float | None:
    """The height of a number in a sparkline; None for another value, or where it is too large."""
    if raw is None or not is_number(raw):
        return None
    number = float(raw)
    return number if abs(number) <= LARGEST else None


LARGEST: Final = 1.7e308
_RECENT: Final = """
SELECT asked.value ->> 0, t.at, iif(octet_length(c.value) <= :short, c.value, NULL)
FROM json_each(:asked) asked
CROSS JOIN changes c ON c.key = asked.value ->> 0 AND c.revision <= asked.value ->> 2
    AND c.revision >= max((asked.value ->> 1) + 1, ifnull((
        SELECT p.revision FROM changes p
        WHERE p.key = asked.value ->> 0 AND p.revision <= asked.value ->> 2
        ORDER BY p.revision DESC LIMIT 1 OFFSET :rest
    ), 0))
CROSS JOIN transactions t ON t.revision = c.revision
ORDER BY asked.id, c.revision
"""
