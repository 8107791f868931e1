"""The formats that `import` reads: each yields a line's number and the command that it makes."""

import csv
import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any, Final, NamedTuple, Protocol

import click

from desktop.subcommands import strictly_parsed


class Bad(NamedTuple):
    """A line that makes no command, and why."""

    reason: str


class Source(Protocol):
    def peek(self) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


Commands = Iterator[tuple[int, bytes | dict[str, Any] | Bad]]


def guess(name: str, source: Source) -> str:
    """The format by the file's ending, else by its first line."""
    ending = PurePath(name).suffix.lower().removeprefix(".")
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


def _ndjson(source: Source) -> Commands:
    for number, line in enumerate(source, start=1):
        yield number, line.rstrip(b"\r\n")


def _json(source: Source) -> Commands:
    try:
        values = strictly_parsed(b"".join(source).decode())
    except ValueError as error:
        raise click.UsageError(f"The file is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise click.UsageError("The file holds JSON, but not one object from key to value.")
    for number, (key, value) in enumerate(values.items(), start=1):
        yield number, _set(key, value)


def _csv(source: Source) -> Commands:
    rows = csv.DictReader(line.decode() for line in source)
    if not {"key", "value"} <= set(rows.fieldnames or ()):
        raise click.UsageError("The first line of a CSV file names the columns key and value.")
    for row in rows:
        try:
            yield rows.line_num, _set(row["key"], strictly_parsed(row["value"] or ""))
        except ValueError as error:
            yield rows.line_num, Bad(f"The value {row['value']!r:.80} is not JSON: {error}.")


def _env(source: Source) -> Commands:
    number, pending = 0, ""
    for number, line in enumerate(source, start=1):
        pending += line.decode(errors="replace")
        if not pending.strip() or pending.lstrip().startswith("#"):
            pending = ""
            continue
        name, equals, quoted = pending.strip().removeprefix("export ").partition("=")
        try:
            words = shlex.split(quoted)
        except ValueError:  # a quote is open: the value goes on in the next line
            continue
        pending = ""
        if not equals or len(words) > 1:
            yield number, Bad(f"{line[:80]!r} is not NAME=value, quoted as a shell needs it.")
        else:
            yield number, _set(name, number_or_text(words[0] if words else ""))
    if pending.strip():
        yield number, Bad("A quote is never closed.")


def _lines(source: Source) -> Commands:
    for number, raw in enumerate(source, start=1):
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line.strip():
            continue
        key, equals, value = line.partition(" = ")
        if not equals:
            key, equals, value = line.partition("=")
        if not equals:
            yield number, Bad(f"{line[:80]!r} is not `key = value`.")
        else:
            yield number, _set(key.strip(), number_or_text(value.strip()))


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
