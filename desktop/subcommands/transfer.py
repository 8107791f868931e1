"""`import` and `export`: files to commands and back, streamed."""

import os
import sys
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException, HTTPResponse
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import click

import signalbox
from desktop.subcommands import (
    REJECTED,
    complain,
    connect,
    data_dir_option,
    dumped,
    json_option,
    print_json,
)
from desktop.subcommands.formats import READERS, Bad, guess, is_history
from desktop.subcommands.moments import at_option
from desktop.subcommands.progress import Bar
from desktop.subcommands.tables import tell_compacted

BLOCK: Final = 64 * 1024
NDJSON: Final = {"Content-Type": "application/x-ndjson"}


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--format", "kind", type=click.Choice(list(READERS)), help="How FILE is written.")
@json_option
@data_dir_option
def import_(file: BinaryIO, kind: str | None, as_json: bool, data_dir: Path) -> int:
    """Set every key that FILE (- for stdin) holds; of export --history make the same log again."""
    with ExitStack() as stack:
        box = stack.enter_context(connect(data_dir))
        bar = stack.enter_context(Bar("Importing"))
        source = _Source(file, bar)
        if history := is_history(source.peek()):
            kind = "ndjson"
        kind = kind or guess(file.name, source)
        body = _Body(READERS[kind](source))
        path = f"/commands/import?actor={box.actor}"
        answer = box.request("POST", path, body.blocks(), NDJSON)
        lines = [signalbox.decoded(line) for line in whole(answer)]
    return (_tell_history if history else _tell)(body, lines, as_json)


@click.command("export")
@click.argument("match", required=False)
@click.option("--format", "kind", type=click.Choice(["ndjson", "json", "csv", "env"]))
@click.option("--history", is_flag=True, help="One transaction a line: for import and replay.")
@at_option
@data_dir_option
def export(
    match: str | None, kind: str | None, history: bool, at: str | None, data_dir: Path
) -> None:
    """Print the keys that match."""
    if history and kind not in (None, "ndjson"):
        raise click.UsageError(f"--history is written as ndjson, not as {kind}.")
    wanted = {"match": match, "format": kind, "history": 1 if history else None, "at": at}
    with connect(data_dir) as box:
        answer = box.request("GET", signalbox.address("export", wanted))
        if compacted := answer.headers.get("Signalbox-Compacted"):
            tell_compacted([unquote(prefix) for prefix in compacted.split(", ")])
        for block in blocks(answer):
            sys.stdout.buffer.write(block)
        sys.stdout.flush()


def blocks(answer: HTTPResponse) -> Iterator[bytes]:
    """An export as it comes. Raises `NotRunning` where it breaks off."""
    return whole(iter(partial(answer.read, BLOCK), b""))


def whole(parts: Iterable[bytes]) -> Iterator[bytes]:
    """An answer as it comes. Raises `NotRunning` where it breaks off."""
    try:
        yield from parts
    except (OSError, HTTPException) as error:
        raise signalbox.NotRunning(f"The server broke off its answer: {error!r}") from error


class _Source:
    """The file's lines, with the progress made in reading them."""

    def __init__(self, file: BinaryIO, bar: Bar) -> None:
        self._file, self._bar = file, bar
        self._size = os.fstat(file.fileno()).st_size
        self._read = 0
        self._first: list[bytes] = []

    def peek(self) -> bytes:
        """The first line that is not blank, which iteration still yields."""
        while not (self._first and self._first[-1].strip()) and (line := self._file.readline()):
            self._first.append(line)
        return self._first[-1].removeprefix(BOM_UTF8) if self._first else b""

    def __iter__(self) -> Iterator[bytes]:
        shown = 0
        for line in chain(self._first, self._file):
            given = line if self._read else line.removeprefix(BOM_UTF8)
            self._read += len(line)
            if self._read - shown > BLOCK:
                shown = self._read
                self._bar.show(self._read, max(self._size, self._read))
            yield given


class _Body:
    """The request's body, and which of its lines came from which line of the file."""

    def __init__(self, commands: Iterable[tuple[int, bytes | dict[str, Any] | Bad]]) -> None:
        self._commands = commands
        self.numbers = array("Q")
        self.bad: list[tuple[int, str]] = []

    def blocks(self) -> Iterator[bytes]:
        block = bytearray()
        for number, command in self._commands:
            if isinstance(command, Bad):
                self.bad.append((number, command.reason))
                continue
            self.numbers.append(number)
            block += command if isinstance(command, bytes) else dumped(command).encode()
            block += b"\n"
            if len(block) > BLOCK:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)


def _tell(body: _Body, lines: list[dict[str, Any]], as_json: bool) -> int:
    summary = lines[-1] if lines and lines[-1]["type"] == "summary" else {}
    rejected = [
        (body.numbers[line["line"] - 1], line["message"])
        for line in lines
        if line["type"] == "rejected"
    ]
    rejected = sorted(rejected + body.bad)
    for number, message in rejected:
        complain(f"line {number}: {message}")
    if summary.get("status") != "accepted":
        complain(summary.get("message", "The import was cut off."))
    counts = {
        "accepted": summary.get("accepted", 0),
        "rejected": len(rejected),
        "changes": summary.get("changes", 0),
        "revision": summary.get("revision", 0),
    }
    if as_json:
        print_json(counts)
    else:
        click.echo(
            "{accepted:,} lines accepted, {rejected:,} rejected, {changes:,} keys changed".format(
                **counts
            )
        )
    return REJECTED if rejected or summary.get("status") != "accepted" else 0


def _tell_history(_: _Body, lines: list[dict[str, Any]], as_json: bool) -> int:
    summary = lines[-1] if lines and lines[-1]["type"] == "summary" else {}
    if summary.get("status") != "accepted":
        complain(summary.get("message", "The import was cut off."))
    counts = {
        "accepted": summary.get("accepted", 0),
        "duplicates": summary.get("duplicates", 0),
        "changes": summary.get("changes", 0),
        "revision": summary.get("revision", 0),
    }
    if as_json:
        print_json(counts)
    else:
        text = "{accepted:,} transactions taken, {duplicates:,} were there, {changes:,} changes"
        click.echo(text.format(**counts))
    return 0 if summary.get("status") == "accepted" else REJECTED


SUBCOMMANDS: Final = (import_, export)
