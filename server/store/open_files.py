"""Whether the files of an open store are still those that were opened, and have all they had.

A removed file can be written to as long as it is open, and all of that is lost when it is closed;
what is written behind the end of one that was cut off is lost as well.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import gevent

from signalbox.server.model.errors import Unavailable
from signalbox.server.runtime.error_messages import NOTICED, damaged_store, reason
from signalbox.server.store import wal_file

logger: Final = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
SUFFIXES: Final = ("", "-wal", "-shm")
"""Of the names of what SQLite keeps for one store while it is open."""
MAX_LOOKS: Final = 3
"""So many in a row find a file too short: one may fall into a checkpoint that empties the log."""
SHORTER: Final = "is shorter than what was written to it"
OVERWRITTEN: Final = "was written over by another program"
_COUNTERS: Final = slice(24, 44)
"""In the file's header: from its change counter to its schema cookie (SQLite's "Database File
Format", section 1.3). Neither ever becomes less, whoever commits and whoever brings the log to the
file; in a backup that SQLite has made both are 1."""
_OVERWRITTEN: Final = (
    "as by a copy of a backup, while the server had it open. Nothing more is written. End the "
    "server, remove {name}-wal and {name}-shm, and start it again: it begins with what is there "
    "now."
)
_TRUNCATED: Final = (
    "it was cut off, or written over, while the server had it open. What it lacks is lost. End the "
    "server; start it again to begin with what is left, or replace the store by a backup first, "
    "and remove {name}-wal and {name}-shm with it."
)
_REPLACED: Final = (
    "it was removed or replaced while the server had it open. Put it back, or end the server and "
    "start it again: it begins with what is there then, or says what is missing. Queries go on "
    "with what is still open."
)
_LOCK_LOST: Final = (
    "it was removed or replaced while the server held it, so another server may be using the "
    "store. End this server and start it again; queries go on."
)


class OpenFiles:
    """`path` is the file of a store that has just been opened; None for one in memory.

    `beside` is a connection of its own. It tells how long the write-ahead log is to be, also after
    a checkpoint by whomever. `called` is what errors call a copy: the file that it was made of.
    """

    def __init__(
        self, path: Path | None, beside: apsw.Connection | None, called: Path | None = None
    ) -> None:
        self._called = called or path or Path()
        self.trouble: str | None = None
        """Why nothing can be written though all files are in their place, in one sentence."""
        files = [path.with_name(path.name + ending) for ending in SUFFIXES] if path else []
        self._seen = {file: found for file in files if (found := _stat(file))}
        self._name = path.name if path else ""
        self._beside = beside
        if beside:
            beside.pragma("user_version")  # until it has read something it knows of no log
        # By SQLite's own means: to close another descriptor would give up the locks of all.
        flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
        self._header = apsw.VFSFile("", str(path), flags) if path else None
        self._counters = 0, 0
        self._counters = self._read_counters()
        self._lock: Path | None = None
        self.command_refused = False
        """Whether a command was refused for what has become of the files: then somebody knows."""

    def watch_lock(self, lock: Path) -> None:
        """`lock` is the file by which this process has just become the only one that writes."""
        if found := _stat(lock):
            self._lock, self._seen[lock] = lock, found

    def close(self) -> None:
        if self._beside:
            self._beside.close()
        if self._header:
            self._header.xClose()
            self._header = None

    def problem(self) -> str | None:
        """Why nothing can be written, in words; None while it can."""
        return self.misplaced() or self.trouble

    def misplaced(self) -> str | None:
        """What has become of the files, in words; None while they are in their place and whole."""
        if (found := self._found()) is None:
            return None
        file, what = found
        if file == self._lock:
            return f"The server's lock {file} {what}: {_LOCK_LOST}"
        if what == OVERWRITTEN:
            return f"The store's file {file} {what}, {_OVERWRITTEN.format(name=self._name)}"
        why = _TRUNCATED.format(name=self._name) if what == SHORTER else _REPLACED
        return f"The store's file {file} {what}: {why}"

    def unreadable(self, error: Exception) -> Unavailable:
        """The refusal that tells of an error of reading. After damage nothing is written any more:
        it would be lost with the file.
        """
        if isinstance(error, NOTICED):
            self.trouble = str(damaged_store(self._called))
        return Unavailable(self.trouble or f"The store cannot be read: {reason(error)}.")

    def is_cut_off(self) -> bool:
        """Whether a file is too short or another's: bringing the log to the file would mix two
        states.
        """
        found = self._found()
        return found is not None and found[1] in (SHORTER, OVERWRITTEN)

    def _found(self) -> tuple[Path, str] | None:
        for _ in range(MAX_LOOKS):
            if (found := self._look()) is None:
                return None
        return found

    def _look(self) -> tuple[Path, str] | None:
        """The first file that is not as it should be, and what it is.

        The log's length is asked first: a commit writes before it counts, and emptying the log
        counts before it writes. The other two only grow.
        """
        log = wal_file.indexed_length(self._beside) if self._beside else 0
        for file, seen in self._seen.items():
            if (found := _stat(file)) is None:
                return file, "is gone"
            if not os.path.samestat(found, seen):
                return file, "is another one now"
            if found.st_size < (log if file.name.endswith("-wal") else seen.st_size):
                return file, SHORTER
            self._seen[file] = found
        counters = self._read_counters()
        if any(now < before for now, before in zip(counters, self._counters, strict=True)):
            return next(iter(self._seen)), OVERWRITTEN
        self._counters = counters
        return None

    def _read_counters(self) -> tuple[int, int]:
        """The file's change counter and schema cookie; as they were where they cannot be read."""
        with suppress(apsw.Error):
            if self._header:
                read = self._header.xRead(_COUNTERS.stop - _COUNTERS.start, _COUNTERS.start)
                return int.from_bytes(read[:4]), int.from_bytes(read[-4:])
        return self._counters


class OpenFilesWatch:
    """Looks every second; what it finds stands in the log, and `wake` lets windows look again.

    `in_place` is called each time where all files are in their place.
    """

    def __init__(
        self, open_files: OpenFiles, wake: Callable[[], None], in_place: Callable[[], None]
    ) -> None:
        self._open_files, self._wake, self._in_place = open_files, wake, in_place
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        told: str | None = None
        while True:
            if (problem := self._open_files.problem()) != told:
                told = problem
                if problem:
                    logger.warning(problem)
                else:
                    logger.info("The store's files are in their place again.")
                self._wake()
            if not problem:
                self._in_place()
            gevent.sleep(EVERY_SECONDS)


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
