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
"""The format of each media type; None where the name or the content decides."""
_ENDINGS: Final = {"jsonl": "ndjson", "tsv": "csv", "txt": "lines", "conf": "lines"}
_VARIABLE: Final = re.compile(rb"(#|export\s|[A-Za-z_][A-Za-z0-9_]*=(?!\s+\S))")
"""A first line of `.env`; with blanks around the sign it is a line of `key = value`."""


class ImportFile:
    """One file to import. `format` is set with the first row, at the latest.

    `error` is set at the end where the rest of the file could not be read.
    """

    def __init__(self, format: str | None, name: str = "", encoding: str = "utf-8") -> None:
        """A file whose format is given, or known by its name, or else by its content."""
        self.format = format or by_name(name)
        self._encoding = encoding
        self.error: SignalboxError | None = None

    def read(self, blocks: Iterator[bytes]) -> Iterator[list[Row]]:
        """The rows of the file as they arrive. `blocks` are consumed to their end in any case."""
        try:
            start, decoded = decode_file(blocks, self._encoding)
            self.format = self.format or by_content(start)
            yield from READERS[self.format](decoded)
        except SignalboxError as error:
            self.error = error
        for _ in blocks:  # the client reads no response before it has sent all
            pass


def by_name(name: str) -> str | None:
    """The format by the name of a file: `.env`, `.env.local`, `prod.env.bak` are the same."""
    base = name.replace("\\", "/").rpartition("/")[2].lower()
    _, *endings = base.split(".")
    if "env" in endings or base == ".envrc":
        return "env"
    ending = base.rpartition(".")[2]
    return ending if ending in READERS else _ENDINGS.get(ending)


def by_content(start: bytes) -> str:
    """The format by the first bytes of a file. Raises `Malformed` where it is empty."""
    first = first_line(start)
    if not first:
        raise Malformed(f"The file is empty; {EXPECTED}.")
    if first.startswith(b"{"):
        return "ndjson" if ndjson.is_command(first) else "json"
    if csv_rows.is_header(first.decode(errors="replace")):
        return "csv"
    return "env" if _VARIABLE.match(first) else "lines"
