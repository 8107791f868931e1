"""A file to import: its format is detected, and its rows are read."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from signalbox.server.formats import (
    csv_rows,
    env_file,
    json_object,
    key_value_lines,
    ndjson,
)
from signalbox.server.formats.text_lines import (
    EXPECTED,
    Row,
    decode_file,
    first_line,
)
from signalbox.server.model.errors import Malformed, SignalboxError

Read = Callable[[Iterator[bytes]], Iterator[list[Row]]]
READERS: Final[dict[str, Read]] = {
    "ndjson": ndjson.read,
    "json": json_object.read,
    "csv": csv_rows.read,
    "env": env_file.read,
    "lines": key_value_lines.read,
}
MEDIA_TYPES: Final[dict[str, str | None]] = {
    "application/x-ndjson": "ndjson",
    "application/json": "json",
    "text/csv": "csv",
    "application/octet-stream": None,
}
"""Which format a file of that media type has; None where its name or its content tells."""
_ENDINGS: Final = {"jsonl": "ndjson", "tsv": "csv", "txt": "lines", "conf": "lines"}
_VARIABLE: Final = re.compile(rb"(#|export\s|[A-Za-z_][A-Za-z0-9_]*=(?!\s+\S))")
"""How a first line shows `.env`. With blanks around the sign it is one of `key = value`."""


class ImportFile:
    """One file that is to be read. `format` is known once its first row is, `trouble` at its end.

    `trouble` says why the rest of the file could not be read, where it could not.
    """

    def __init__(self, format: str | None, name: str = "", encoding: str = "utf-8") -> None:
        self.format = format or by_name(name)
        self._encoding = encoding
        self.trouble: SignalboxError | None = None

    def read(self, blocks: Iterator[bytes]) -> Iterator[list[Row]]:
        """Its rows as they come. `blocks` are read to their end, whatever they hold."""
        try:
            start, rest = decode_file(blocks, self._encoding)
            self.format = self.format or by_content(start)
            yield from READERS[self.format](rest)
        except SignalboxError as error:
            self.trouble = error
        for _ in blocks:  # who sends it reads no answer before it is sent
            pass


def by_name(name: str) -> str | None:
    """The format that a file's name tells; `.env`, `.env.local`, `prod.env.bak` are alike."""
    base = name.replace("\\", "/").rpartition("/")[2].lower()
    _, *endings = base.split(".")
    if "env" in endings or base == ".envrc":
        return "env"
    ending = base.rpartition(".")[2]
    return ending if ending in READERS else _ENDINGS.get(ending)


def by_content(start: bytes) -> str:
    """The format that a file's first bytes show. Raises `Malformed` where there are none."""
    first = first_line(start)
    if not first:
        raise Malformed(f"The file is empty; {EXPECTED}.")
    if first.startswith(b"{"):
        return "ndjson" if ndjson.is_command(first) else "json"
    if csv_rows.is_header(first.decode(errors="replace")):
        return "csv"
    return "env" if _VARIABLE.match(first) else "lines"
