"""`signalbox replay`: send recorded transactions again, as ordinary commands, to another store."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import IO, Any, BinaryIO, Final, NamedTuple
from urllib.parse import urlencode

import click

from signalbox import client
from signalbox.desktop import engine_options
from signalbox.desktop.arguments import InputFile
from signalbox.desktop.cli_client import (
    NDJSON_HEADERS,
    answer_blocks,
    connect,
    find_attempt,
    read_whole_answer,
)
from signalbox.desktop.click_types import Checked
from signalbox.desktop.json_text import encode_json, is_value, parse_json
from signalbox.desktop.options import (
    MOMENT,
    NOW,
    complete_folder,
    create_data_dir,
    json_option,
    require_store,
    unchecked_dir_option,
)
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.terminal_output import print_json, print_line, warn_compacted
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.numbers import decimal
from signalbox.ui.formatting import counted

SPEED: Final = Checked("number", decimal, "allowed are 0 and numbers above it")
LONGEST_SLEEP: Final = 86_400.0
"""In seconds; systems refuse to sleep for centuries."""
BATCH_COMMANDS: Final = 1_000
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of a recorded line: what is longer might, escaped, not fit into the body of one request."""
APP_PREFIX: Final = "_signalbox."
"""Settings of the app belong to one store: they are not sent to another."""


class RecordedTransaction(NamedTuple):
    """One transaction of an `export --history`; `size` is its line's, in bytes."""

    id: str
    revision: int
    actor: str
    at: str
    changes: list[dict[str, Any]]
    size: int

    @property
    def time(self) -> float:
        """When the transaction was recorded, in seconds since 1970."""
        return datetime.fromisoformat(self.at).timestamp()

    @property
    def new_id(self) -> str:
        """The same for the same transaction, so that sending it twice does nothing twice."""
        text = encode_json([self.id, self.revision, self.changes]).encode()
        return "replay-" + hashlib.blake2b(text, digest_size=16).hexdigest()

    @property
    def commands(self) -> Iterator[dict[str, Any]]:
        """Commands that make the same changes again."""
        for change in self.changes:
            if change.get("deleted"):
                yield {"type": "delete", "key": change["key"]}
            else:
                yield {"type": "set", "key": change["key"], "value": change["value"]}


@click.command("replay")
@click.argument("file", type=InputFile(), required=False)
@click.option("--from", "since", type=MOMENT, metavar="MOMENT", help="From then; the start.")
@click.option("--to", "until", type=MOMENT, metavar="MOMENT", help="Until then; now.")
@click.option(
    "--speed",
    type=SPEED,
    default=1.0,
    metavar="N",
    help="So many times as fast as it was; 0 is as fast as possible.",
)
@click.option(
    "--into",
    metavar="DIR",
    type=click.UNPROCESSED,
    shell_complete=complete_folder,
    help="Folder of the store that it is sent to.",
)
@json_option
@unchecked_dir_option
def replay(
    file: BinaryIO | None,
    since: str | None,
    until: str | None,
    speed: float,
    into: str | None,
    as_json: bool,
    data_dir: Path,
) -> None:
    """Send FILE (of export --history; - for stdin), or what happened from A to B, once more."""
    has_moments = since is not None or until is not None
    if has_moments if file is not None else into is None:
        raise click.UsageError("Needed is FILE, or --into with or without --from and --to.")
    # A shared log may be read by a new node.
    if file is None and not engine_options.is_engine_chosen():
        require_store(data_dir)
    with ExitStack() as stack:
        target = stack.enter_context(
            connect(create_data_dir(str(data_dir) if into is None else into))
        )
        after = 0
        if file is None:
            source = stack.enter_context(connect(create_data_dir(str(data_dir))))
            file = stack.enter_context(TemporaryFile())
            after = _download(source, since or "0", until or NOW, file)
        sender = _Sender(target, speed)
        bar = stack.enter_context(ProgressBar("Replaying"))
        for transaction in _read_transactions(file, bar):
            if transaction.revision > after:
                sender.send(transaction)
    _print_counts(sender, as_json)


