"""What an import reports while it runs: its counts, in a line of progress every quarter second."""

import json
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Final

IDLE_SECONDS: Final = 0.5
"""Lines are applied where the sender pauses for so long."""
PROGRESS_SECONDS: Final = 0.25


def zero_counts(revision: int) -> dict[str, int]:
    """The counts with which an import, of commands or of a history, begins at this revision."""
    names = ("lines", "accepted", "rejected", "changes", "batches", "duplicates")
    return dict.fromkeys(names, 0) | {"revision": revision}


def progress_line(counts: Mapping[str, int]) -> bytes:
    """The counts as a line of the response."""
    return json.dumps({"type": "progress"} | dict(counts)).encode() + b"\n"


class Progress:
    """The lines of progress of one import."""

    def __init__(self) -> None:
        """The progress of an import that has reported none yet."""
        self._last = 0.0

    def lines(self, counts: Mapping[str, int]) -> Iterator[bytes]:
        """One line if the last one is `PROGRESS_SECONDS` old, else none."""
        if monotonic() - self._last > PROGRESS_SECONDS:
            self._last = monotonic()
            yield progress_line(counts)
