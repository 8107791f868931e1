"""Filters on the state and the SQL that answers them."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model.errors import Invalid, quoted
from signalbox.server.model.keys import (
    RESERVED,
    RESERVED_END,
    Pattern,
    compile_pattern,
    is_key,
)
from signalbox.server.model.values import TYPES

_REVISION: Final = re.compile(r"[0-9]{1,18}")
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Characters of values after which a page ends, however many items it may have."""
MAX_SEARCH: Final = 10_000
"""Characters; SQLite takes five times as many bytes, in which some stand twice."""
SORTS: Final = ("key", "changed")
STEP: Final = 20_000
"""Keys that one step of a snapshot looks at, at most."""
NEAR: Final = 1_000
"""Keys or changes that may be passed over while everybody waits; more take a thread."""


class Item(NamedTuple):
    """A key with its value as compact JSON text; `at` in ms since 1970 UTC."""

    key: str
    raw: str
    revision: int
    at: int
    actor: str


class Page(NamedTuple):
    """`total` counts every match, -1 where not asked for; `next` continues behind `items`.

    `compacted` are prefixes of keys that are left out, because their past is not kept so long.
    """

    revision: int
    total: int
    items: list[Item]
    next: str | None
    compacted: Sequence[str] = ()


class Filter(NamedTuple):
    """`type` is a JSON type's name, `search` a text in key or value, whatever its case.

    A string's text is what it says, that of any other value its compact JSON. Cases are those that
    Unicode folds: "strasse" finds "Straße".
    """

    match: str = "**"
    type: str | None = None
    search: str | None = None


class StateQuery:
    """A filter with its order and position, checked. Raises `Invalid`."""

    def __init__(
        self, wanted: Filter, sort: str, after: str | None, offset: int, limit: int
    ) -> None:
        if sort not in SORTS:
            raise Invalid(f"The field sort is {quoted(sort)}; allowed are {' and '.join(SORTS)}.")
        if wanted.type is not None and wanted.type not in TYPES:
            raise Invalid(
                f"The field type is {quoted(wanted.type)}; allowed are {', '.join(TYPES)}."
            )
        if (length := len(wanted.search or "")) > MAX_SEARCH:
            raise Invalid(
                f"The field search has {length} characters; at most {MAX_SEARCH} are allowed.",
                limit=MAX_SEARCH,
            )
        self.pattern: Pattern = compile_pattern(wanted.match)
        self.type, self.search = wanted.type, wanted.search or None
        self.sort, self.offset, self.limit = sort, offset, limit
        self.low, self.high = self.pattern.low, self.pattern.high
        self.before: tuple[int, str] | None = None
        if after is not None:
            self._continue_behind(after)

    @property
    def is_indexed(self) -> bool:
        """Whether the answer lies in one stretch of an index, so that nothing else is looked at."""
        if self.type or self.search or not self.pattern.is_range:
            return False
        return self.sort == "key" or (self.pattern.text == "**" and self.offset <= NEAR)

    @property
    def is_first(self) -> bool:
        """Whether the page begins with the first match."""
        return not self.offset and self.before is None and self.low == self.pattern.low

    def cursor(self, last: Item) -> str:
        """Where to continue behind `last`."""
        return last.key if self.sort == "key" else f"{last.revision}:{last.key}"

    def _continue_behind(self, after: str) -> None:
        if self.sort == "key":
            self.low = max(self.low, after + "\0")
            return
        revision, _, key = after.partition(":")
        if not _REVISION.fullmatch(revision) or not is_key(key):
            raise Invalid(
                f"The field after is {quoted(after)}; "
                "sorted by change it is the next of an earlier page."
            )
        self.before = (int(revision), key)


def item(connection: apsw.Connection, key: str) -> Item | None:
    """The item of one key."""
    for row in connection.execute(_ITEM, (key,)):
        return Item(*row)
    return None


def items(
    connection: apsw.Connection, question: StateQuery, low: str, skip: int
) -> tuple[list[Item], bool]:
    """Items in the question's order, from `low` on and without the first `skip`; is there more?

    At most `question.limit`, and none behind the one that reaches `PAGE_BYTES`.
    """
    where, bound = _conditions(question, low)
    bound |= {"limit": question.limit + 1, "skip": skip}
    found: list[Item] = []
    size = 0
    for row in connection.execute(_ORDERED[question.sort].format(where=where), bound):
        if len(found) == question.limit or size >= PAGE_BYTES:
            return found, True
        found.append(Item(*row))
        size += len(row[1])
    return found, False


