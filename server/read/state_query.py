"""A query of the state (filter, order and position) and the SQL that answers it now."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.model.errors import Invalid, quoted
from signalbox.server.model.keys import (
    RESERVED,
    RESERVED_END,
    Pattern,
    compile_pattern,
    is_key,
)
from signalbox.server.model.values import TYPES
from signalbox.server.read import text_search
from signalbox.server.read.row_forms import ITEM_COLUMNS, JSON_ITEM, JSON_ITEM_COLUMNS

_REVISION: Final = re.compile(r"[0-9]{1,18}")
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Characters of values after which a page ends, however many items it may have."""
MAX_SEARCH: Final = 10_000
"""Characters; SQLite takes patterns of five times as many bytes, and escapes double some."""
SORTS: Final = ("key", "changed")
NEAR: Final = 1_000
"""Keys or changes that may be skipped while the whole server waits; more take a thread."""


class Item(NamedTuple):
    """A key with its value as compact JSON text; `at` in ms since 1970 UTC."""

    key: str
    raw: str
    revision: int
    at: int
    actor: str


class Page(NamedTuple):
    """`total` counts every match, -1 where not asked for; `next` continues after `items`.

    `compacted` are prefixes of keys that are left out: retention has removed what they were.
    """

    revision: int
    total: int
    items: list[Item]
    next: str | None
    compacted: Sequence[str] = ()


class JsonPage(NamedTuple):
    """As `Page`; `items` are JSON texts as `schemas.Item` has them, separated by commas."""

    revision: int
    total: int
    items: str
    next: str | None
    compacted: Sequence[str] = ()

    @classmethod
    def of(cls, page: Page) -> "JsonPage":
        """The same of a page whose items have JSON as `raw`."""
        items = ",".join([item.raw for item in page.items])
        return cls(page.revision, page.total, items, page.next, page.compacted)


class Filter(NamedTuple):
    """`type` is a JSON type's name, `search` a text in key or value, whatever its case.

    It is searched for in the content of a string and in the compact JSON of any other value. Case
    is folded as Unicode does: "strasse" finds "Straße".
    """

    match: str = "**"
    type: str | None = None
    search: str | None = None


class StateQuery:
    """A filter with its order and position, checked. Raises `Invalid`."""

    def __init__(
        self,
        wanted: Filter,
        sort: str,
        after: str | None,
        offset: int,
        limit: int,
        as_json: bool = False,
    ) -> None:
        """Check a query of the state. Raises `Invalid` for an unusable filter or cursor."""
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
                field="search",
            )
        self.filter = wanted
        self.pattern: Pattern = compile_pattern(wanted.match)
        self.type, self.search = wanted.type, wanted.search or None
        self.sort, self.offset, self.limit = sort, offset, limit
        self.columns = JSON_ITEM_COLUMNS if as_json else ITEM_COLUMNS
        self.low, self.high = self.pattern.low, self.pattern.high
        self.before: tuple[int, str] | None = None
        if after is not None:
            self._continue_after(after)

    @classmethod
    def of(cls, wanted: Filter) -> "StateQuery":
        """The query of all matching keys, in their order."""
        return cls(wanted, "key", None, 0, 0)

    @property
    def is_indexed(self) -> bool:
        """Whether one range of an index is the answer, so that no other key is looked at."""
        if self.type or self.search or not self.pattern.is_range:
            return False
        return self.sort == "key" or (self.pattern.text == "**" and self.offset <= NEAR)

    def cursor(self, last: Item) -> str:
        """The cursor that continues the query after the item `last`."""
        return last.key if self.sort == "key" else f"{last.revision}:{last.key}"

    def _continue_after(self, after: str) -> None:
        """Begin after the item that the cursor names. Raises `Invalid`."""
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


def items(
    connection: apsw.Connection, query: StateQuery, low: str, skip: int
) -> tuple[list[Item], bool]:
    """A page of items from `low` on, without the first `skip`, and whether there are more."""
    where, bound = _conditions(query, low)
    if query.before:
        where += " AND (s.revision, s.key) < (:before_revision, :before_key)"
        bound |= {"before_revision": query.before[0], "before_key": query.before[1]}
    bound |= {"limit": query.limit + 1, "skip": skip}
    rows = connection.execute(
        _ORDERED[query.sort].format(where=where, columns=query.columns), bound
    )
    return taken(map(as_item, rows), query.limit)


as_item: Final = partial(tuple.__new__, Item)
"""As `Item(*columns)`, without running Python for each row."""


