"""`signalbox import`: set every key that a file holds, streamed to the server."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode

import click

from signalbox import client
from signalbox.desktop.arguments import InputFile, LiteralCommand
from signalbox.desktop.cli_client import BLOCK_BYTES, connect, import_batches, read_whole_answer
from signalbox.desktop.click_types import OneOf
from signalbox.desktop.exit_status import REJECTED
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.terminal_output import print_error, print_json
from signalbox.ui.formatting import counted

UNKNOWN_TYPE: Final = "application/octet-stream"
MEDIA_TYPES: Final = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "env": UNKNOWN_TYPE,
    "lines": UNKNOWN_TYPE,
}
ENCODINGS: Final = ("utf-8", "latin-1", "cp1252", "utf-16")
SUMMARIES: Final[dict[str, tuple[tuple[str, ...], Callable[[dict[str, int]], str]]]] = {
    "values": (
        ("accepted", "rejected", "changes", "revision"),
        lambda of: (
            f"{counted(of['accepted'], 'line')} accepted, {of['rejected']:,} rejected, "
            f"{counted(of['changes'], 'key')} changed"
        ),
    ),
    "values, dry run": (
        ("new", "changed", "deleted", "equal", "rejected", "revision"),
        lambda of: (
            f"{of['new']:,} new, {of['changed']:,} changed, {of['deleted']:,} deleted, "
            f"{of['equal']:,} equal, {of['rejected']:,} bad"
        ),
    ),
    "history": (
        ("accepted", "duplicates", "changes", "revision"),
        lambda of: (
            f"{counted(of['accepted'], 'transaction')} taken, {of['duplicates']:,} were there, "
            f"{counted(of['changes'], 'change')}"
        ),
    ),
    "history, dry run": (
        ("accepted", "duplicates", "changes", "revision"),
        lambda of: (
            f"{counted(of['accepted'], 'transaction')} would be taken, {of['duplicates']:,} are "
            f"there, {counted(of['changes'], 'change')}"
        ),
    ),
}
"""From what was imported to the counts that are printed of it as JSON, and as a sentence."""


@click.command("import", cls=LiteralCommand)
@click.argument("file", type=InputFile())
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
        upload = _Upload(file, stack.enter_context(ProgressBar("Importing")))
        identity = token_hex(12)
        parameters = {"id": identity, "actor": box.actor, "encoding": encoding}
        parameters |= {"name": _file_name(file)}
        parameters |= ({"format": kind} if kind else {}) | ({"dry_run": "1"} if dry_run else {})
        path = f"/commands/import?{urlencode(parameters)}"
        headers = {"Content-Type": MEDIA_TYPES[kind] if kind else UNKNOWN_TYPE}
        try:
            answer = box.request("POST", path, upload, headers)
            lines = [client.decode_json(line) for line in read_whole_answer(answer)]
        except client.NotRunning as error:
            reason = _interruption(error, box, identity, upload)
            raise client.NotRunning(reason) from error
    return _print_outcome(lines, as_json)


def _file_name(file: BinaryIO) -> str:
    """The name of the imported file; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(Path(file.name).name).decode(errors="replace")


class _Upload:
    """The blocks of a file, read as they are sent, with the progress shown.

    `longest_pause` is how long a block was waited for at most, in seconds.
    """

    def __init__(self, file: BinaryIO, bar: ProgressBar) -> None:
        """The upload of the imported `file`; `bar` shows how much of it was sent."""
        self._file, self._bar = file, bar
        self.longest_pause = 0.0

    def __iter__(self) -> Iterator[bytes]:
        """The blocks of the file, with progress; the longest pause between two is noted."""
        size, done, since = os.fstat(self._file.fileno()).st_size, 0, monotonic()
        # `read1` does not wait for a full block: what comes slowly is sent at once.
        read = getattr(self._file, "read1", self._file.read)
        while block := read(BLOCK_BYTES):
            self.longest_pause = max(self.longest_pause, monotonic() - since)
            since = monotonic()
            yield block
            done += len(block)
            self._bar.update(done, max(size, done))
        self.longest_pause = max(self.longest_pause, monotonic() - since)


def _interruption(error: client.NotRunning, box: client.Box, identity: str, upload: _Upload) -> str:
    """Why an import broke off, and how many keys it had changed by then."""
    from signalbox.server.settings import BODY_SECONDS  # noqa: PLC0415 - for this alone

    batches = list(import_batches(box, identity))
    reason = str(error)
    if upload.longest_pause >= BODY_SECONDS:
        paused = f"FILE paused for {upload.longest_pause:,.0f} seconds"
        reason = f"{paused}, and the server ended the import: it waits for {BODY_SECONDS:g}."
    if not batches:
        return f"{reason} `signalbox log` shows whether anything was taken before that."
    changes = sum(batch.get("changes", 0) for batch in batches)
    return f"{reason} Before that {counted(changes, 'key')} changed."


def _print_outcome(lines: list[dict[str, Any]], as_json: bool) -> int:
    """The refused lines in order, then the counts; the exit status."""
    summary = lines[-1] if lines and lines[-1]["type"] == "summary" else {}
    rejected = [line for line in lines if line["type"] == "rejected"]
    for line in sorted(rejected, key=itemgetter("line")):
        print_error(f"line {line['line']}: {line['message']}")
    is_accepted = summary.get("status") == "accepted"
    if not is_accepted:
        print_error(summary.get("message", "The import was cut off."))
    if any(line.get("field") == "encoding" for line in lines):
        print_error("If FILE is in another encoding: --encoding latin-1, or cp1252, or utf-16.")
    kind = "history" if summary.get("format") == "history" else "values"
    names, sentence = SUMMARIES[kind + (", dry run" if summary.get("dry_run") else "")]
    counts = {name: summary.get(name, 0) for name in names}
    if as_json:
        print_json(counts)
    else:
        click.echo(sentence(counts))
    return 0 if is_accepted and not rejected else REJECTED
