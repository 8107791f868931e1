"""Finds keys that would have one name as environment variables."""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Final

import apsw

Pair = list[str]
"""Two keys, or none."""


def collision(
    pages: Iterable[bytes], in_thread: Callable[[Callable[[apsw.Connection], Pair]], Pair]
) -> Pair:
    """Two keys with the same name, if there are any, in pages of `row_forms.ENV_NAMES`.

    `in_thread` is `ReadModel.in_thread`; the thread reads nothing of the store.
    """
    with closing(apsw.Connection("")) as seen:  # in a temporary file, since names may be many
        seen.pragma("journal_mode", "OFF")
        seen.execute(_CREATE)
        for page in pages:
            if found := in_thread(lambda _, page=page: _add(seen, page)):  # type: ignore[misc]
                return found
    return []


def _add(seen: apsw.Connection, page: bytes) -> Pair:
    """Add the names of a page; two keys with one name, if there are any."""
    bound = {"page": page}
    for pair in seen.execute(_FIND, bound):
        return list(pair)
    seen.execute(_ADD, bound)
    return []


_CREATE: Final = "CREATE TABLE names (name TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID"
_FIND: Final = """
WITH page AS MATERIALIZED (
    SELECT value ->> 0 AS name, value ->> 1 AS key FROM json_each(CAST(:page AS TEXT))
)
SELECT min(key), max(key) FROM (
    SELECT name, key FROM page
    UNION ALL SELECT n.name, n.key FROM page p JOIN names n ON n.name = p.name
) GROUP BY name HAVING count(*) > 1 LIMIT 1
"""
_ADD: Final = """
INSERT INTO names SELECT value ->> 0, value ->> 1 FROM json_each(CAST(:page AS TEXT))
"""
