"""`POST /commands/import?dry_run=1`: previews what an import would do, at one revision.

Nothing is written. The file is buffered, and then read in a native thread against one snapshot.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from tempfile import SpooledTemporaryFile, TemporaryFile
from time import monotonic
from typing import IO, Any, Final

import apsw
import gevent
from gevent.lock import BoundedSemaphore

from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import Row
from signalbox.server.http.commands.command_import import SPOOLED, command_of
from signalbox.server.http.commands.history_comparison import (
    HistoryComparison,
    atomic_history_error,
    repeated_id_error,
    with_created_keys,
)
from signalbox.server.http.commands.history_line import is_history_line, transaction_of
from signalbox.server.http.commands.import_batches import (
    MAX_ATOMIC_TEXT,
    batch_limits,
    check_line,
    too_many_bytes,
    with_line_number,
)
from signalbox.server.http.commands.import_idempotency import KnownBatches
from signalbox.server.http.commands.import_progress import (
    IDLE_SECONDS,
    PROGRESS_SECONDS,
    progress_line,
    zero_counts,
)
from signalbox.server.http.commands.import_row_reader import RowReader, body_error
from signalbox.server.http.wire.body_framing import BLOCK
from signalbox.server.model import values
from signalbox.server.model.commands import Command, EncodedSet
from signalbox.server.model.decide import (
    MAX_CHANGES,
    Changes,
    decide,
)
from signalbox.server.model.errors import SignalboxError, Unavailable
from signalbox.server.model.events import Entry, Transaction
from signalbox.server.model.keys import RULES
from signalbox.server.model.rule_check import check_rules
from signalbox.server.model.rules import check_number_of_rules, rules_of
from signalbox.server.read.read_model import ReadModel
from signalbox.server.store import attempts_table, log_table, state_table
from signalbox.server.write.writer import Writer


class BufferedFile(ImportFile):
    """A file to import that is written to a temporary file first."""

    def __init__(self, format: str | None, name: str, encoding: str) -> None:
        """An imported file, whose copy is a temporary file that is empty yet."""
        super().__init__(format, name, encoding)
        self.copy: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by `_Preview.answer`

    def read(self, blocks: Iterator[bytes]) -> Iterator[list[Row]]:
        """Buffer the blocks; yields no rows, which `rows` reads later."""
        for block in blocks:
            self._write_block(block)
            yield []

    def _write_block(self, block: bytes) -> None:
        """Write a block of the body to the temporary file."""
        try:
            if self.error is None:
                self.copy.write(block)
        except OSError:
            self.error = Unavailable(
                "The folder for temporary files has no room for a preview of this file."
            )

    def rows(self) -> Iterator[Row]:
        """The rows of the buffered file."""
        self.copy.seek(0)
        for rows in super().read(iter(lambda: self.copy.read(BLOCK), b"")):
            yield from rows


class ImportPreviews:
    """Runs one preview at a time: each occupies a thread that searches need as well."""

    def __init__(self, writer: Writer, readmodel: ReadModel) -> None:
        """Previews against snapshots of `readmodel`, with the limits of `writer`."""
        self._writer, self._readmodel = writer, readmodel
        self._one_at_a_time = BoundedSemaphore(1)

    def run(
        self, reader: RowReader, buffered: BufferedFile, identity: str, actor: str, atomic: bool
    ) -> Iterator[bytes]:
        """Lines of the response, as of an import: progress, rejected lines, the summary."""
        preview = _Preview(buffered, identity, actor, atomic, self._writer.max_bytes)
        job = gevent.spawn(self._preview_when_complete, reader, preview)
        try:
            while not job.ready():
                job.join(PROGRESS_SECONDS)
                yield progress_line(preview.counts)
            job.get()
            yield from preview.answer()
        finally:
            preview.is_cancelled = True
            job.kill(block=False)

    def _preview_when_complete(self, reader: RowReader, preview: "_Preview") -> None:
        """Preview the file once the whole body has been read."""
        while not reader.is_stopping and reader.next_rows(IDLE_SECONDS) is not None:
            pass
        preview.failure = body_error(reader)
        if preview.failure is None:
            with self._one_at_a_time:
                self._readmodel.in_thread(preview.run)


class _Preview:
    def __init__(
        self,
        buffered: BufferedFile,
        identity: str,
        actor: str,
        atomic: bool,
        max_bytes: int | None,
    ) -> None:
        """The preview of the import `identity` of a file; `max_bytes` limits a transaction."""
        self._buffered, self._id, self._actor, self._atomic = buffered, identity, actor, atomic
        self._rejected = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed with the answer
        self._max_bytes = max_bytes
        self._batch = _Batch(max_bytes, atomic)
        self._is_history: bool | None = None
        self._started = monotonic()
        self._refusal: SignalboxError | None = None  # of an atomic file's decisions
        self.failure: SignalboxError | None = None
        self.is_cancelled = False
        self.counts = zero_counts(0)
        self._key_counts = dict.fromkeys(("new", "changed", "equal", "deleted"), 0)

    def run(self, connection: apsw.Connection) -> None:
        """Handle every row as an import would. Runs in a native thread."""
        self.counts["revision"] = log_table.last_revision(connection)
        draft = _SnapshotDraft(connection, self.counts["revision"], self._max_bytes)
        batches = KnownBatches(
            self._id, self._atomic, partial(attempts_table.first_answer, connection)
        )
        try:
            for row in self._buffered.rows():
                if self.is_cancelled:
                    return
                if not self._continues:
                    break
                if row.command is not None or row.text.strip():
                    self._handle_row(row, draft, batches)
                self._end_row(row, batches)
            self._check_atomic(draft)
            self._end_file(batches)
            self._count(draft)
        finally:
            draft.close()

    @property
    def _continues(self) -> bool:
        """As an import, which reads an atomic file to its end: its id covers the whole file."""
        return self.failure is None or (self._atomic and not self._is_history)

    def _end_row(self, row: Row, batches: KnownBatches) -> None:
        """End a row: its text counts towards the batch, and may have been imported before."""
        self._batch.end(row)
        try:
            self._batch.check_text()
        except SignalboxError as error:
            self.failure = self.failure or error
        self._count_duplicates(partial(batches.end_row, row))

    def _check_atomic(self, draft: "_SnapshotDraft") -> None:
        """Check an atomic file as a whole by the rules."""
        if self._atomic and not self._is_history and not (self.failure or self._refusal):
            try:
                check_number_of_rules(draft.rules, draft.rules_before)
                check_rules(draft, draft.changes(), self._actor)
            except SignalboxError as error:
                self._refusal = error.with_traceback(None)

    def _end_file(self, batches: KnownBatches) -> None:
        """A file that cannot be read is refused before an atomic one is decided."""
        if self._atomic:
            self.failure = self.failure or self._buffered.error
            if self.failure is not None and self.failure.remembered:
                batches.add_command()  # the refusal is the outcome of the id
        if self.failure is None or self.failure.remembered:
            self._count_duplicates(batches.end_file)
        self.failure = self.failure or self._buffered.error or self._refusal

    def _count_duplicates(self, end: Callable[[], int]) -> None:
        """Count what an import under the same id has applied before."""
        if self._is_history:
            return
        try:
            self.counts["duplicates"] += end()
        except SignalboxError as error:
            self.failure = error.with_traceback(None)

    def _handle_row(self, row: Row, draft: "_SnapshotDraft", batches: KnownBatches) -> None:
        """Do what an import would do with the row, on the draft."""
        if self._is_history is None:
            self._is_history = is_history_line(row.text)
            if self._is_history and self._atomic:
                self.failure = atomic_history_error()
                return
        self.counts["lines"] += 1
        try:
            if self._is_history:
                self._handle_transaction(row, draft)
            else:
                self._handle_command(row, draft, batches)
        except SignalboxError as error:
            self._reject(row.number, error.with_traceback(None))

    def _handle_command(self, row: Row, draft: "_SnapshotDraft", batches: KnownBatches) -> None:
        """Decide the command of a row, unless an import has applied it before."""
        command = command_of(row)
        if isinstance(command, SignalboxError):
            raise command
        if batches.is_applied:
            batches.add_command()
        elif self.failure is None and self._refusal is None:
            self._decide(row.number, command, draft)

    def _decide(self, number: int, command: Command | EncodedSet, draft: "_SnapshotDraft") -> None:
        """An import decides an atomic file only once it has read all of it."""
        try:
            draft.apply_command(command, self._batch, None if self._atomic else self._actor)
        except SignalboxError as error:
            if not self._atomic:
                raise
            self._refusal = with_line_number(error, number)
        else:
            self.counts["accepted"] += 1

    def _handle_transaction(self, row: Row, draft: "_SnapshotDraft") -> None:
        """Apply a transaction of a history to the draft."""
        if (transaction := draft.apply_transaction(transaction_of(row))) is None:
            self.counts["duplicates"] += 1
            return
        self.counts["accepted"] += 1
        self.counts["changes"] += len(transaction.changes)

    def _reject(self, number: int, error: SignalboxError) -> None:
        """Report a line that the import would reject."""
        if self._atomic or self._is_history:
            self.failure = self.failure or with_line_number(error, number)
        if self._is_history:  # the import ends there, and the summary says why
            return
        self.counts["rejected"] += 1
        line = {"type": "rejected", "line": number} | error.fields()
        self._rejected.write(json.dumps(line).encode() + b"\n")

    def _count(self, draft: "_SnapshotDraft") -> None:
        """Count what the import would change, once the whole file was handled."""
        if self._atomic and self.failure is not None:
            self.counts |= {"accepted": 0, "duplicates": 0}
            return
        self._key_counts = draft.key_counts()
        if not self._is_history:
            self.counts["changes"] = sum(
                self._key_counts[name] for name in ("new", "changed", "deleted")
            )

    def answer(self) -> Iterator[bytes]:
        """The lines of the preview's response: the rejected lines, then the summary."""
        with self._rejected, self._buffered.copy:
            self._rejected.seek(0)
            yield from self._rejected
            yield json.dumps(self._summary()).encode() + b"\n"

    def _summary(self) -> dict[str, Any]:
        """The last line of the response: what the import would do."""
        kind = "history" if self._is_history else self._buffered.format
        summary = {"type": "summary", "id": self._id, "status": "accepted", "format": kind}
        if self.failure:
            summary |= {"status": self.failure.attempt_status} | self.failure.fields()
        return summary | self.counts | {"dry_run": True} | self._key_counts


