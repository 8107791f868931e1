"""`POST /commands/import`: commands line by line, applied in batches while the body is read."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from secrets import token_hex
from tempfile import SpooledTemporaryFile
from time import monotonic
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event

from server import values
from server.commands import Attempt, Command, check_actor, read_command
from server.decide import MAX_CHANGES, MAX_TRANSACTION_BYTES, Changes, Layer, decide
from server.errors import Invalid, Malformed, SignalboxError, TooLarge
from server.http.answers import HEADERS, StartResponse, refuse
from server.http.commands import DEFAULT_ACTORS, check_media_type
from server.http.parameters import parameters
from server.outcomes import Outcome
from server.writer import Waiting, Writer, breathe

MAX_LINE: Final = 1024 * 1024
BATCH_LINES: Final = 20_000
BATCH_BYTES: Final = 4 * 1024 * 1024
READ_AHEAD: Final = 4_000
SLICE: Final = 250
"""Lines handled before other greenlets get a turn."""
PROGRESS_SECONDS: Final = 0.25
SPOOLED: Final = 256 * 1024

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,48}")


class Line(NamedTuple):
    number: int
    command: Command


class Rejection(NamedTuple):
    number: int
    error: SignalboxError


class Reader:
    """Reads lines ahead, so that a batch is whatever has arrived when the last one was sent."""

    def __init__(self, body: Any, progress: Callable[[], None]) -> None:
        self._body = body
        self._progress = progress
        self._lines: list[bytes] = []
        self._arrived, self._taken = Event(), Event()
        self.error: SignalboxError | None = None
        self._greenlet = gevent.spawn(self._read)

    def take(self) -> list[bytes]:
        """The lines that have arrived, at least one; empty at the end of the body."""
        self._arrived.wait()
        lines, self._lines = self._lines, []
        if not self._greenlet.dead:
            self._arrived.clear()
        self._taken.set()
        return lines

    def close(self) -> None:
        self._greenlet.kill()

    def _read(self) -> None:
        try:
            while line := self._body.readline(MAX_LINE + 2):
                self._progress()
                self._lines.append(line)
                self._arrived.set()
                if len(self._lines) >= READ_AHEAD:
                    self._taken.clear()
                    self._taken.wait()
        except OSError as error:
            self.error = Malformed(f"The body ended early: {error}.")
        finally:
            self._arrived.set()


class Batch:
    """Lines that make one transaction; those that are refused leave it."""

    def __init__(self, lines: list[Line], atomic: bool) -> None:
        self._lines = lines
        self._atomic = atomic
        self.rejections: list[Rejection] = []

    def decide(self, state: Any) -> Changes:
        """As `decide.decide`, for all lines in order. Pure but for giving others a turn."""
        layer, changes, size = Layer(state), Changes(), 0
        self.rejections = []
        for count, (number, command) in enumerate(self._lines, start=1):
            try:
                made = decide(layer, command)
                size += sum(len(key) + values.size(raw) for key, raw in made.items() if raw)
                _check_size(len(changes) + len(made), size)
            except SignalboxError as error:
                if self._atomic:
                    raise _located(error, number) from error
                self.rejections.append(Rejection(number, error))
            else:
                layer.put(made, state.revision + 1)
                changes |= made
            if count % SLICE == 0:
                breathe()
        return changes


class Import:
    """One request: reads, batches, submits, reports."""

    def __init__(self, writer: Writer, identity: str, actor: str, atomic: bool) -> None:
        self._writer = writer
        self._id, self._actor, self._atomic = identity, actor, atomic
        self._number = self._batches = self._bytes = 0
        self._lines: list[Line] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._flying: tuple[Waiting, Batch, int] | None = None
        self._rejected = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed in `run`
        self._told = 0.0
        self._too_long = False
        self.counts = {
            "lines": 0,
            "accepted": 0,
            "rejected": 0,
            "changes": 0,
            "batches": 0,
            "revision": 0,
        }
        self.failure: SignalboxError | None = None

    def run(self, reader: Reader) -> Iterator[bytes]:
        """Answer lines: progress as it goes, then what was rejected, then the summary."""
        try:
            while (lines := reader.take()) and self.failure is None:
                for count, line in enumerate(lines, start=1):
                    self._add(line)
                    if count % SLICE == 0:
                        breathe()
                yield from self._progress()
                if not self._atomic:
                    self._submit()
            self._submit()
            self._land()
            self.failure = self.failure or reader.error
            self._rejected.seek(0)
            yield from self._rejected
            yield self._summary()
        finally:
            reader.close()
            self._rejected.close()

    def _add(self, line: bytes) -> None:
        if self._continues_long_line(line):
            return
        self._number += 1
        self._digest.update(line)
        self._bytes += len(line)
        if self._atomic and self._bytes > 2 * MAX_TRANSACTION_BYTES:
            self.failure = _too_much_at_once()
        elif line.strip():
            self.counts["lines"] += 1
            try:
                self._lines.append(Line(self._number, _read_line(line)))
            except SignalboxError as error:
                self._reject(Rejection(self._number, error))
        if not self._atomic and (len(self._lines) >= BATCH_LINES or self._bytes >= BATCH_BYTES):
            self._submit()

    def _continues_long_line(self, line: bytes) -> bool:
        """A line beyond the limit arrives in pieces: the first is refused, the others dropped."""
        continues, ends = self._too_long, line.endswith(b"\n")
        self._too_long = not ends and (continues or len(line) > MAX_LINE)
        return continues

    def _submit(self) -> None:
        """Send the gathered lines once the batch before them has landed."""
        self._land()
        if not self._lines or self.failure is not None:
            return
        self._batches += 1
        batch = Batch(self._lines, self._atomic)
        attempt = Attempt(
            id=f"{self._id}-{self._batches}",
            actor=self._actor,
            type="import",
            fingerprint=self._digest.digest(),
            command=None,
            decide=batch.decide,
        )
        self._flying = (self._writer.enqueue(attempt), batch, len(self._lines))
        self._lines, self._bytes = [], 0

    def _land(self) -> None:
        if self._flying is None:
            return
        (waiting, batch, lines), self._flying = self._flying, None
        outcome: Outcome = waiting.wait()
        answer = outcome.answer()
        if answer["status"] == "rejected":
            self.failure = outcome.error or Invalid(answer["message"])
            return
        for rejection in batch.rejections:
            self._reject(rejection)
        self.counts["accepted"] += lines - len(batch.rejections)
        self.counts["batches"] += 1
        self.counts["changes"] += answer["changes"]
        self.counts["revision"] = answer["revision"]

    def _reject(self, rejection: Rejection) -> None:
        self.counts["rejected"] += 1
        if self._atomic:
            self.failure = self.failure or _located(rejection.error, rejection.number)
        line = {"type": "rejected", "line": rejection.number} | rejection.error.fields()
        self._rejected.write(json.dumps(line).encode() + b"\n")

    def _progress(self) -> Iterator[bytes]:
        if monotonic() - self._told > PROGRESS_SECONDS:
            self._told = monotonic()
            yield json.dumps({"type": "progress"} | self.counts).encode() + b"\n"

    def _summary(self) -> bytes:
        status = (
            {"status": "rejected"} | self.failure.fields()
            if self.failure
            else {"status": "accepted"}
        )
        return (
            json.dumps({"type": "summary", "id": self._id} | status | self.counts).encode() + b"\n"
        )


def imports(writer: Writer) -> Callable[[dict[str, Any], StartResponse, str], Iterable[bytes]]:
    """The route; `role` is the sender's."""

    def route(environ: dict[str, Any], start_response: StartResponse, role: str) -> Iterable[bytes]:
        try:
            check_media_type(environ, "application/x-ndjson")
            given = parameters(environ, "/commands/import")
            identity, atomic = given.get("id") or token_hex(8), given.get("atomic", "0")
            actor = given.get("actor", DEFAULT_ACTORS[role])
            check_actor(actor)
            _check_id(identity)
        except SignalboxError as error:
            return refuse(start_response, error, id=None, status="rejected")
        start_response("200 OK", [("Content-Type", "application/x-ndjson"), *HEADERS])
        reader = Reader(environ["wsgi.input"], environ["signalbox.handler"].extend)
        return Import(writer, identity, actor, atomic == "1").run(reader)

    return route


