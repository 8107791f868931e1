"""An import of commands: parses them row by row, and submits them in batches while it reads on."""

import json
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from tempfile import SpooledTemporaryFile
from time import monotonic
from typing import Any, Final

from signalbox.server.formats.text_lines import (
    MAX_LINE,
    Row,
    too_long,
)
from signalbox.server.http.commands.import_batches import (
    MAX_ATOMIC_TEXT,
    OTHERS_SECONDS,
    SHORT_BATCH_LINES,
    SLICE,
    Batch,
    Line,
    Rejection,
    batch_limits,
    too_many_bytes,
    with_line_number,
)
from signalbox.server.http.commands.import_idempotency import RowDigest, row_count
from signalbox.server.http.commands.import_progress import IDLE_SECONDS, Progress, zero_counts
from signalbox.server.http.commands.import_row_reader import RowReader, body_error
from signalbox.server.model.commands import (
    Attempt,
    Command,
    EncodedSet,
    HistoryCommand,
    read_line,
)
from signalbox.server.model.decide import prepare_command
from signalbox.server.model.errors import (
    Invalid,
    SignalboxError,
    error_from_fields,
)
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.plain_set import read_plain_set
from signalbox.server.runtime.scheduling import wait_until_idle
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer

SPOOLED: Final = 256 * 1024


