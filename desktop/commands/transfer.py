"""`import` and `export`: files to commands and back, streamed."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException, HTTPResponse
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlencode

import click

from signalbox import client
from signalbox.desktop.commands import (
    REJECTED,
    attempt,
    complain,
    connect,
    data_dir_option,
    json_option,
    print_json,
    read_dir_option,
)
from signalbox.desktop.commands.arguments import Literal, input_file
from signalbox.desktop.commands.moments import at_option
from signalbox.desktop.commands.progress import Bar
from signalbox.desktop.commands.tables import tell_compacted
from signalbox.server.usage import OneOf

BLOCK: Final = 64 * 1024
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
UNKNOWN_TYPE: Final = "application/octet-stream"
MEDIA_TYPES: Final = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "env": UNKNOWN_TYPE,
    "lines": UNKNOWN_TYPE,
}
ENCODINGS: Final = ("utf-8", "latin-1", "cp1252", "utf-16")
COUNTS: Final = {
    "file": (
        ("accepted", "rejected", "changes", "revision"),
        "{accepted:,} lines accepted, {rejected:,} rejected, {changes:,} keys changed",
    ),
    "preview": (
        ("new", "changed", "deleted", "equal", "rejected", "revision"),
        "{new:,} new, {changed:,} changed, {deleted:,} deleted, {equal:,} equal, {rejected:,} bad",
    ),
    "foretold history": (
        ("accepted", "duplicates", "changes", "revision"),
        "{accepted:,} transactions would be taken, {duplicates:,} are there, {changes:,} changes",
    ),
    "history": (
        ("accepted", "duplicates", "changes", "revision"),
        "{accepted:,} transactions taken, {duplicates:,} were there, {changes:,} changes",
    ),
}
"""What is told of an import."""


@click.command("import")
@click.argument("file", type=input_file)
@click.option("--format", "kind", type=OneOf(list(MEDIA_TYPES)), help="How FILE is written.")
@click.option("--encoding", type=OneOf(ENCODINGS), default=ENCODINGS[0], help="UTF-8 unless given.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
@data_dir_option
def import_(
    file: BinaryIO, kind: str | None, encoding: str, dry_run: bool, as_json: bool, data_dir: Path
) -> int:
    """Set every key that FILE (- for stdin) holds; of export --history make the same log again."""
    with ExitStack() as stack:
        box = stack.enter_context(connect(data_dir))
        bar = stack.enter_context(Bar("Importing"))
        identity, blocks = token_hex(12), _Blocks(file, bar)
        given = {"id": identity, "actor": box.actor, "encoding": encoding, "name": _name(file)}
        given |= ({"format": kind} if kind else {}) | ({"dry_run": "1"} if dry_run else {})
        path = f"/commands/import?{urlencode(given)}"
        headers = {"Content-Type": MEDIA_TYPES[kind] if kind else UNKNOWN_TYPE}
        try:
            answer = box.request("POST", path, blocks, headers)
            lines = [client.decoded(line) for line in whole(answer)]
        except client.NotRunning as error:
            raise client.NotRunning(_cut_off(error, box, identity, blocks)) from error
    return _tell(lines, as_json)


@click.command("export", cls=Literal)
@click.argument("match", required=False)
@click.option("--format", "kind", type=OneOf(["ndjson", "json", "csv", "env"]))
@click.option("--history", is_flag=True, help="One transaction a line: for import and replay.")
@at_option
@read_dir_option
def export(
    match: str | None, kind: str | None, history: bool, at: str | None, data_dir: Path
) -> None:
    """Print the keys that match."""
    if history and kind not in (None, "ndjson"):
        raise click.UsageError(f"--history is written as ndjson, not as {kind}.")
    wanted = {"match": match, "format": kind, "history": 1 if history else None, "at": at}
    with connect(data_dir) as box:
        answer = box.request("GET", client.address("export", wanted))
        if compacted := answer.headers.get("Signalbox-Compacted"):
            tell_compacted([unquote(prefix) for prefix in compacted.split(", ")])
        for block in blocks(answer):
            sys.stdout.buffer.write(block)
        sys.stdout.flush()


def _name(file: BinaryIO) -> str:
    """Also of one whose name is not UTF-8."""
    return os.fsencode(Path(file.name).name).decode(errors="replace")


def blocks(answer: HTTPResponse) -> Iterator[bytes]:
    """An export as it comes. Raises `NotRunning` where it breaks off."""
    return whole(iter(partial(answer.read, BLOCK), b""))


def whole(parts: Iterable[bytes]) -> Iterator[bytes]:
    """An answer as it comes. Raises `NotRunning` where it breaks off."""
    try:
        yield from parts
    except (OSError, HTTPException) as error:
        raise client.NotRunning(
            "The server broke off its answer: it has ended, or the connection to it."
        ) from error


class _Blocks:
    """A file as it is, with the progress made in reading it; `pause` is its longest, in seconds."""

    def __init__(self, file: BinaryIO, bar: Bar) -> None:
        self._file, self._bar = file, bar
        self.pause = 0.0

    def __iter__(self) -> Iterator[bytes]:
        size, done, since = os.fstat(self._file.fileno()).st_size, 0, monotonic()
        read = getattr(self._file, "read1", self._file.read)  # what comes slowly is sent so
        while block := read(BLOCK):
            self.pause = max(self.pause, monotonic() - since)
            since = monotonic()
            yield block
            done += len(block)
            self._bar.show(done, max(size, done))
        self.pause = max(self.pause, monotonic() - since)


def _cut_off(error: client.NotRunning, box: client.Box, identity: str, blocks: _Blocks) -> str:
    """Why an import broke off, and what has become of it."""
    from signalbox.server.http.wire.wsgi import BODY_SECONDS  # noqa: PLC0415 - for this alone

    changes, number = 0, 1
    while (record := attempt(box, f"{identity}-{number}")) is not None:
        changes, number = changes + record.get("changes", 0), number + 1
    why = str(error)
    if blocks.pause >= BODY_SECONDS:
        paused = f"FILE paused for {blocks.pause:,.0f} seconds"
        why = f"{paused}, and the server ended the import: it waits for {BODY_SECONDS:g}."
    if number == 1:
        return f"{why} `signalbox log` shows whether anything was taken before that."
    return f"{why} Before that {changes:,} keys changed."


def _told(summary: dict[str, Any]) -> str:
    if summary.get("format") == "history":
        return "foretold history" if summary.get("dry_run") else "history"
    return "preview" if summary.get("dry_run") else "file"


def _tell(lines: list[dict[str, Any]], as_json: bool) -> int:
    summary = lines[-1] if lines and lines[-1]["type"] == "summary" else {}
    rejected = [line for line in lines if line["type"] == "rejected"]
    for line in sorted(rejected, key=itemgetter("line")):
        complain(f"line {line['line']}: {line['message']}")
    if summary.get("status") != "accepted":
        complain(summary.get("message", "The import was cut off."))
    names, text = COUNTS[_told(summary)]
    counts = {name: summary.get(name, 0) for name in names}
    if as_json:
        print_json(counts)
    else:
        click.echo(text.format(**counts))
    return REJECTED if rejected or summary.get("status") != "accepted" else 0


SUBCOMMANDS: Final = (import_, export)