class _Batch:
    """The size of the current batch, where all lines arrive without a pause."""

    def __init__(self, max_bytes: int | None, atomic: bool) -> None:
        """The first batch of a previewed import; `max_bytes` limits a transaction."""
        self._limits, self._atomic = batch_limits(max_bytes), atomic
        self._rows = self._text = self._size = 0
        self._keys = set[str]()

    def add_changes(self, made: Changes) -> None:
        """Raises `TooLarge` if an import's batch could not have these changes as well."""
        sizes = (values.size(key) + values.size(raw or "") for key, raw in made.items())
        grown, changes = self._size + sum(sizes), len(self._keys) + len(made)
        if grown > self._limits.content or changes > MAX_CHANGES:
            raise self._limits.refusal(grown, changes, self._atomic)
        self._size = grown
        self._keys.update(made)

    def check_text(self) -> None:
        """Raises `TooLarge` where an atomic import would have too much text for one transaction."""
        if self._atomic and self._text > MAX_ATOMIC_TEXT:
            raise too_many_bytes(self._text, self._limits, atomic=True)

    def end(self, row: Row) -> None:
        """End a row of the previewed file; a new batch begins where it does in an import."""
        self._rows, self._text = self._rows + 1, self._text + len(row.text) + 1
        is_full = self._rows >= self._limits.lines or self._text >= self._limits.bytes
        if is_full and not self._atomic:
            self._rows = self._text = self._size = 0
            self._keys.clear()


