"""An export of the history: one transaction a line, as `/queries/export?history=1` streams it."""

from collections.abc import Iterator
from typing import Final

import msgspec

from server.events import Transaction
from server.http import shapes
from server.http.events import change_of
from server.keys import Pattern
from server.readmodel import ReadModel
from server.times import iso
from server.turns import breathe

TRANSACTIONS: Final = 500


def lines(readmodel: ReadModel, behind: int, last: int, pattern: Pattern) -> Iterator[bytes]:
    """What transactions behind one revision, up to another, did to the keys that match."""
    with readmodel.holding(behind):
        yield from _lines(readmodel, behind, last, pattern)


def _lines(readmodel: ReadModel, after: int, last: int, pattern: Pattern) -> Iterator[bytes]:
    while found := readmodel.transactions(after, TRANSACTIONS):
        after = found[-1].revision
        wanted = (one for one in found if one.revision <= last)
        if piece := b"".join(_line(one, pattern) for one in wanted):
            yield piece
        if after >= last:
            return
        breathe()


def _line(one: Transaction, pattern: Pattern) -> bytes:
    changes = [change_of(change) for change in one.changes if pattern.matches(change.key)]
    if one.changes and not changes:
        return b""
    recorded = shapes.Recorded(one.revision, one.id, one.actor, iso(one.at), changes, type=one.type)
    if one.of:
        recorded.reverses = list(one.of)
    return msgspec.json.encode(recorded) + b"\n"
