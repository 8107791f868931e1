"""The SQL of queries of the event log: a key's history, diffs, and which revision was when."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, quoted
from signalbox.server.model.keys import Pattern, compile_pattern, is_key
from signalbox.server.model.numbers import is_whole
from signalbox.server.store import log_table
from signalbox.server.store.horizons_table import read_horizons

CHUNK: Final = 5_000
MAX_SCANNED_CHANGES: Final = 100_000
"""Up to so many changes are scanned for their keys; else each key's last change is looked up."""


class Version(NamedTuple):
    """A key's value after a transaction as compact JSON, None for its deletion; `at` in ms."""

    revision: int
    at: int
    actor: str
    id: str
    type: str
    raw: str | None


class History(NamedTuple):
    """Newest first; `next` goes into `before`.

    `compacted` names the prefix where older ones may have been removed.
    """

    items: list[Version]
    next: int | None
    compacted: list[str]


class Difference(NamedTuple):
    """A key's values at two revisions as compact JSON text, None where there was no such key."""

    key: str
    before: str | None
    after: str | None


class Diff(NamedTuple):
    """`total` counts every key that differs; `next` continues after `items`."""

    since: int
    until: int
    total: int
    items: list[Difference]
    next: str | None
    compacted: list[str]


def history(connection: apsw.Connection, key: str, before: int | None, limit: int) -> History:
    """The versions of a key, newest first, below revision `before`."""
    bound = (key, 2**62 if before is None else before, limit + 1)
    items = [Version(*row) for row in connection.execute(_HISTORY, bound)]
    if len(items) > limit:
        return History(items[:limit], items[limit - 1].revision, [])
    horizon = read_horizons(connection).of(key)
    edge = items[-1].revision if items else before
    is_cut = edge is not None and edge <= horizon.revision
    return History(items, None, [horizon.prefix] if is_cut else [])


def diff(
    connection: apsw.Connection, since: int, until: int, match: str, after: str | None, limit: int
) -> Diff:
    """A page of the differences between two revisions, in either direction, in key order.

    Its total is that of the page.
    """
    pattern = compile_pattern(match)
    if after is not None:
        pattern = pattern._replace(low=max(pattern.low, after + "\0"))
    keys = ChangedKeys(min(since, until), max(since, until), pattern).all(connection)
    items = list(islice(differences(connection, keys, since, until, pattern), limit + 1))
    following = items[limit - 1].key if len(items) > limit else None
    return Diff(since, until, len(items), items[:limit], following, [])


def incomplete_prefixes(
    connection: apsw.Connection, since: int, until: int, match: str
) -> list[str]:
    """The prefixes whose state at the earlier revision is incomplete: their keys do not count."""
    pattern, horizons = compile_pattern(match), read_horizons(connection)
    return horizons.incomplete_prefixes(min(since, until), pattern.low, pattern.high)


class ChangedKeys:
    """The matching keys that have changed above revision `after` up to `last`, in order, in slices.

    There may be others that have changed only after `last`.
    """

    def __init__(self, after: int, last: int, pattern: Pattern) -> None:
        """The changed keys, none of which was taken yet."""
        self._after, self._last, self._pattern = after, last, pattern
        self._low = pattern.low
        self._of_few_changes: list[str] | None = None
        self._is_begun = False

    def are_few(self, connection: apsw.Connection) -> bool:
        """Whether so few changes lie between the revisions that the log is the shortest way."""
        if not self._is_begun:
            self._begin(connection)
        return self._of_few_changes is not None

    def take(self, connection: apsw.Connection) -> list[str]:
        """The next keys, at most `CHUNK`; none where there are no more."""
        if self.are_few(connection) and self._of_few_changes is not None:
            keys = self._of_few_changes[:CHUNK]
            del self._of_few_changes[:CHUNK]
            return keys
        keys = list(islice(self._matching(connection, _CHANGED_KEYS), CHUNK))
        if keys:
            self._low = keys[-1] + "\0"
        return keys

    def all(self, connection: apsw.Connection) -> Iterator[str]:
        """The changed keys that were not taken yet."""
        while keys := self.take(connection):
            yield from keys

    def _begin(self, connection: apsw.Connection) -> None:
        """Find out which way to the changed keys is shorter: along the log, or along the keys."""
        self._is_begun = True
        bound = (self._after, self._last, MAX_SCANNED_CHANGES)
        if connection.execute(_MORE_CHANGES_THAN, bound).get is None:
            self._of_few_changes = list(self._matching(connection, _SCAN_CHANGES))

    def _matching(self, connection: apsw.Connection, statement: str) -> Iterator[str]:
        """The keys that the statement finds, as far as they match."""
        bound = {
            "after": self._after,
            "last": self._last,
            "low": self._low,
            "high": self._pattern.high,
        }
        for (key,) in connection.execute(statement, bound):
            if self._pattern.matches(key):
                yield key