class _Sender:
    """Sends transactions one after the other, at their recorded pace, and counts them."""

    def __init__(self, box: client.Box, speed: float) -> None:
        self._box = box
        self._speed = speed
        self._last_times: tuple[float, float] | None = None  # recorded at, sent at
        self._may_be_sent_already = True  # at first, by an earlier run
        self.transactions = self.duplicates = self.changes = self.revision = 0

    def send(self, transaction: RecordedTransaction) -> None:
        """Send one. Raises `Rejected`, `NotRunning`, `UsageError` for a store's own recording."""
        if self.transactions == 0:
            _refuse_own_recording(self._box, transaction)
        self._wait_until_due(transaction)
        is_small = len(transaction.changes) <= BATCH_COMMANDS and transaction.size <= BATCH_BYTES
        ack = (self._send_batch if is_small else self._send_import)(transaction)
        self.transactions += 1
        self.revision = ack["revision"]
        if ack["duplicate"]:
            self.duplicates += 1
        else:
            self.changes += ack["changes"]

    def _wait_until_due(self, transaction: RecordedTransaction) -> None:
        """Wait until it is due; what an earlier run has sent is due at once."""
        if self._speed == 0 or (self._may_be_sent_already and self._was_sent(transaction.new_id)):
            return
        self._may_be_sent_already = False
        recorded, sent = self._last_times or (transaction.time, monotonic())
        due = sent + (transaction.time - recorded) / self._speed
        while (seconds := due - monotonic()) > 0:
            sleep(min(seconds, LONGEST_SLEEP))
        self._last_times = transaction.time, due

    def _was_sent(self, identity: str) -> bool:
        """Whether the store knows a replayed transaction by its id, or its first part."""
        return any(find_attempt(self._box, name) for name in (identity, f"{identity}-1"))

    def _send_batch(self, transaction: RecordedTransaction) -> dict[str, Any]:
        """Send a recorded transaction as one batch under its new id; the acknowledgement."""
        commands = list(transaction.commands)
        fields = {"id": transaction.new_id, "actor": transaction.actor}
        return self._box.command({"type": "batch", "commands": commands} | fields)

    def _send_import(self, transaction: RecordedTransaction) -> dict[str, Any]:
        """Send a recorded transaction that is too large for a command as an atomic import."""
        fields = {"id": transaction.new_id, "actor": transaction.actor, "atomic": 1}
        path = f"/commands/import?{urlencode(fields)}"
        lines = (encode_json(command).encode() + b"\n" for command in transaction.commands)
        answer = self._box.request("POST", path, lines, NDJSON_HEADERS)
        *_, last = (client.decode_json(line) for line in read_whole_answer(answer))
        if last.get("status") != "accepted":
            raise client.Rejected(answer.status, last)
        return dict(last) | {"duplicate": last["duplicates"] > 0}


def _download(source: client.Box, since: str, until: str, file: IO[bytes]) -> int:
    """Copy the history to a file; the revision after which it begins.

    A server does not wait for a reader as long as sending at the recorded pace may take.
    """
    after = source.revision(None if since == NOW else since)
    retention = source.query("status")["retention"]
    if compacted := [rule["prefix"] for rule in retention if rule["revision"] > after + 1]:
        warn_compacted(compacted)
    at = None if until == NOW else until
    parameters = {"history": 1, "at": at, "match": "**"}
    for block in answer_blocks(source.request("GET", client.query_path("export", parameters))):
        file.write(block)
    file.seek(0)
    return after


def _refuse_own_recording(box: client.Box, transaction: RecordedTransaction) -> None:
    """A recording does not name its store, but that store has the transaction at its revision."""
    attempt = find_attempt(box, transaction.id)
    if attempt and (attempt.get("revision"), attempt["at"]) == (
        transaction.revision,
        transaction.at,
    ):
        raise click.UsageError("This was recorded from the very store that it would be sent to.")


def _read_transactions(file: IO[bytes], bar: ProgressBar) -> Iterator[RecordedTransaction]:
    """The recorded transactions with changes, line by line, with progress by bytes."""
    size, done = os.fstat(file.fileno()).st_size, 0
    for number, line in enumerate(file, start=1):
        if line.strip() and (transaction := _parse_transaction(number, line)).changes:
            yield transaction
        done += len(line)
        bar.update(done, max(size, done))


def _parse_transaction(number: int, line: bytes) -> RecordedTransaction:
    """A recorded transaction in a line. Raises a usage error."""
    record: Any = None
    with suppress(SignalboxError):  # what is no JSON has no fields
        record = parse_json(line, "The line")
    invalid = [name for name, is_valid in FIELDS.items() if not _has_field(record, name, is_valid)]
    if invalid:
        raise click.UsageError(
            f"Line {number} is no transaction of an export --history: it needs to be a JSON object "
            f"with {', '.join(FIELDS)}, and {' and '.join(invalid)} cannot be read."
        )
    changes = [change for change in record["changes"] if not change["key"].startswith(APP_PREFIX)]
    fields = {name: record[name] for name in FIELDS}
    return RecordedTransaction(**(fields | {"changes": changes}), size=len(line))


def _has_field(record: Any, name: str, is_valid: Callable[[Any], bool]) -> bool:
    """Whether a recorded transaction or change has a valid field of this name."""
    return isinstance(record, dict) and name in record and is_valid(record[name])


def _is_time(value: Any) -> bool:
    """Whether the field `at` of a record is a time since 1970."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).timestamp() >= 0
    except (ValueError, OverflowError):
        return False


def _are_changes(value: Any) -> bool:
    """Whether the field `changes` of a record has the form that `export --history` writes."""
    return isinstance(value, list) and all(
        isinstance(change, dict)
        and isinstance(change.get("key"), str)
        and (change.get("deleted") is True or _has_value(change))
        for change in value
    )


def _has_value(change: dict[str, Any]) -> bool:
    """Whether a recorded change has a value that a command could set."""
    return "value" in change and is_value(change["value"], change["key"])


FIELDS: Final[dict[str, Callable[[Any], bool]]] = {
    "id": lambda value: isinstance(value, str),
    "revision": lambda value: isinstance(value, int),
    "actor": lambda value: isinstance(value, str),
    "at": _is_time,
    "changes": _are_changes,
}
"""The fields that a recorded transaction needs, each with its check."""


def _print_counts(sender: _Sender, as_json: bool) -> None:
    """Print how much was replayed."""
    counts = {
        "transactions": sender.transactions,
        "duplicates": sender.duplicates,
        "changes": sender.changes,
        "revision": sender.revision,
    }
    if as_json:
        print_json(counts)
    else:
        print_line(
            f"{counted(sender.transactions, 'transaction')} sent, {sender.duplicates:,} were "
            f"there, {counted(sender.changes, 'change')}"
        )
