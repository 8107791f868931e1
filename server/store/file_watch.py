"""Whether the files of an open store are still those that were opened.

A removed file can be written to as long as it is open, and all of that is lost when it is closed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent

EVERY_SECONDS: Final = 1.0
ENDINGS: Final = ("", "-wal", "-shm")
"""Of the names of what SQLite keeps for one store while it is open."""

Identity = tuple[int, int]
"""Device and inode."""


class Presence:
    """`path` is the file of a store that has just been opened; None for one in memory."""

    def __init__(self, path: Path | None) -> None:
        files = [path.with_name(path.name + ending) for ending in ENDINGS] if path else []
        self._opened = {file: found for file in files if (found := _identity(file))}

    def problem(self) -> str | None:
        """What has become of the files, in one sentence; None while they are in their place."""
        for file, opened in self._opened.items():
            if (found := _identity(file)) != opened:
                what = "is another one now" if found else "is gone"
                return (
                    f"The store's file {file} {what}: it was removed or replaced while the server "
                    "had it open. Put it back, or end the server and start it again: it begins "
                    "with what is there then, or says what is missing. Queries go on with what is "
                    "still open."
                )
        return None


class PresenceWatch:
    """Looks every second; what it finds stands in the log, and `wake` lets windows look again."""

    def __init__(self, presence: Presence, wake: Callable[[], None]) -> None:
        self._presence, self._wake = presence, wake
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        told: str | None = None
        while True:
            if (problem := self._presence.problem()) != told:
                told = problem
                print(problem or "The store's files are in their place again.", file=sys.stderr)
                self._wake()
            gevent.sleep(EVERY_SECONDS)


def _identity(file: Path) -> Identity | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