def json_items(connection: apsw.Connection, query: StateQuery) -> tuple[str, str | None] | None:
    """A page of items in the order of keys as one JSON text, and the cursor if there are more.

    One statement makes the text. None where values are so large that they might exceed
    `PAGE_BYTES`: `items` looks at each before it reads more.
    """
    where, bound = _conditions(query, query.low)
    bound |= {"limit": query.limit, "largest": PAGE_BYTES // query.limit}
    sql = _JSON_ITEMS.format(item=JSON_ITEM, where=where)
    text, found, last, largest = connection.execute(sql, bound).get
    if not found:
        return "", None
    if largest > bound["largest"]:
        return None
    following = {"low": last + "\0"}
    has_more = connection.execute(_ANY.format(where=where), bound | following).get
    return text, last if has_more else None


def taken(matching: Iterator[Item], limit: int) -> tuple[list[Item], bool]:
    """As many of the items that match as one page holds, and whether there are more.

    At most `limit`, and none after the one that reaches `PAGE_BYTES`.
    """
    page: list[Item] = []
    size = 0
    for item in matching:
        if len(page) == limit or size >= PAGE_BYTES:
            return page, True
        page.append(item)
        size += len(item[1])
    return page, False


def _conditions(query: StateQuery, low: str) -> tuple[str, dict[str, Any]]:
    """The WHERE clause of a query for its keys from `low` on, and its parameters.

    That a key is visible comes last: nearly all are, so it is asked only of those that match.
    """
    conditions, bound = key_and_value_conditions(query)
    where = ["s.key >= :low AND s.key < :high", *conditions, visible(query.pattern)]
    return " AND ".join(where), bound | {"low": low, "high": query.high}


def visible(pattern: Pattern) -> str:
    """The condition that `s.key` is none of the app's own, unless the pattern shows these."""
    if pattern.shows_reserved or pattern.low > RESERVED or pattern.high <= RESERVED:
        return "TRUE"
    return f"NOT (s.key >= '{RESERVED}' AND s.key < '{RESERVED_END}')"


def key_and_value_conditions(
    query: StateQuery, may_be_beyond_ascii: str = "TRUE"
) -> tuple[list[str], dict[str, Any]]:
    """Conditions on `s.key` and `s.value` besides the range of keys, and their parameters.

    `may_be_beyond_ascii` is SQL for whether a row can have text beyond ASCII.
    """
    pattern, where, bound = query.pattern, list[str](), dict[str, Any]()
    if pattern.glob:
        where.append("s.key GLOB :glob")
        bound["glob"] = pattern.glob
        if pattern.dots is not None:
            where.append("length(s.key) - length(replace(s.key, '.', '')) = :dots")
            bound["dots"] = pattern.dots
        else:
            where.append("regexp(:regex, s.key)")
            bound["regex"] = pattern.regex.pattern
    if query.type:
        where.append(f"instr('{TYPES[query.type]}', substr(s.value, 1, 1)) > 0")
    if query.search:
        condition, texts = text_search.condition(query.search, may_be_beyond_ascii)
        where.append(condition)
        bound |= texts
    return where, bound


ITEM: Final = """
SELECT (SELECT ifnull(max(revision), 0) FROM transactions),
    s.key, s.value, s.revision, t.at, t.actor
FROM (SELECT 1) LEFT JOIN state s ON s.key = ? LEFT JOIN transactions t ON t.revision = s.revision
"""
"""The newest revision and the item of one key in the state now; NULLs where there is none."""
_ORDERED: Final = {
    "key": """
SELECT {columns}
FROM state s LEFT JOIN transactions t ON t.revision = s.revision
WHERE {where} ORDER BY s.key LIMIT :limit OFFSET :skip
""",
    # Left alone, SQLite would walk the keys and sort them.
    "changed": """
SELECT {columns}
FROM state s INDEXED BY state_by_revision LEFT JOIN transactions t ON t.revision = s.revision
WHERE {where} ORDER BY s.revision DESC, s.key DESC LIMIT :limit OFFSET :skip
""",
}
_JSON_ITEMS: Final = """
SELECT group_concat(CASE WHEN octet_length(s.value) <= :largest THEN {item} END), count(*),
    max(s.key), max(octet_length(s.value))
FROM (
    SELECT s.key, s.value, s.revision FROM state s WHERE {where} ORDER BY s.key LIMIT :limit
) s LEFT JOIN transactions t ON t.revision = s.revision
"""
_ANY: Final = "SELECT 1 FROM state s WHERE {where} LIMIT 1"