def differences(
    connection: apsw.Connection, keys: Iterable[str], since: int, until: int, pattern: Pattern
) -> Iterator[Difference]:
    """The keys among `keys` whose values at two revisions differ, with both values.

    Only of ranges of `pattern` where both are complete.
    """
    horizons = read_horizons(connection)
    complete = horizons.complete_ranges(min(since, until), pattern.low, pattern.high)
    remaining = (key for key in keys if any(start <= key < end for start, end in complete))
    while chunk := list(islice(remaining, CHUNK)):
        bound = {"keys": msgspec.json.encode(chunk).decode(), "since": since, "until": until}
        for key, before, after in connection.execute(_DIFFERING_VALUES, bound):
            if before is None or after is None or not values.same(before, after):
                yield Difference(key, before, after)


def adjacent_revision(
    connection: apsw.Connection, revision: int, forwards: bool, match: str
) -> int | None:
    """The next or previous revision that changed a matching key."""
    order = _LATER if forwards else _EARLIER
    if is_key(match):
        rows = connection.execute(_OF_KEY + order + " LIMIT 1", (match, revision))
        return next((row[0] for row in rows), None)
    pattern = compile_pattern(match)
    for found, key in connection.execute(_OF_ANY + order, (revision,)):
        if pattern.matches(key):
            return int(found)
    return None


def parse_revision(connection: apsw.Connection, text: str, name: str) -> int:
    """The revision that a text names: a number, or an ISO 8601 time (local without a zone).

    `name` is the parameter that the text is the value of. Raises `Invalid`.
    """
    newest = log_table.last_revision(connection)
    if is_whole(text):
        if len(text) > 18 or int(text) > newest:
            raise Invalid(
                f"There is no revision {text[:30]} yet; the store is at revision {newest}.",
                revision=newest,
                field=name,
            )
        return int(text)
    for form in (text, text.replace(" ", "+")):  # a + in a URL is decoded to a space
        try:
            at = datetime.fromisoformat(form).astimezone()
        except (ValueError, OverflowError, OSError):
            continue
        return revision_at(connection, int(at.timestamp() * 1000))
    raise Invalid(
        f"The parameter {name} is {quoted(text)}; allowed are a revision and an ISO 8601 time "
        "such as 2026-11-23T10:00:00Z.",
        field=name,
    )


def revision_at(connection: apsw.Connection, at: int, latest: int = 2**62) -> int:
    """The last revision not later than `at`, in ms since 1970 UTC; times never decrease.

    A transaction with a time later than `latest` is wrong: it counts as made at the time of the
    next one that is not, and where there is none, as later than any time.
    """
    low, high = 0, int(connection.execute(_LAST_BY_TIME, (latest,)).get or 0)
    while low < high:
        middle = (low + high + 1) // 2
        revision, made = connection.execute(_NEXT_BY_TIME, (middle, latest)).get
        low, high = (revision, high) if made <= at else (low, middle - 1)
    # Retention may have removed the transaction of a horizon.
    return max(
        [low, *(horizon.revision for horizon in read_horizons(connection) if horizon.at <= at)]
    )