def count(connection: apsw.Connection, question: StateQuery) -> int:
    """How many keys match, wherever the page begins."""
    where, bound = _conditions(question, question.pattern.low, paged=False)
    return int(connection.execute(_COUNT.format(where=where), bound).get)


def items_at(
    connection: apsw.Connection, revision: int, match: str, after: str | None, limit: int
) -> tuple[list[Item], str | None]:
    """A page of items behind key `after`, as they were at an earlier `revision`.

    Reads the state as it is and corrects the keys that have changed since, so that nothing has to
    be held open between two pages. Also gives the key behind which the next page begins, None at
    the end. A page of a pattern that is no range may hold little, or nothing, before the end.
    """
    question = StateQuery(Filter(match), "key", after, 0, limit)
    end = None if question.pattern.is_range else _end_of_step(connection, question)
    question.high = end + "\0" if end else question.high
    page, more = items(connection, question, question.low, 0)
    end = page[-1].key if more else end
    question.high = end + "\0" if end else question.high
    return _corrected(connection, page, revision, question), end


def changed_little(connection: apsw.Connection, revision: int) -> bool:
    """Whether there are at most `NEAR` changes since `revision`."""
    return int(connection.execute(_SINCE, (revision, NEAR + 1)).get) <= NEAR


def _end_of_step(connection: apsw.Connection, question: StateQuery) -> str | None:
    """The last of the next `STEP` keys, None where there are fewer."""
    bound = (question.low, question.high, STEP - 1)
    end: str | None = connection.execute(_STEP_END, bound).get
    return end


def _corrected(
    connection: apsw.Connection, page: list[Item], revision: int, question: StateQuery
) -> list[Item]:
    bound = {"revision": revision, "low": question.low, "high": question.high}
    touching = _TOUCHED_LATELY if changed_little(connection, revision) else _TOUCHED_SINCE
    touched = {key for (key,) in connection.execute(touching, bound)}
    kept = [item for item in page if item.key not in touched]
    for key in touched:
        if question.pattern.matches(key):
            kept += [
                Item(*row)
                for row in connection.execute(_AS_OF, (key, revision))
                if row[1] is not None
            ]
    return sorted(kept)


def _conditions(question: StateQuery, low: str, paged: bool = True) -> tuple[str, dict[str, Any]]:
    pattern = question.pattern
    where = ["s.key >= :low AND s.key < :high"]
    bound: dict[str, Any] = {"low": low, "high": question.high}
    if not pattern.shows_reserved and pattern.low <= RESERVED and pattern.high > RESERVED:
        where.append(f"NOT (s.key >= '{RESERVED}' AND s.key < '{RESERVED_END}')")
    texts, values = of_key_and_value(question)
    if paged and question.before:
        where.append("(s.revision, s.key) < (:before_revision, :before_key)")
        bound |= {"before_revision": question.before[0], "before_key": question.before[1]}
    return " AND ".join([*where, *texts]), bound | values


def of_key_and_value(question: StateQuery) -> tuple[list[str], dict[str, Any]]:
    """Conditions on `s.key` and `s.value` beside the range of keys, and what they are bound to."""
    pattern, where, bound = question.pattern, list[str](), dict[str, Any]()
    if pattern.glob:
        where.append("s.key GLOB :glob")
        bound["glob"] = pattern.glob
        if pattern.dots is not None:
            where.append("length(s.key) - length(replace(s.key, '.', '')) = :dots")
            bound["dots"] = pattern.dots
        else:
            where.append("regexp(:regex, s.key)")
            bound["regex"] = pattern.regex.pattern
    if question.type:
        where.append(f"instr('{TYPES[question.type]}', substr(s.value, 1, 1)) > 0")
    if question.search:
        condition, texts = _search(question.search)
        where.append(condition)
        bound |= texts
    return where, bound


def enable(connection: apsw.Connection) -> None:
    """Give `connection` the functions that searches need."""
    connection.create_scalar_function("shows", _shows, 2, deterministic=True)
    connection.create_scalar_function("names", _names, 2, deterministic=True)
    connection.create_scalar_function("variable", _variable, 1, deterministic=True)


