"""What an import has sent before under the same id: batches end where they ended, and are known."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from signalbox.server.formats.text_lines import Row
from signalbox.server.model.errors import IdReused, error_from_fields

Find = Callable[[str], tuple[bytes, dict[str, Any]] | None]
"""The fingerprint and the first answer of a command id, where they are remembered."""
NUMBER_BYTES: Final = 8
DIGEST_BYTES: Final = 8


class RowDigest:
    """The rows of a file up to the end of a batch: how many, and a digest of them."""

    def __init__(self) -> None:
        self.number = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, text: bytes, number: int = 1) -> None:
        """So many rows, each with its line end."""
        self.number += number
        self._digest.update(text)

    @property
    def fingerprint(self) -> bytes:
        return self.number.to_bytes(NUMBER_BYTES) + self._digest.digest()


def row_count(fingerprint: bytes) -> int:
    """How many rows of its file there were up to the end of that batch."""
    return int.from_bytes(fingerprint[:NUMBER_BYTES])


class KnownBatches:
    """A file row by row, as an import of it meets its own batches."""

    def __init__(self, identity: str, atomic: bool, find: Find) -> None:
        self._id, self._atomic, self._find = identity, atomic, find
        self._rows = RowDigest()
        self._commands = 0
        self._batch = 0
        self._next()

    @property
    def is_known(self) -> bool:
        """Whether the id of the batch that goes on was used before."""
        return self._known is not None

    def take(self) -> None:
        """Another command of that batch."""
        self._commands += 1

    def end(self, row: Row) -> int:
        """The row is over: of how many commands it is known now that they were imported before.

        Raises as `finish`.
        """
        if self._known is None:
            return 0
        self._rows.add(row.text + b"\n")
        is_over = self._rows.number == row_count(self._known[0])
        return self.finish() if is_over and not self._atomic else 0

    def finish(self) -> int:
        """As `end`, of the file. Raises `IdReused`, or what says that the batch was refused."""
        if self._known is None or self._commands == 0:
            return 0
        fingerprint, answer = self._known
        if fingerprint != self._rows.fingerprint:
            raise IdReused(self._name)
        if answer["status"] != "accepted":
            raise error_from_fields(answer)
        commands = self._commands
        self._next()
        return commands

    @property
    def _name(self) -> str:
        return f"{self._id}-{self._batch}"

    def _next(self) -> None:
        self._batch, self._commands = self._batch + 1, 0
        self._known = self._find(self._name)
