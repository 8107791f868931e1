"""`POST /commands/import` of a history: the same log again, in a store that has none of its own."""

import json
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

import apsw

from server import state
from server.engines.base import Unsettled
from server.errors import Conflict, Invalid, SignalboxError, Unavailable
from server.events import COMPACTED, Change, Transaction, check_bytes, checksum
from server.http.batches import located
from server.http.lines import RowReader
from server.http.records import read_record
from server.readmodel import ReadModel
from server.turns import breathe
from server.writer import MAX_GROUP, Writer

PIECE_BYTES: Final = 1024 * 1024
"""Of lines that are appended together."""
SLICE: Final = 100
"""Lines read before others get a turn."""
IDLE_SECONDS: Final = 0.5
PROGRESS_SECONDS: Final = 0.25
COMPARED: Final = 500
"""Transactions of the store that are looked at together."""

_OTHER: Final = (
    "This store has another transaction at revision {}. A history is taken by an empty store, or "
    "by one that has its beginning; `signalbox replay` sends it to any other as new changes."
)
_GAP: Final = (
    "Revision {} follows {}. What is between was left out when this was written, or had been "
    "removed by retention; `signalbox migrate` copies a store that has been thinned out."
)

_ALTERED: Final = (
    "Revision {} is not as it was exported: its content does not fit its checksum {:08x}. Export "
    "it again from its store, or use a backup."
)


class Recording:
    """One request. What the store has already, equal, is skipped: so it can be sent again."""

    def __init__(
        self, writer: Writer, readmodel: ReadModel, identity: str, atomic: bool = False
    ) -> None:
        self._writer, self._readmodel = writer, readmodel
        self._id, self._atomic = identity, atomic
        self._number = self._bytes = 0
        self._told = 0.0
        self._last = (0, 0)
        """Revision and time of the last line."""
        self._piece: list[tuple[int, Transaction]] = []
        self._ids = set[str]()
        self._start = writer.revision
        self._before = self._there()
        self._ahead = next(self._before, None)
        self.failure: SignalboxError | None = None
        self.counts = {
            "lines": 0,
            "accepted": 0,
            "rejected": 0,
            "changes": 0,
            "batches": 0,
            "duplicates": 0,
            "revision": writer.revision,
        }

    def run(
        self, reader: RowReader, stopped: Callable[[], SignalboxError | None]
    ) -> Iterator[bytes]:
        """Answer lines: progress as it goes, then the summary.

        `stopped` says why the body was not read to its end.
        """
        try:
            if self._atomic:
                raise Invalid("A history keeps its transactions; import it without atomic=1.")
            while not reader.is_stopping and (rows := reader.take(IDLE_SECONDS)) is not None:
                for row in rows:
                    self._take(row.text)
                if not rows:
                    self._append()
                yield from self._progress()
            self._append()
            self.failure = stopped()
        except SignalboxError as error:
            self.failure = error
        yield self._summary()

    def _take(self, line: bytes) -> None:
        self._number += 1
        if self._number % SLICE == 0:
            breathe()
        if not line or line.isspace():
            return
        self.counts["lines"] += 1
        try:
            one = read_record(line)
            self._check_order(one)
            if one.id in self._ids:
                raise Invalid(f"The id {one.id} stands there twice.")
            if self._is_there(one):
                self.counts["duplicates"] += 1
                return
            if self._writer.max_bytes is not None:
                check_bytes(one, self._writer.max_bytes)
        except SignalboxError as error:
            self._append()
            raise located(error, self._number) from error
        self._piece.append((self._number, one))
        self._ids.add(one.id)
        self._bytes += len(line)
        if len(self._piece) == MAX_GROUP or self._bytes >= PIECE_BYTES:
            self._append()

    def _check_order(self, one: Transaction) -> None:
        revision, at = self._last
        if one.revision != revision + 1:
            raise Invalid(_GAP.format(one.revision, revision or "nothing"))
        if one.at < at:
            raise Invalid(f"Revision {one.revision} is older than the one before it.")
        self._last = (one.revision, one.at)

    # What the store has already.

    def _there(self) -> Iterator[Transaction]:
        after = 0
        while after < self._start and (found := self._readmodel.transactions(after, COMPARED)):
            yield from found
            after = found[-1].revision

    def _is_there(self, one: Transaction) -> bool:
        """Raises `Conflict` where there is another in its place."""
        if one.revision > self._start:
            return False
        while self._ahead is not None and self._ahead.revision < one.revision:
            self._ahead = next(self._before, None)
        ours = self._ahead
        if ours is None or ours.revision > one.revision or ours.type == COMPACTED:
            return True  # retention has removed it since
        if _told(ours) != _told(one) or (not ours.compacted and _made(ours) != _made(one)):
            raise Conflict(_OTHER.format(one.revision), revision=self._start)
        return True

    # What it has not.

    def _append(self) -> None:
        if not self._piece:
            return
        transactions = self._with_news()
        try:
            self._writer.adopt(transactions)
        except apsw.ConstraintError as error:
            raise self._repeated() from error
        except Unsettled as error:
            raise Unavailable("Whether all was written is not known. Send it again.") from error
        self.counts["accepted"] += len(transactions)
        self.counts["changes"] += sum(len(one.changes) for one in transactions)
        self.counts["batches"] += 1
        self.counts["revision"] = transactions[-1].revision
        self._piece, self._bytes = [], 0
        self._ids.clear()

    def _with_news(self) -> list[Transaction]:
        """The piece, its changes with whether their key did not exist before.

        A log may delete what is not there, which does nothing: it is the same log here.
        """
        exist = self._existing({change.key for _, one in self._piece for change in one.changes})
        found = []
        for number, one in self._piece:
            changes = [
                Change(key, raw, raw is not None and key not in exist)
                for key, raw, _ in one.changes
            ]
            exist |= {change.key for change in changes if change.raw is not None}
            exist -= {change.key for change in changes if change.raw is None}
            found.append(_as_exported(one._replace(changes=changes), number))
        return found

    def _existing(self, keys: set[str]) -> set[str]:
        ordered, found = sorted(keys), set[str]()
        for start in range(0, len(ordered), COMPARED):
            with self._readmodel.snapshot() as connection:
                found |= state.existing(connection, ordered[start : start + COMPARED])
            breathe()
        return found

    def _repeated(self) -> SignalboxError:
        """Which line has an id that another transaction has already."""
        for number, one in self._piece:
            if self._writer.fingerprint(one.id) is not None:
                return located(Invalid(f"The id {one.id} stands there twice."), number)
        return Invalid("An id stands there twice.")

    # The answer.

    def _progress(self) -> Iterator[bytes]:
        if monotonic() - self._told > PROGRESS_SECONDS:
            self._told = monotonic()
            yield json.dumps({"type": "progress"} | self.counts).encode() + b"\n"

    def _summary(self) -> bytes:
        about = {"type": "summary", "id": self._id, "status": "accepted", "format": "history"}
        if self.failure:
            about |= {"status": "rejected"} | self.failure.fields()
        return json.dumps(about | self.counts).encode() + b"\n"


def _as_exported(one: Transaction, number: int) -> Transaction:
    """Raises `Invalid` where the line's content is not that of its checksum."""
    if one.checksum not in (None, checksum(one)):
        why = _ALTERED.format(one.revision, one.checksum)
        raise located(Invalid(why), number)
    return one._replace(checksum=None)


def _told(one: Transaction) -> tuple[Any, ...]:
    return (one.id, one.actor, one.at, one.type, one.of)


def _made(one: Transaction) -> list[tuple[str, str | None]]:
    return [(change.key, change.raw) for change in one.changes]
