"""`replay`: send a recorded stretch again, through the ordinary commands, to another store."""

import hashlib
import math
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
from signalbox.desktop.commands import (
    attempt,
    check_store,
    connect,
    dumped,
    json_option,
    made,
    print_json,
    say,
    strictly_parsed,
    where_option,
)
from signalbox.desktop.commands.arguments import input_file
from signalbox.desktop.commands.moments import MOMENT, NOW
from signalbox.desktop.commands.progress import Bar
from signalbox.desktop.commands.tables import tell_compacted
from signalbox.desktop.commands.transfer import NDJSON, blocks, whole
from signalbox.server.usage import Checked


def _speed(text: str) -> float:
    if not 0 <= (speed := float(text)) < math.inf:
        raise ValueError
    return speed


SPEED: Final = Checked("number", _speed, "allowed are 0 and numbers above it")
LONGEST_SLEEP: Final = 86_400.0
"""In seconds; systems refuse to sleep for centuries."""
BATCH_COMMANDS: Final = 1_000
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of a recorded line: what is longer might, escaped, not fit into the body of one request."""


OWN: Final = "_signalbox."
"""Settings of the app are those of a store: they are not sent to another."""


class Recorded(NamedTuple):
    """One transaction of an `export --history`; `size` is its line's, in bytes."""

    id: str
    revision: int
    actor: str
    at: str
    changes: list[dict[str, Any]]
    size: int

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.at).timestamp()

    @property
    def new_id(self) -> str:
        """The same for the same transaction, so that sending it twice does nothing twice."""
        said = dumped([self.id, self.revision, self.changes]).encode()
        return "replay-" + hashlib.blake2b(said, digest_size=16).hexdigest()

    @property
    def commands(self) -> Iterator[dict[str, Any]]:
        """What makes the same changes again."""
        for change in self.changes:
            if change.get("deleted"):
                yield {"type": "delete", "key": change["key"]}
            else:
                yield {"type": "set", "key": change["key"], "value": change["value"]}


@click.command("replay")
@click.argument("file", type=input_file, required=False)
@click.option("--from", "since", type=MOMENT, metavar="A", help="Revision or time; the start.")
@click.option("--to", "until", type=MOMENT, metavar="B", help="Revision or time; now.")
@click.option(
    "--speed",
    type=SPEED,
    default=1.0,
    metavar="N",
    help="So many times as fast as it was; 0 is as fast as possible.",
)
@click.option(
    "--into", metavar="DIR", type=click.UNPROCESSED, help="Folder of the store that it is sent to."
)
@json_option
@where_option
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
    is_stretch = since is not None or until is not None
    if (file is None) != is_stretch or (is_stretch and into is None):
        raise click.UsageError("Needed is FILE, or --into with --from, --to or both.")
    if is_stretch and not engine_options.is_wished():  # a shared log may be read by a new node
        check_store(data_dir)
    with ExitStack() as stack:
        target = stack.enter_context(connect(made(str(data_dir) if into is None else into)))
        after = 0
        if file is None:
            source = stack.enter_context(connect(made(str(data_dir))))
            file = stack.enter_context(TemporaryFile())
            after = _record(source, since or "0", until or NOW, file)
        run = _Run(target, speed)
        bar = stack.enter_context(Bar("Replaying"))
        for transaction in _read(file, bar):
            if transaction.revision > after:
                run.send(transaction)
    _tell(run, as_json)