def time_of(connection: apsw.Connection, revision: int) -> int:
    """The time of the last transaction up to `revision` that is kept, in ms; 0 before all."""
    time = connection.execute(_TIME_OF, (revision,)).get
    return int(time or 0)


def first_time(connection: apsw.Connection) -> int:
    """The time of the oldest transaction that is kept, in ms; 0 where there is none."""
    time = connection.execute("SELECT at FROM transactions ORDER BY revision LIMIT 1").get
    return int(time or 0)


def actors(connection: apsw.Connection, prefix: str) -> list[str]:
    """Actors in the log whose names begin with `prefix` and a dot; the last to write first."""
    bounds = (prefix, f"{prefix[:-1]}/")  # "/" follows "."
    return [actor for actor, _ in connection.execute(_ACTORS, bounds)]


def newest(connection: apsw.Connection) -> tuple[int, int]:
    """The last revision and its time in ms; zeros where there is none."""
    found: tuple[int, int] | None = connection.execute(_NEWEST).get
    return found or (0, 0)


_NEWEST: Final = "SELECT revision, at FROM transactions ORDER BY revision DESC LIMIT 1"
_HISTORY: Final = """
SELECT c.revision, t.at, t.actor, t.command_id, t.type, c.value
FROM changes c JOIN transactions t ON t.revision = c.revision
WHERE c.key = ? AND c.revision < ? ORDER BY c.revision DESC LIMIT ?
"""
_MORE_CHANGES_THAN: Final = (
    "SELECT 1 FROM changes WHERE revision > ? AND revision <= ? LIMIT 1 OFFSET ?"
)
_SCAN_CHANGES: Final = """
SELECT DISTINCT key FROM changes
WHERE revision > :after AND revision <= :last AND +key >= :low AND +key < :high ORDER BY key
"""
_CHANGED_KEYS: Final = """
SELECT key FROM state WHERE key >= :low AND key < :high AND +revision > :after
UNION SELECT key FROM lives WHERE key >= :low AND key < :high AND +died > :after
ORDER BY key
"""
_OF_KEY: Final = "SELECT revision, key FROM changes WHERE key = ? AND "
_OF_ANY: Final = "SELECT revision, key FROM changes WHERE "
_LATER: Final = "revision > ? ORDER BY revision"
_EARLIER: Final = "revision < ? ORDER BY revision DESC"
_DIFFERING_VALUES: Final = """
SELECT asked.value, b.value, a.value FROM json_each(:keys) asked
LEFT JOIN changes b ON b.key = asked.value AND b.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :since
)
LEFT JOIN changes a ON a.key = asked.value AND a.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :until
)
WHERE b.value IS NOT a.value
"""
_NEXT_BY_TIME: Final = """
SELECT revision, at FROM transactions WHERE revision >= ? AND at <= ? ORDER BY revision LIMIT 1
"""
_LAST_BY_TIME: Final = (
    "SELECT revision FROM transactions WHERE at <= ? ORDER BY revision DESC LIMIT 1"
)
_ACTORS: Final = """
WITH RECURSIVE found (actor) AS (
    SELECT (SELECT min(actor) FROM transactions WHERE actor > ?1 AND actor < ?2)
    UNION ALL
    SELECT (SELECT min(actor) FROM transactions WHERE actor > found.actor AND actor < ?2)
    FROM found WHERE found.actor IS NOT NULL
)
SELECT actor, (SELECT max(revision) FROM transactions AS t WHERE t.actor = found.actor) AS last
FROM found WHERE actor IS NOT NULL ORDER BY last DESC
"""
"""Skips by the index from each actor to the next, without scanning their transactions."""
_TIME_OF: Final = "SELECT at FROM transactions WHERE revision <= ? ORDER BY revision DESC LIMIT 1"
