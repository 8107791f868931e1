"""The formats that `import` reads: each yields a line's number and the command that it makes."""

import csv
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any, Final, NamedTuple, Protocol

import click

from desktop.subcommands import DECODER, strictly_parsed

MAX_CELL: Final = 1 << 20
"""Characters of a CSV cell: more than a value can have. Python would refuse from 131,072."""


class Bad(NamedTuple):
    """A line that makes no command, and why."""

    reason: str


class Source(Protocol):
    def peek(self) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


Commands = Iterator[tuple[int, bytes | dict[str, Any] | Bad]]


def guess(name: str, source: Source) -> str:
    """The format by the file's ending, else by its first line."""
    path = PurePath(name)
    ending = (path.suffix or path.name).lower().removeprefix(".")  # .env has no ending but itself
    if ending in READERS:
        return ending
    if ending in ("jsonl", "txt", "conf"):
        return "ndjson" if ending == "jsonl" else "lines"
    first = source.peek().strip()
    if first.startswith(b"{"):
        return "ndjson" if b'"type"' in first and first.endswith(b"}") else "json"
    if first.startswith(b"key,value"):
        return "csv"
    return "lines"


def is_history(line: bytes) -> bool:
    """Whether a line is a transaction of an `export --history`, which is no command."""
    try:
        found = strictly_parsed(line.decode())
    except ValueError:
        return False
    return isinstance(found, dict) and {"revision", "at", "changes"} <= found.keys()


def _ndjson(source: Source) -> Commands:
    for number, line in enumerate(source, start=1):
        yield number, line.rstrip(b"\r\n")


def _json(source: Source) -> Commands:
    try:
        members = list(_members(b"".join(source).decode()))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"The file is not one JSON object: {error}.") from error
    seen = set[str]()
    for number, key, value in members:
        if key in seen:
            yield number, Bad(f"The key {key[:80]!r} stands there already.")
        else:
            seen.add(key)
            yield number, _set(key, value)


def _members(text: str) -> Iterator[tuple[int, str, Any]]:
    """The members of the object that `text` is, each with the line that it begins in."""
    line, counted, at = 1, 0, _behind("{", text, 0)
    while not text.startswith("}", at):
        line, counted = line + text.count("\n", counted, at), at
        key, end = DECODER.raw_decode(text, at)
        if text[at] != '"':
            raise ValueError(f"in line {line} there is no name in quotes")
        value, end = DECODER.raw_decode(text, _behind(":", text, end))
        yield line, key, value
        at = _word(text, end)
        if not text.startswith("}", at):
            at = _behind(",", text, at)
            if text.startswith("}", at):
                raise ValueError("there is a comma behind the last member")
    if _word(text, at + 1) < len(text):
        raise ValueError("there is more behind the object")


def _behind(sign: str, text: str, at: int) -> int:
    """Where the next word begins behind `sign`, which must come next."""
    at = _word(text, at)
    if not text.startswith(sign, at):
        line = 1 + text.count("\n", 0, at)
        raise ValueError(f"in line {line} there is {text[at : at + 20]!r} instead of {sign}")
    return _word(text, at + 1)


def _word(text: str, at: int) -> int:
    """Where the next word begins, from `at` on."""
    blank = re.compile(r"[ \t\r\n]*").match(text, at)
    assert blank is not None
    return blank.end()


def _csv(source: Source) -> Commands:
    csv.field_size_limit(MAX_CELL)
    rows = csv.DictReader(line.decode(errors="surrogateescape") for line in source)
    if not {"key", "value"} <= set(rows.fieldnames or ()):
        raise click.UsageError("The first line of a CSV file names the columns key and value.")
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows)
            yield number, _set(row["key"], strictly_parsed(row["value"] or ""))
        except StopIteration:
            return
        except csv.Error as error:
            yield number, Bad(f"This is no line of CSV: {error}.")
        except ValueError as error:
            yield number, Bad(f"The value {row['value']!r:.80} is not JSON: {error}.")


def _env(source: Source) -> Commands:
    first, pending, quote = 0, "", ""
    for number, line in _decoded(source):
        if isinstance(line, Bad):
            yield number, line
            continue
        if not quote and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first = first if quote else number
        pending, quote = pending + line, _open_quote(line, quote)
        if not quote:
            yield first, _variable(pending)
            pending = ""
    if quote:
        yield first, Bad(f"The quote {quote} is never closed.")


def _open_quote(line: str, quote: str) -> str:
    """The quote that is open behind `line`, if `quote` was before it."""
    escaped = False
    for letter in line:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
    return quote


def _variable(text: str) -> dict[str, Any] | Bad:
    name, equals, quoted = text.strip().removeprefix("export ").partition("=")
    try:
        words = shlex.split(quoted)
    except ValueError:
        words = ["", ""]
    if not equals or len(words) > 1:
        return Bad(f"{text.strip()[:80]!r} is not NAME=value, quoted as a shell needs it.")
    return _set(name.strip(), number_or_text(words[0] if words else ""))


def _lines(source: Source) -> Commands:
    for number, line in _decoded(source):
        if isinstance(line, Bad):
            yield number, line
            continue
        if not line.strip():
            continue
        key, equals, value = line.partition(" = ")
        if not equals:
            key, equals, value = line.partition("=")
        if equals:
            yield number, _set(key.strip(), number_or_text(value.strip()))
        else:
            yield number, Bad(f"{line.rstrip()[:80]!r} is not `key = value`.")


def _decoded(source: Source) -> Iterator[tuple[int, str | Bad]]:
    for number, line in enumerate(source, start=1):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            yield number, Bad(f"Byte {error.start + 1} is not UTF-8.")


def number_or_text(text: str) -> int | float | str:
    """A number that prints back identically, else the text."""
    kinds: tuple[Callable[[str], int | float], ...] = (int, float)
    for kind in kinds:
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text and math.isfinite(number):
            return number
    return text


def _set(key: str, value: Any) -> dict[str, Any]:
    return {"type": "set", "key": key, "value": value}


READERS: Final[dict[str, Callable[[Source], Iterable[Any]]]] = {
    "ndjson": _ndjson,
    "json": _json,
    "csv": _csv,
    "env": _env,
    "lines": _lines,
}
