"""`POST /commands/import` of a history: appends its transactions to the log as they are."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import apsw

from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.formats.text_lines import Row
from signalbox.server.http.commands.history_comparison import (
    COMPARED,
    HistoryComparison,
    atomic_history_error,
    repeated_id_error,
    with_created_keys,
)
from signalbox.server.http.commands.history_line import transaction_of
from signalbox.server.http.commands.import_batches import with_line_number
from signalbox.server.http.commands.import_progress import IDLE_SECONDS, Progress, zero_counts
from signalbox.server.http.commands.import_row_reader import RowReader
from signalbox.server.model.errors import SignalboxError, Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store import log_table, state_table
from signalbox.server.write.writer import MAX_GROUP, Writer

PIECE_BYTES: Final = 1024 * 1024
"""Bytes of lines that are appended in one commit."""
SLICE: Final = 100
"""Lines that are read before other greenlets run."""


class HistoryImport:
    """One request. Transactions that the store has already are skipped: it can be sent again."""

    def __init__(
        self, writer: Writer, readmodel: ReadModel, identity: str, atomic: bool = False
    ) -> None:
        """The import `identity` of a history; `atomic` is refused."""
        self._writer, self._readmodel = writer, readmodel
        self._id, self._atomic = identity, atomic
        self._number = self._bytes = 0
        self._progress = Progress()
        self._piece: list[tuple[int, Transaction]] = []
        self._ids = set[str]()
        self._comparison = HistoryComparison(
            writer.revision, readmodel.log.transactions, writer.max_bytes
        )
        self.failure: SignalboxError | None = None
        self.counts = zero_counts(writer.revision)

    def run(
        self, reader: RowReader, stopped: Callable[[], SignalboxError | None]
    ) -> Iterator[bytes]:
        """Lines of the response: progress, then the summary.

        `stopped` returns why the body was not read to its end.
        """
        try:
            if self._atomic:
                raise atomic_history_error()
            while not reader.is_stopping and (rows := reader.next_rows(IDLE_SECONDS)) is not None:
                for row in rows:
                    self._process(row)
                if not rows:
                    self._append()
                yield from self._progress.lines(self.counts)
            self._append()
            self.failure = stopped()
        except SignalboxError as error:
            self.failure = error
        yield self._summary()

    def _process(self, row: Row) -> None:
        """Take in one line of the history, unless the store has its transaction."""
        line = row.text
        self._number += 1
        if self._number % SLICE == 0:
            yield_to_hub()
        if not line or line.isspace():
            return
        self.counts["lines"] += 1
        try:
            transaction = transaction_of(row)
            if self._comparison.is_stored(transaction):
                self.counts["duplicates"] += 1
                return
            if transaction.id in self._ids:
                raise repeated_id_error(transaction.id)
        except SignalboxError as error:
            self._append()
            raise with_line_number(error, self._number) from error
        self._piece.append((self._number, transaction))
        self._ids.add(transaction.id)
        self._bytes += len(line)
        if len(self._piece) == MAX_GROUP or self._bytes >= PIECE_BYTES:
            self._append()

    def _append(self) -> None:
        """Append the transactions gathered so far to the store's log."""
        if not self._piece:
            return
        piece, self._piece, self._bytes = self._piece, [], 0
        self._ids.clear()
        transactions, failure = self._with_created_keys(piece)
        try:
            self._adopt(transactions)
        except apsw.ConstraintError:
            repeated = self._repeated(transactions)
            failure = with_line_number(
                repeated_id_error(transactions[repeated].id), piece[repeated][0]
            )
            self._adopt(transactions[:repeated])
        if failure is not None:
            raise failure

    def _adopt(self, transactions: list[Transaction]) -> None:
        """Append imported transactions, and count them.

        Raises `apsw.ConstraintError` where an id is used already; then none is written.
        """
        if not transactions:
            return
        try:
            self._writer.append_transactions(transactions)
        except AppendIndeterminate as error:
            raise Unavailable("Whether all was written is not known. Send it again.") from error
        self.counts["accepted"] += len(transactions)
        self.counts["changes"] += sum(len(transaction.changes) for transaction in transactions)
        self.counts["batches"] += 1
        self.counts["revision"] = transactions[-1].revision

    def _with_created_keys(
        self, piece: list[tuple[int, Transaction]]
    ) -> tuple[list[Transaction], SignalboxError | None]:
        """The piece, each change with whether it creates its key.

        Up to the first transaction that is refused, and why it is.
        """
        exist = self._existing(
            {change.key for _, transaction in piece for change in transaction.changes}
        )
        transactions: list[Transaction] = []
        for number, transaction in piece:
            try:
                transactions.append(with_created_keys(transaction, exist.__contains__))
            except SignalboxError as error:
                return transactions, with_line_number(error, number)
            exist |= {change.key for change in transaction.changes if change.raw is not None}
            exist -= {change.key for change in transaction.changes if change.raw is None}
        return transactions, None

    def _existing(self, keys: set[str]) -> set[str]:
        """Those of the keys that the store has: their imported changes create none."""
        ordered, existing = sorted(keys), set[str]()
        for start in range(0, len(ordered), COMPARED):
            with self._readmodel.snapshot() as connection:
                existing |= state_table.existing(connection, ordered[start : start + COMPARED])
            yield_to_hub()
        return existing

    def _repeated(self, transactions: list[Transaction]) -> int:
        """The index of the first transaction whose id is used already."""
        with self._readmodel.snapshot() as connection:
            are_known = [
                log_table.has_id(connection, transaction.id) for transaction in transactions
            ]
        return are_known.index(True)

    def _summary(self) -> bytes:
        """The last line of the response: the outcome of the imported history, and its counts."""
        summary = {"type": "summary", "id": self._id, "status": "accepted", "format": "history"}
        if self.failure:
            summary |= {"status": "rejected"} | self.failure.fields()
        return json.dumps(summary | self.counts).encode() + b"\n"
