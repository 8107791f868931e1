"""Recognises the batches of an import that is sent again under the same id."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from signalbox.server.formats.text_lines import Row
from signalbox.server.model.errors import IdReused, error_from_fields

Find = Callable[[str], tuple[bytes, dict[str, Any]] | None]
"""The fingerprint and the first answer of a command id; None where it is not remembered."""
NUMBER_BYTES: Final = 8
DIGEST_BYTES: Final = 8


class RowDigest:
    """Number and digest of the rows of a file up to the end of a batch."""

    def __init__(self) -> None:
        """The digest of no rows yet."""
        self.number = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, text: bytes, number: int = 1) -> None:
        """Add the text of `number` rows to the digest, each with its line end."""
        self.number += number
        self._digest.update(text)

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of all rows so far, under which their batch is stored."""
        return self.number.to_bytes(NUMBER_BYTES) + self._digest.digest()


def row_count(fingerprint: bytes) -> int:
    """The number of rows of the file up to the end of the batch with this fingerprint."""
    return int.from_bytes(fingerprint[:NUMBER_BYTES])


class KnownBatches:
    """Compares a file, row by row, with the batches that were applied under the same id."""

    def __init__(self, identity: str, atomic: bool, find: Find) -> None:
        """Compare with the batches of the import `identity`, which `find` looks up."""
        self._id, self._atomic, self._find = identity, atomic, find
        self._rows = RowDigest()
        self._commands = 0
        self._batch = 0
        self._next_batch()

    @property
    def is_applied(self) -> bool:
        """Whether the current batch was applied before, under the same import's id."""
        return self._applied is not None

    def add_command(self) -> None:
        """Count a command of the current batch."""
        self._commands += 1

    def end_row(self, row: Row) -> int:
        """End a row of the imported file; how many commands are known now to be imported before.

        Raises as `end_file`.
        """
        if self._applied is None:
            return 0
        self._rows.add(row.text + b"\n")
        is_over = self._rows.number == row_count(self._applied[0])
        return self.end_file() if is_over and not self._atomic else 0

    def end_file(self) -> int:
        """End the imported file; how many commands of its last batch were imported before.

        Raises `IdReused`, or what says that the batch was refused.
        """
        if self._applied is None or self._commands == 0:
            return 0
        fingerprint, answer = self._applied
        if fingerprint != self._rows.fingerprint:
            raise IdReused(self._name)
        if answer["status"] != "accepted":
            raise error_from_fields(answer)
        commands = self._commands
        self._next_batch()
        return commands

    @property
    def _name(self) -> str:
        """The command id of the current batch."""
        return f"{self._id}-{self._batch}"

    def _next_batch(self) -> None:
        """Begin the next batch, and look up whether it was applied before."""
        self._batch, self._commands = self._batch + 1, 0
        self._applied = self._find(self._name)