class _Run:
    """Sends one transaction after the other and counts."""

    def __init__(self, box: client.Box, speed: float) -> None:
        self._box = box
        self._speed = speed
        self._last: tuple[float, float] | None = None  # recorded at, sent at
        self._is_behind = True  # what an earlier run has sent
        self.transactions = self.duplicates = self.changes = self.revision = 0

    def send(self, transaction: Recorded) -> None:
        """Raises `Rejected`, `NotRunning`, `UsageError` for a store's own recording."""
        if self.transactions == 0:
            _check_other(self._box, transaction)
        self._wait(transaction)
        is_small = len(transaction.changes) <= BATCH_COMMANDS and transaction.size <= BATCH_BYTES
        ack = (self._batch if is_small else self._import)(transaction)
        self.transactions += 1
        self.revision = ack["revision"]
        if ack["duplicate"]:
            self.duplicates += 1
        else:
            self.changes += ack["changes"]

    def _wait(self, transaction: Recorded) -> None:
        """Until it is due, which what has been sent before is at once."""
        if self._speed == 0 or (self._is_behind and self._is_there(transaction.new_id)):
            return
        self._is_behind = False
        recorded, sent = self._last or (transaction.time, monotonic())
        due = sent + (transaction.time - recorded) / self._speed
        while (left := due - monotonic()) > 0:
            sleep(min(left, LONGEST_SLEEP))
        self._last = transaction.time, due

    def _is_there(self, identity: str) -> bool:
        return any(attempt(self._box, name) for name in (identity, f"{identity}-1"))

    def _batch(self, transaction: Recorded) -> dict[str, Any]:
        commands = list(transaction.commands)
        about = {"id": transaction.new_id, "actor": transaction.actor}
        return self._box.command({"type": "batch", "commands": commands} | about)

    def _import(self, transaction: Recorded) -> dict[str, Any]:
        about = {"id": transaction.new_id, "actor": transaction.actor, "atomic": 1}
        path = f"/commands/import?{urlencode(about)}"
        lines = (dumped(command).encode() + b"\n" for command in transaction.commands)
        answer = self._box.request("POST", path, lines, NDJSON)
        *_, last = (client.decoded(line) for line in whole(answer))
        if last.get("status") != "accepted":
            raise client.Rejected(answer.status, last)
        return dict(last) | {"duplicate": last["duplicates"] > 0}


def _record(source: client.Box, since: str, until: str, file: IO[bytes]) -> int:
    """Copy what happened until then; the revision behind which it begins.

    It is sent slowly, and no server waits so long for one who reads.
    """
    after = source.revision(None if since == NOW else since)
    retention = source.query("status")["retention"]
    if thinned := [one["prefix"] for one in retention if one["revision"] > after + 1]:
        tell_compacted(thinned)
    at = None if until == NOW else until
    wanted = {"history": 1, "at": at, "match": "**"}
    for block in blocks(source.request("GET", client.address("export", wanted))):
        file.write(block)
    file.seek(0)
    return after


def _check_other(box: client.Box, transaction: Recorded) -> None:
    """A recording knows no store, but its own still has the transaction in its place."""
    known = attempt(box, transaction.id)
    if known and (known.get("revision"), known["at"]) == (transaction.revision, transaction.at):
        raise click.UsageError("This was recorded from the very store that it would be sent to.")


def _read(file: IO[bytes], bar: Bar) -> Iterator[Recorded]:
    size, done = os.fstat(file.fileno()).st_size, 0
    for number, line in enumerate(file, start=1):
        if line.strip() and (transaction := _recorded(number, line)).changes:
            yield transaction
        done += len(line)
        bar.show(done, max(size, done))


def _recorded(number: int, line: bytes) -> Recorded:
    found: Any = None
    with suppress(ValueError):  # what is no JSON has no fields
        found = strictly_parsed(line.decode())
    wrong = [name for name, is_sound in SOUND.items() if not _is_sound(found, name, is_sound)]
    if wrong:
        raise click.UsageError(
            f"Line {number} is no transaction of an export --history: it needs to be a JSON object "
            f"with {', '.join(SOUND)}, and {' and '.join(wrong)} cannot be read."
        )
    changes = [one for one in found["changes"] if not one["key"].startswith(OWN)]
    fields = {name: found[name] for name in SOUND}
    return Recorded(**(fields | {"changes": changes}), size=len(line))


def _is_sound(found: Any, name: str, is_sound: Callable[[Any], bool]) -> bool:
    return isinstance(found, dict) and name in found and is_sound(found[name])


def _is_time(given: Any) -> bool:
    try:
        return isinstance(given, str) and datetime.fromisoformat(given).timestamp() >= 0
    except (ValueError, OverflowError):
        return False


def _are_changes(given: Any) -> bool:
    return isinstance(given, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("key"), str)
        and (one.get("deleted") is True or "value" in one)
        for one in given
    )


SOUND: Final[dict[str, Callable[[Any], bool]]] = {
    "id": lambda given: isinstance(given, str),
    "revision": lambda given: isinstance(given, int),
    "actor": lambda given: isinstance(given, str),
    "at": _is_time,
    "changes": _are_changes,
}
"""The fields that are sent again, and whether they can be."""


def _tell(run: _Run, as_json: bool) -> None:
    counts = {
        "transactions": run.transactions,
        "duplicates": run.duplicates,
        "changes": run.changes,
        "revision": run.revision,
    }
    if as_json:
        print_json(counts)
    else:
        text = "{transactions:,} transactions sent, {duplicates:,} were there, {changes:,} changes"
        say(text.format(**counts))


SUBCOMMANDS: Final = (replay,)