class Import:
    """One import of commands: reads rows, submits them in batches, reports the outcomes."""

    def __init__(self, writer: Writer, identity: str, actor: str, atomic: bool) -> None:
        """The import `identity` of `actor`: one transaction where it is `atomic`, else batches."""
        self._writer = writer
        self._id, self._actor, self._atomic = identity, actor, atomic
        self._digest, self._bytes = RowDigest(), 0
        self._batch = 1
        self._limits = batch_limits(writer.max_bytes)
        self._batch_end = self._last_line_of_batch()
        self._lines: list[Line] = []
        self._submitted: tuple[PendingAttempt, Batch, int] | None = None
        self._rejected = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed in `run`
        self._progress, self._batch_started = Progress(), 0.0
        self.counts = zero_counts(writer.revision)
        self.failure: SignalboxError | None = None

    def run(self, reader: RowReader) -> Iterator[bytes]:
        """Lines of the response: progress, then rejected lines, then the summary."""
        try:
            while self._continues(reader) and (rows := reader.next_rows(IDLE_SECONDS)) is not None:
                self._process(rows)
                yield from self._progress.lines(self.counts)
            self._finish(body_error(reader))
            self._rejected.seek(0)
            yield from self._rejected
            yield self._summary(reader.file.format)
        finally:
            self._rejected.close()

    def _continues(self, reader: RowReader) -> bool:
        """An atomic import that has failed is read to its end: its id covers the whole file."""
        return not reader.is_stopping and (self._atomic or self.failure is None)

    def _process(self, rows: list[Row]) -> None:
        """Parse rows that have arrived; an incomplete batch is submitted where none follow soon."""
        for start in range(0, len(rows), SLICE):
            self._add(rows[start : start + SLICE])
            wait_until_idle()
        if self._lines and self._may_end_early and monotonic() - self._batch_started > IDLE_SECONDS:
            self._submit()

    def _add(self, rows: list[Row]) -> None:
        """Add rows to the current batch, which is submitted once it is full."""
        if self._atomic:
            self._parse_rows(rows)
            return
        while rows and self.failure is None:
            fitting = self._rows_that_fit(rows)
            self._parse_rows(rows[:fitting])
            rows = rows[fitting:]
            if self._digest.number >= self._batch_end or self._bytes >= self._limits.bytes:
                self._submit()

    def _rows_that_fit(self, rows: list[Row]) -> int:
        """How many of the rows belong to this batch, independent of how they arrived."""
        lengths = accumulate(len(row.text) + 1 for row in rows)
        filling = bisect_left(list(lengths), self._limits.bytes - self._bytes) + 1
        return max(min(filling, self._batch_end - self._digest.number), 1)

    def _parse_rows(self, rows: list[Row]) -> None:
        """Parse rows of the current batch, and add their text to its fingerprint."""
        if not self._lines:
            self._batch_started = monotonic()
        filled = [row for row in rows if row.command is not None or row.text.strip()]
        self.counts["lines"] += len(filled)
        for row in filled:
            command = command_of(row)
            if isinstance(command, SignalboxError):
                self._reject(Rejection(row.number, command))
            else:
                self._lines.append((row.number, command))
        gathered = b"\n".join([*(row.text for row in rows), b""])
        self._digest.add(gathered, len(rows))
        self._bytes += len(gathered)
        if self._atomic and self._bytes > MAX_ATOMIC_TEXT:
            self.failure = self.failure or too_many_bytes(self._bytes, self._limits, atomic=True)
        if self.failure:
            self._lines.clear()

    def _finish(self, body_error: SignalboxError | None) -> None:
        """Submit the last batch, unless an atomic import has failed."""
        if self._atomic:
            self.failure = self.failure or body_error
            if self.failure:
                self._record_refusal(self.failure)
        self._submit()
        self._await_submitted()
        self.failure = self.failure or body_error

    def _record_refusal(self, failure: SignalboxError) -> None:
        """The refusal of a whole import is recorded as the outcome of an attempt."""
        attempt = self._attempt(refusal=failure)
        if failure.remembered:
            self.failure = self._writer.submit(attempt).error or failure
        else:
            self._writer.reject(PendingAttempt(attempt), failure)

    def _attempt(self, **fields: Any) -> Attempt:
        """The attempt of the current batch; its fingerprint is that of all rows so far."""
        return Attempt(
            id=f"{self._id}-{self._batch}",
            actor=self._actor,
            type="import",
            fingerprint=self._digest.fingerprint,
            command=None,
            **fields,
        )

    def _submit(self) -> None:
        """Submit the current batch once the previous one has its outcome."""
        self._await_submitted()
        if self._lines and self.failure is None:
            batch = Batch(self._lines, self._actor, self._atomic, self._limits)
            attempt = self._attempt(decide=batch.decide, preload_keys=batch.keys)
            self._submitted = (self._writer.enqueue(attempt), batch, len(self._lines))
            self._batch += 1
        self._lines, self._bytes = [], 0
        self._batch_end = self._last_line_of_batch()

    def _last_line_of_batch(self) -> int:
        """The number of the last line of the next batch.

        Batches of an import that is sent again end where they ended before, wherever the sender
        paused, so that each is recognised and none is applied twice.
        """
        fingerprint = self._writer.fingerprint(f"{self._id}-{self._batch}")
        end = 0 if fingerprint is None else row_count(fingerprint)
        self._may_end_early = not self._atomic and end <= self._digest.number
        if not (self._may_end_early or self._atomic):
            return end
        is_alone = monotonic() - self._writer.last_submitted > OTHERS_SECONDS
        lines = self._limits.lines
        return self._digest.number + (lines if is_alone else min(lines, SHORT_BATCH_LINES))

    def _await_submitted(self) -> None:
        """Wait for the outcome of the submitted batch, and count what it says."""
        if self._submitted is None:
            return
        (waiting, batch, lines), self._submitted = self._submitted, None
        outcome: Outcome = waiting.wait()
        answer = outcome.answer()
        if answer["status"] != "accepted":
            self.failure = outcome.error or error_from_fields(answer)
            return
        for rejection in batch.rejections:
            self._reject(rejection)
        if answer["duplicate"]:
            self.counts["duplicates"] += lines
        else:
            self.counts["accepted"] += lines - len(batch.rejections)
        self.counts["batches"] += 1
        self.counts["changes"] += answer["changes"]
        self.counts["revision"] = answer["revision"]

    def _reject(self, rejection: Rejection) -> None:
        """Count and report a rejected line; an atomic import fails with the first one."""
        self.counts["rejected"] += 1
        if self._atomic:
            self.failure = self.failure or with_line_number(rejection.error, rejection.number)
        line = {"type": "rejected", "line": rejection.number} | rejection.error.fields()
        self._rejected.write(json.dumps(line).encode() + b"\n")

    def _summary(self, format: str | None) -> bytes:
        """The last line of the response: the outcome of the import, and its counts."""
        summary = {"type": "summary", "id": self._id, "status": "accepted", "format": format}
        if self.failure:
            summary |= {"status": self.failure.attempt_status} | self.failure.fields()
        return json.dumps(summary | self.counts).encode() + b"\n"


def command_of(row: Row) -> Command | EncodedSet | SignalboxError:
    """The command in a row, or the error that it has."""
    if isinstance(row.command, SignalboxError):
        return row.command  # not raised: its traceback would hold the row, and the row holds it
    try:
        if row.command is not None:
            return prepare_command(row.command)
        return read_plain_set(row.text) or prepare_command(_parse_command(row.text))
    except SignalboxError as error:
        return error


def _parse_command(line: bytes) -> Command:
    """The command in a line of JSON. Raises `Invalid` or `TooLarge`."""
    if len(line) > MAX_LINE:
        raise too_long(len(line))
    command = read_line(line)
    if isinstance(command, HistoryCommand):
        kind = command.__struct_config__.tag
        raise Invalid(f'The field type is "{kind}"; that cannot be a line of an import.')
    return command