def _shows(*arguments: Any) -> bool:
    folded, raw = arguments
    text = msgspec.json.decode(raw) if raw[0] == '"' else raw
    return folded in text.casefold()


def _names(*arguments: Any) -> bool:
    folded, key = arguments
    return folded in key.casefold()


def _variable(*arguments: Any) -> str:
    return variable(arguments[0])


def variable(key: str) -> str:
    """The name of a key as a variable of a shell: it has letters of ASCII, digits and `_` alone,
    and no digit at its beginning.
    """
    name = _NOT_IN_VARIABLES.sub("_", key).upper()
    return "_" + name if name[0].isdigit() else name


def _search(text: str) -> tuple[str, dict[str, str]]:
    """The text of a string is what it says, that of anything else its JSON; case is folded.

    Both are what the row holds (but for the quotes) where nothing is escaped and all is ASCII. LIKE
    compares such rows, and keys of ASCII, as folding would, several times faster.
    """
    folded = text.casefold()
    key = unicodedata.normalize("NFC", text).casefold()  # whichever form was typed
    bound = {"folded": folded, "key": key, "like": f"%{_literally(folded)}%"}
    in_key = in_value = "0"
    if folded.isascii() and folded.isprintable():
        in_key, in_value = (f"s.{column} LIKE :like ESCAPE '!'" for column in ("key", "value"))
        if '"' in folded or "\\" in folded:
            in_value += " AND substr(s.value, 1, 1) <> '\"'"
    return (
        f"(CASE WHEN {_ODD_KEY} THEN names(:key, s.key) ELSE {in_key} END OR "
        f"CASE WHEN {_ODD} THEN shows(:folded, s.value) ELSE {in_value} END)"
    ), bound


_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Za-z0-9_]")
_ODD_KEY: Final = "octet_length(s.key) <> length(s.key)"
_ODD: Final = "(octet_length(s.value) <> length(s.value) OR s.value GLOB '\"*\\*')"
"""Beyond ASCII, or a string with something escaped."""


def _literally(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


_ITEM: Final = """
SELECT s.key, s.value, s.revision, t.at, t.actor
FROM state s LEFT JOIN transactions t ON t.revision = s.revision WHERE s.key = ?
"""
_ORDERED: Final = {
    "key": """
SELECT s.key, s.value, s.revision, t.at, t.actor
FROM state s LEFT JOIN transactions t ON t.revision = s.revision
WHERE {where} ORDER BY s.key LIMIT :limit OFFSET :skip
""",
    # Left alone, SQLite would walk the keys and sort them.
    "changed": """
SELECT s.key, s.value, s.revision, t.at, t.actor
FROM state s INDEXED BY state_by_revision LEFT JOIN transactions t ON t.revision = s.revision
WHERE {where} ORDER BY s.revision DESC, s.key DESC LIMIT :limit OFFSET :skip
""",
}
_COUNT: Final = "SELECT count(*) FROM state s WHERE {where}"
_STEP_END: Final = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?"
_SINCE: Final = "SELECT count(*) FROM (SELECT 1 FROM changes WHERE revision > ? LIMIT ?)"
# The one walks along the keys, whose history may be long, the other along what came last.
_TOUCHED_SINCE: Final = """
SELECT DISTINCT key FROM changes WHERE +revision > :revision AND key >= :low AND key < :high
"""
_TOUCHED_LATELY: Final = """
SELECT key FROM changes WHERE revision > :revision AND +key >= :low AND +key < :high
"""
_AS_OF: Final = """
SELECT c.key, c.value, c.revision, t.at, t.actor
FROM changes c JOIN transactions t ON t.revision = c.revision
WHERE c.key = ? AND c.revision <= ? ORDER BY c.revision DESC LIMIT 1
"""


def env_collision(connection: apsw.Connection, question: StateQuery) -> list[str]:
    """Two matching keys that have one name as environment variables, if there are any."""
    where, bound = _conditions(question, question.low)
    for pair in connection.execute(_COLLISION.format(where=where), bound):
        return list(pair)
    return []


_COLLISION: Final = """
SELECT min(key), max(key) FROM (
    SELECT s.key, variable(s.key) AS name FROM state s WHERE {where}
) GROUP BY name HAVING count(*) > 1 LIMIT 1
"""
