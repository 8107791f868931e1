"""Reading files of every format as the import does, and values that any of them can hold."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st

from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import Row
from signalbox.server.model.commands import Set, read_line
from signalbox.server.model.errors import SignalboxError

ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("'\"\\`$\n\r#=+-@;,{}[] \u2028\0"),
    max_size=20,
)
ANY_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.sampled_from(["true", "null", "1", "-5", "=1+1", "'=x", '{"a":1}', "[1]", '"q"', "1e5"])
)
ANY_VALUE = st.recursive(
    ANY_SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
)


def read_values(
    text: str | bytes, kind: str | None, cuts: int = 0, **more: Any
) -> tuple[Any, Any, Any]:
    """What is set, the numbers of the lines that are refused, and why the rest was not read."""
    rows, file = read_rows(text, kind, cuts, **more)
    found, refused = {}, []
    for row in rows:
        try:
            command = row.command or read_line(row.text)
        except SignalboxError as error:
            command = error
        if isinstance(command, SignalboxError):
            refused.append(row.number)
        else:
            assert isinstance(command, Set)
            found[command.key] = plain_value(command.value)
    return found, refused, file.error and file.error.message


def read_rows(
    text: str | bytes, kind: str | None, cuts: int, **more: Any
) -> tuple[list[Row], ImportFile]:
    """Read in pieces of so many bytes; 0: in one."""
    given_ = text.encode() if isinstance(text, str) else text
    file = ImportFile(kind, **more)
    rows = [row for found in file.read(split_bytes(given_, cuts)) for row in found]
    return [row for row in rows if row.text.strip() or row.command], file


def split_bytes(text: bytes, size: int) -> Iterator[bytes]:
    ends = range(0, len(text) + size, size) if size else (0, len(text))
    return (text[start:end] for start, end in pairwise(ends))


def plain_value(value: Any) -> Any:
    return int(bytes(value)) if isinstance(value, msgspec.Raw) else value
