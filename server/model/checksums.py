"""The checksum of a row, which shows whether its values are still those that were written."""

from typing import Any, Final
from zlib import crc32

import msgspec


def of_row(*values: Any) -> int:
    """The checksum of a row's values; as `of_values`, for SQL too."""
    return crc32(_encode(values))


def of_values(values: tuple[Any, ...]) -> int:
    """CRC-32 of the values as a MessagePack array, so that 1, "1" and None differ.

    It detects damage by disks and memory, not deliberate changes.
    """
    return crc32(_encode(values))


_encode: Final = msgspec.msgpack.Encoder().encode
