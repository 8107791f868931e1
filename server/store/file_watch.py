"""Check that the files of an open store are still those that were opened, and not truncated.

A removed file can be written to as long as it is open, and all of that is lost when it is closed;
what is written after the end of a truncated one is lost as well.
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
from signalbox.server.runtime.error_messages import damaged_store, reason
from signalbox.server.store import wal_file
from signalbox.server.store.read_errors import is_damage

logger: Final = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
SUFFIXES: Final = ("", "-wal", "-shm")
"""Suffixes of the names of the files that SQLite has for one open store."""
MAX_LOOKS: Final = 3
"""Checks in a row that must find a file too short: one may coincide with a checkpoint that empties
the write-ahead log."""
SHORTER: Final = "is shorter than what was written to it"
OVERWRITTEN: Final = "was written over by another program"
_COUNTERS: Final = slice(24, 44)
"""In the file's header: from its change counter to its schema cookie (SQLite's "Database File
Format", section 1.3). No commit and no checkpoint decreases either; in a backup that SQLite has
made both are 1."""
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
    """The identity and size of each file of a store that has just been opened.

    `path` is the store's file; None for a store in memory. `wal_reader` is a connection for this
    alone: it knows how long the write-ahead log must be, also after a checkpoint by another
    connection. `called` is the path that errors name: that of the original where `path` is a copy.
    """

    def __init__(
        self, path: Path | None, wal_reader: apsw.Connection | None, called: Path | None = None
    ) -> None:
        """Note the files of the store as they are now."""
        self._called = called or path or Path()
        self.write_problem: str | None = None
        """Why nothing can be written though all files are in place, in one sentence."""
        files = [f"{path}{ending}" for ending in SUFFIXES] if path else []
        self._seen = {file: found for file in files if (found := _stat(file))}
        """By path, as text: a `Path` would take half of the time of a check."""
        self._file_name = path.name if path else ""
        self._wal_reader = wal_reader
        if wal_reader:
            wal_reader.pragma("user_version")  # before it has read something it ignores the log
        # By SQLite: closing a descriptor of our own would release the locks of all (POSIX).
        flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
        self._header_file = apsw.VFSFile("", wal_reader.filename, flags) if wal_reader else None
        self._counters = 0, 0
        self._counters = self._read_counters()
        self._lock: str | None = None
        self.command_refused = False
        """Whether a command was refused because of the files: then somebody knows of it."""

    def watch_lock(self, lock: Path) -> None:
        """Check from now on also the lock file that this process holds."""
        if found := _stat(str(lock)):
            self._lock = str(lock)
            self._seen[self._lock] = found

    def close(self) -> None:
        """Close what the store's files are checked with."""
        if self._wal_reader:
            self._wal_reader.close()
        if self._header_file:
            self._header_file.xClose()
            self._header_file = None

    def problem(self) -> str | None:
        """Why nothing can be written to the store, in one sentence; None while it can."""
        return self.file_problem() or self.write_problem

    def file_problem(self) -> str | None:
        """What is wrong with the store's files, in one sentence; None while all are whole."""
        if (problem := self._find_problem()) is None:
            return None
        file, fault = problem
        if file == self._lock:
            return f"The server's lock {file} {fault}: {_LOCK_LOST}"
        if fault == OVERWRITTEN:
            return f"The store's file {file} {fault}, {_OVERWRITTEN.format(name=self._file_name)}"
        why = _TRUNCATED.format(name=self._file_name) if fault == SHORTER else _REPLACED
        return f"The store's file {file} {fault}: {why}"

    def unreadable(self, error: Exception) -> Unavailable:
        """The refusal for an error of reading. After damage nothing is written any more: it would
        be lost with the file.
        """
        if is_damage(error):
            self.write_problem = str(damaged_store(self._called))
        return Unavailable(self.write_problem or f"The store cannot be read: {reason(error)}.")

    def must_not_checkpoint(self) -> bool:
        """Whether a file is too short or overwritten: a checkpoint would mix two states."""
        problem = self._find_problem()
        return problem is not None and problem[1] in (SHORTER, OVERWRITTEN)

    def _find_problem(self) -> tuple[str, str] | None:
        """The store's file that was replaced or truncated, and how; a change may be under way."""
        for _ in range(MAX_LOOKS):
            if (problem := self._check_once()) is None:
                return None
        return problem

    def _check_once(self) -> tuple[str, str] | None:
        """The first file with a problem, and the problem.

        The log's length is read first: a commit writes frames before it counts them, and a
        checkpoint that empties the log counts before it writes. The other two files only grow.
        """
        log = wal_file.indexed_length(self._wal_reader) if self._wal_reader else 0
        for file, seen in self._seen.items():
            if (status := _stat(file)) is None:
                return file, "is gone"
            if not os.path.samestat(status, seen):
                return file, "is another one now"
            if status.st_size < (log if file.endswith("-wal") else seen.st_size):
                return file, SHORTER
            self._seen[file] = status
        counters = self._read_counters()
        if any(now < before for now, before in zip(counters, self._counters, strict=True)):
            return next(iter(self._seen)), OVERWRITTEN
        self._counters = counters
        return None

    def _read_counters(self) -> tuple[int, int]:
        """The file's change counter and schema cookie; the previous ones where it is unreadable."""
        with suppress(apsw.Error):
            if self._header_file:
                read = self._header_file.xRead(_COUNTERS.stop - _COUNTERS.start, _COUNTERS.start)
                return int.from_bytes(read[:4]), int.from_bytes(read[-4:])
        return self._counters


class OpenFilesWatch:
    """Checks every second; logs what has changed, and calls `wake` so that windows show it.

    `in_place` is called after each check that has found no problem.
    """

    def __init__(
        self, open_files: OpenFiles, wake: Callable[[], None], in_place: Callable[[], None]
    ) -> None:
        """Begin to watch the store's files; `in_place` is called while all are in place."""
        self._open_files, self._wake, self._in_place = open_files, wake, in_place
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        """End the watch of the store's files."""
        self._greenlet.kill()

    def _run(self) -> None:
        """Check the store's files every second, and log what is wrong with them."""
        reported: str | None = None
        while True:
            if (problem := self._open_files.problem()) != reported:
                reported = problem
                if problem:
                    logger.warning(problem)
                else:
                    logger.info("The store's files are in their place again.")
                self._wake()
            if not problem:
                self._in_place()
            gevent.sleep(EVERY_SECONDS)


def _stat(file: str) -> os.stat_result | None:
    """The file's status; None where it is not there any more."""
    try:
        return os.stat(file)  # noqa: PTH116 - see `_seen`
    except OSError:
        return None
