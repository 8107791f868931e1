"""The event log as bytes, page by page: lines of a history, and changes that a stream missed.

As with `snapshot_pages`, SQLite writes a page in a native thread, from a transaction of its own.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import apsw

from signalbox.server.model.events import COMPACTED, REVERSING, check_version
from signalbox.server.read import state_query
from signalbox.server.read.held_revisions import HeldRevisions
from signalbox.server.read.row_forms import iso_time
from signalbox.server.read.shared_pages import Page, SharedPages
from signalbox.server.read.state_query import Filter, StateQuery
from signalbox.server.runtime.scheduling import Turns

PAGE_TRANSACTIONS: Final = 1_000
PAGE_BYTES: Final = 1024 * 1024
"""Of keys and values on a page, unless it is one transaction."""
TRANSACTION_BYTES: Final = 200
CHANGE_BYTES: Final = 50
"""What a transaction and a change take besides keys and values, roughly."""


class _Wanted(NamedTuple):
    """What a page has: the SQL of its lines, and the keys (None: all, also the app's own)."""

    line: str
    match: str | None
    store: str


class LogPages:
    """Readers of the log; those who read the same share the pages."""

    def __init__(self, store: str, held: HeldRevisions, shared: SharedPages, turns: Turns) -> None:
        """Readers of the log of `store`, a store's id; they hold revisions by `held`."""
        self._store = store
        self._held, self._shared, self._turns = held, shared, turns

    def history(self, after: int, last: int, match: str | None) -> Iterator[bytes]:
        """The transactions after one revision up to another, with their changes of matching keys.

        One a line, as JSON; each page in its turn. `match` None: every key, also the app's own.
        """
        wanted = _Wanted(_HISTORY_LINE, match, self._store)
        with self._held.holding(after), self._shared.reading():
            while after < last:
                name = (wanted, after, last)
                page = self._shared.get(name, partial(_page, wanted, after, last))
                after = page.next or last
                if page.data:
                    self._turns.wait()
                    yield page.data

    def changes(self, after: int, last: int, match: str) -> tuple[bytes, int]:
        """The `change` events of a stream after a revision, in the caller's turn.

        As many as a page holds up to the revision `last`, and the revision that they reach.
        """
        wanted = _Wanted(_CHANGE_EVENT, match, self._store)
        with self._shared.reading():
            page = self._shared.get((wanted, after), partial(_page, wanted, after, last))
        self._turns.wait()
        return page.data, page.next or last


def _page(wanted: _Wanted, after: int, last: int, connection: apsw.Connection) -> Page[int]:
    """The transactions after `after`, up to `last`, that fit on a page, at least one of them.

    `next` is the last one's revision. Raises `UnknownVersion`.
    """
    end, size = last, 0
    sizes = connection.execute(_SIZES, (after, last, PAGE_TRANSACTIONS))
    for revision, version, changes, raw_bytes in sizes:
        check_version(version, revision)
        more = TRANSACTION_BYTES + CHANGE_BYTES * changes + raw_bytes
        if size and size + more > PAGE_BYTES:
            break
        end, size = revision, size + more
    conditions, bound = ["TRUE"], dict[str, Any]()
    if wanted.match is not None:
        query = StateQuery.of(Filter(wanted.match))
        conditions, bound = state_query.key_and_value_conditions(query)
        conditions += [state_query.visible(query.pattern), "s.key >= :low AND s.key < :high"]
        bound |= {"low": query.low, "high": query.high}
    bound |= {"after": after, "last": end, "store": wanted.store}
    sql = _LINES.format(line=wanted.line, where=" AND ".join(conditions))
    lines = connection.execute(sql, bound).get
    return Page((lines or "").encode(), end)


_SIZES: Final = """
SELECT t.revision, t.version, t.changes, ifnull((
    SELECT sum(octet_length(s.key) + ifnull(octet_length(s.value), 0))
    FROM changes s WHERE s.revision = t.revision
), 0)
FROM transactions t WHERE t.revision > ? AND t.revision <= ? ORDER BY t.revision LIMIT ?
"""
_LINES: Final = """
WITH page AS MATERIALIZED (
    SELECT t.*, (
        SELECT count(*) FROM changes s WHERE s.revision = t.revision
    ) AS kept, (
        SELECT count(*) FROM changes s WHERE s.revision = t.revision AND {where}
    ) AS matching, (
        SELECT group_concat('{{"key":' || json_quote(s.key) || CASE
            WHEN s.value IS NULL THEN ',"deleted":true' ELSE ',"value":' || s.value
        END || '}}', ',' ORDER BY s.key)
        FROM changes s WHERE s.revision = t.revision AND {where}
    ) AS changed
    FROM transactions t WHERE t.revision > :after AND t.revision <= :last ORDER BY t.revision
)
SELECT group_concat({line}, '' ORDER BY p.revision) FROM page p
"""
_BEGINNING: Final = f"""
'{{"revision":' || p.revision || ',"id":' || json_quote(p.command_id)
|| ',"actor":' || json_quote(p.actor) || ',"at":"' || {iso_time("p.at")}
|| '","changes":[' || ifnull(changed, '') || ']'
"""
_CHANGE_EVENT: Final = f"""
CASE WHEN matching THEN
    'event: change' || char(10) || 'data: ' || {_BEGINNING} || '}}' || char(10)
    || 'id: ' || :store || ':' || p.revision || char(10, 10)
END
"""
"""An event of `/queries/stream`, see `stream_events.change`."""
_REVERSING: Final = ", ".join(f"'{name}'" for name in REVERSING)
_REVERSES: Final = """
ifnull((
    SELECT ',"reverses":' || nullif(json_group_array(r.target ORDER BY r.target), '[]')
    FROM reversals r WHERE r.revision = p.revision
), '')
"""
_CHECKSUM: Final = """
',"checksum":"' || printf('%08x', transaction_checksum(p.checksum, (
    SELECT json_group_array(s.checksum ORDER BY s.key) FROM changes s WHERE s.revision = p.revision
))) || '"'
"""
_HISTORY_LINE: Final = f"""
CASE WHEN p.type <> '{COMPACTED}' AND (matching OR NOT kept) THEN
    {_BEGINNING} || ',"type":' || json_quote(p.type)
    || ',"fingerprint":"' || lower(hex(p.fingerprint)) || '"'
    || CASE WHEN p.type IN ({_REVERSING}) THEN {_REVERSES} ELSE '' END
    || CASE WHEN p.changes > kept THEN ',"compacted":' || (p.changes - kept) ELSE '' END
    || CASE WHEN matching = kept AND p.checksum IS NOT NULL THEN {_CHECKSUM} ELSE '' END
    || '}}' || char(10)
END
"""
"""A line of an exported history, see `schemas.Recorded`."""
