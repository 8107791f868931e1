"""`POST /commands/import` of a history: the same log again, in a store that has none of its own."""

import json
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

import apsw

from signalbox.server.engines.base import AppendIndeterminate
from signalbox.server.formats.text_lines import Row
from signalbox.server.http.commands.history_comparison import (
    COMPARED,
    HistoryComparison,
    not_atomic,
    twice,
    with_news,
)
from signalbox.server.http.commands.history_line import transaction_of
from signalbox.server.http.commands.import_batches import located, nothing_yet
from signalbox.server.http.commands.row_reader import RowReader
from signalbox.server.model.errors import SignalboxError, Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store import log, state
from signalbox.server.write.writer import MAX_GROUP, Writer

PIECE_BYTES: Final = 1024 * 1024
"""Of lines that are appended together."""
SLICE: Final = 100
"""Lines read before others get a turn."""
IDLE_SECONDS: Final = 0.5
PROGRESS_SECONDS: Final = 0.25


class HistoryImport:
    """One request. What the store has already, equal, is skipped: so it can be sent again."""

    def __init__(
        self, writer: Writer, readmodel: ReadModel, identity: str, atomic: bool = False
    ) -> None:
        self._writer, self._readmodel = writer, readmodel
        self._id, self._atomic = identity, atomic
        self._number = self._bytes = 0
        self._told = 0.0
        self._piece: list[tuple[int, Transaction]] = []
        self._ids = set[str]()
        self._comparison = HistoryComparison(
            writer.revision, readmodel.log.transactions, writer.max_bytes
        )
        self.failure: SignalboxError | None = None
        self.counts = nothing_yet(writer.revision)

    def run(
        self, reader: RowReader, stopped: Callable[[], SignalboxError | None]
    ) -> Iterator[bytes]:
        """Answer lines: progress as it goes, then the summary.

        `stopped` says why the body was not read to its end.
        """
        try:
            if self._atomic:
                raise not_atomic()
            while not reader.is_stopping and (rows := reader.take(IDLE_SECONDS)) is not None:
                for row in rows:
                    self._take(row)
                if not rows:
                    self._append()
                yield from self._progress()
            self._append()
            self.failure = stopped()
        except SignalboxError as error:
            self.failure = error
        yield self._summary()

    def _take(self, row: Row) -> None:
        line = row.text
        self._number += 1
        if self._number % SLICE == 0:
            yield_to_hub()
        if not line or line.isspace():
            return
        self.counts["lines"] += 1
        try:
            one = transaction_of(row)
            if self._comparison.is_there(one):
                self.counts["duplicates"] += 1
                return
            if one.id in self._ids:
                raise twice(one.id)
        except SignalboxError as error:
            self._append()
            raise located(error, self._number) from error
        self._piece.append((self._number, one))
        self._ids.add(one.id)
        self._bytes += len(line)
        if len(self._piece) == MAX_GROUP or self._bytes >= PIECE_BYTES:
            self._append()

    def _append(self) -> None:
        if not self._piece:
            return
        piece, self._piece, self._bytes = self._piece, [], 0
        self._ids.clear()
        transactions, failure = self._with_news(piece)
        try:
            self._adopt(transactions)
        except apsw.ConstraintError:
            place = self._repeated(transactions)
            failure = located(twice(transactions[place].id), piece[place][0])
            self._adopt(transactions[:place])
        if failure is not None:
            raise failure

    def _adopt(self, transactions: list[Transaction]) -> None:
        """Raises `apsw.ConstraintError` where an id is another's; then none is written."""
        if not transactions:
            return
        try:
            self._writer.append_transactions(transactions)
        except AppendIndeterminate as error:
            raise Unavailable("Whether all was written is not known. Send it again.") from error
        self.counts["accepted"] += len(transactions)
        self.counts["changes"] += sum(len(one.changes) for one in transactions)
        self.counts["batches"] += 1
        self.counts["revision"] = transactions[-1].revision

    def _with_news(
        self, piece: list[tuple[int, Transaction]]
    ) -> tuple[list[Transaction], SignalboxError | None]:
        """The piece, its changes with whether their key did not exist before.

        Up to the first that cannot be taken, and why that cannot.
        """
        exist = self._existing({change.key for _, one in piece for change in one.changes})
        found: list[Transaction] = []
        for number, one in piece:
            try:
                found.append(with_news(one, exist.__contains__))
            except SignalboxError as error:
                return found, located(error, number)
            exist |= {change.key for change in one.changes if change.raw is not None}
            exist -= {change.key for change in one.changes if change.raw is None}
        return found, None

    def _existing(self, keys: set[str]) -> set[str]:
        ordered, found = sorted(keys), set[str]()
        for start in range(0, len(ordered), COMPARED):
            with self._readmodel.snapshot() as connection:
                found |= state.existing(connection, ordered[start : start + COMPARED])
            yield_to_hub()
        return found

    def _repeated(self, transactions: list[Transaction]) -> int:
        """The place of the first whose id another transaction has already."""
        with self._readmodel.snapshot() as connection:
            known = [log.has_id(connection, one.id) for one in transactions]
        return known.index(True)

    def _progress(self) -> Iterator[bytes]:
        if monotonic() - self._told > PROGRESS_SECONDS:
            self._told = monotonic()
            yield json.dumps({"type": "progress"} | self.counts).encode() + b"\n"

    def _summary(self) -> bytes:
        about = {"type": "summary", "id": self._id, "status": "accepted", "format": "history"}
        if self.failure:
            about |= {"status": "rejected"} | self.failure.fields()
        return json.dumps(about | self.counts).encode() + b"\n"