class _SnapshotDraft:
    """The state of a snapshot with changes on top, which may exceed the memory."""

    def __init__(self, connection: apsw.Connection, revision: int, max_bytes: int | None) -> None:
        """The draft of a preview: the snapshot of `connection`, without changes yet."""
        self._connection, self.revision = connection, revision
        self._comparison = HistoryComparison(
            revision, partial(log_table.read, connection), max_bytes
        )
        self._overlay = apsw.Connection("")  # a private file, once it is larger than its cache
        self._overlay.execute(_TABLE)
        self.rules = rules_of(
            (key, entry.raw) for key, entry in state_table.entries(connection, RULES)
        )
        """The rules with the changes of the file."""
        self.rules_before = self.rules

    def close(self) -> None:
        """Remove the draft's changes on top of the snapshot."""
        self._overlay.close()

    def get(self, key: str) -> Entry | None:
        """The key's entry with the changes of the file on top of the snapshot."""
        for (raw,) in self._overlay.execute(_NOW, (key,)):
            return None if raw is None else Entry(raw, self.revision + 1)
        return state_table.entry(self._connection, key)

    def exists(self, key: str) -> bool:
        """Whether the key exists with the changes of the file."""
        return self.get(key) is not None

    def look_up(self, keys: Any) -> None:
        """Nothing: single look-ups in the snapshot are fast enough."""

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every key that begins with `prefix`, the changes of the file on top of the snapshot."""
        for key, entry in state_table.entries(self._connection, prefix):
            if not list(self._overlay.execute(_NOW, (key,))):
                yield key, entry
        for key, raw in list(self._overlay.execute(_BELOW, (prefix, len(prefix)))):
            yield key, Entry(raw, self.revision + 1)

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key of the draft that begins with `prefix`, as `scan`, without the values."""
        return (key for key, _ in self.scan(prefix))

    def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`; a preview has time to look at each."""
        return sum(1 for _ in self.scan(prefix))

    def changes(self) -> Changes:
        """The net changes of the file, of which an atomic import may have only so many."""
        return dict(self._overlay.execute(_CHANGED))

    def apply_command(
        self, command: Command | EncodedSet, batch: _Batch, actor: str | None
    ) -> None:
        """Add the changes of a command to the draft. Raises as `decide`, and as `batch` does.

        The changes of an `actor` are checked by the rules.
        """
        made: Changes = decide(self, command)
        if actor is not None:
            check_line(self, made, actor)
        batch.add_changes(made)
        for key, raw in made.items():
            self._write(key, raw)
        named = getattr(command, "key", None)
        if not made and named and (entry := self.get(named)) is not None:
            self._write(named, entry.raw)

    def apply_transaction(self, transaction: Transaction) -> Transaction | None:
        """Add a transaction of a history; None where the store has it. Raises as an import."""
        if self._comparison.is_stored(transaction):
            return None
        if log_table.has_id(self._connection, transaction.id):
            raise repeated_id_error(transaction.id)
        try:
            self._overlay.execute("INSERT INTO taken VALUES (?)", (transaction.id,))
        except apsw.ConstraintError:
            raise repeated_id_error(transaction.id) from None
        for change in with_created_keys(transaction, self.exists).changes:
            self._write(change.key, change.raw)
        return transaction

    def _write(self, key: str, raw: str | None) -> None:
        """Set or delete a key on top of the snapshot; its value there is kept beside it."""
        entry = state_table.entry(self._connection, key)
        before = entry.raw if entry else None
        if before is not None and raw is not None and values.same(before, raw):
            raw = before  # it may be written in another way
        self._overlay.execute(_TOUCH, (key, before, raw))
        self.rules = self.rules.changed({key: raw})

    def key_counts(self) -> dict[str, int]:
        """How many keys the file would create, change, leave equal or delete."""
        (row,) = self._overlay.execute(_FOUND)
        return dict(zip(("new", "changed", "equal", "deleted"), row, strict=True))


_TABLE: Final = """
CREATE TABLE touched (key TEXT PRIMARY KEY, before TEXT, now TEXT) WITHOUT ROWID;
CREATE TABLE taken (id TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN
"""
_NOW: Final = "SELECT now FROM touched WHERE key = ?"
_BELOW: Final = "SELECT key, now FROM touched WHERE substr(key, 1, ?2) = ?1 AND now IS NOT NULL"
_TOUCH: Final = """
INSERT INTO touched VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET now = excluded.now
"""
_CHANGED: Final = "SELECT key, now FROM touched WHERE before IS NOT now"
_FOUND: Final = """
SELECT count(*) FILTER (WHERE before IS NULL AND now IS NOT NULL),
    count(*) FILTER (WHERE before <> now),
    count(*) FILTER (WHERE before = now),
    count(*) FILTER (WHERE before IS NOT NULL AND now IS NULL)
FROM touched
"""