def _read_line(line: bytes) -> Command:
    if len(line) > MAX_LINE and len(line.rstrip(b"\r\n")) > MAX_LINE:
        raise TooLarge(f"The line has more than {MAX_LINE} bytes.", limit=MAX_LINE)
    fields = values.decode(line)
    if not isinstance(fields, dict):
        raise Malformed("The line is JSON, but no object; a command is an object with a type.")
    return read_command(fields)


def _check_id(identity: str) -> None:
    if not _ID.fullmatch(identity):
        raise Invalid(
            f"The parameter id is {identity[:80]!r}; allowed are 1 to 48 of A-Z a-z 0-9 _ -."
        )


def _check_size(changes: int, size: int) -> None:
    if changes > MAX_CHANGES:
        raise TooLarge(f"One transaction holds {MAX_CHANGES} changes.", limit=MAX_CHANGES)
    if size > MAX_TRANSACTION_BYTES:
        raise _too_much_at_once()


def _too_much_at_once() -> TooLarge:
    return TooLarge(
        f"One transaction holds {MAX_TRANSACTION_BYTES} bytes; import without atomic=1.",
        limit=MAX_TRANSACTION_BYTES,
    )


def _located(error: SignalboxError, number: int) -> SignalboxError:
    return type(error)(
        f"Line {number}: {error.message}",
        key=error.key,
        keys=error.keys,
        revision=error.revision,
        limit=error.limit,
    )
