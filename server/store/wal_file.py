"""The write-ahead log as a file: find commits after damage, which SQLite does not read.

SQLite reads the log up to the first frame that does not fit its checksum, and takes the rest for a
commit that a power failure has interrupted (SQLite's "Database File Format", section 4). There may
be one such commit, which was never acknowledged; others were on the disk before it began.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from struct import unpack
from typing import Final

import apsw

HEADER: Final = 32
"""Bytes at the beginning of the log, which change when it is restarted."""
FRAME: Final = 24
"""Bytes of a frame before its page."""
_SALTS: Final = slice(16, 24)
"""The salts in the header; every frame written since then has the same."""
_PENDING_BYTE: Final = 0x40000000
"""Where SQLite locks a file; the page there is never used."""
_MASK: Final = 0xFFFFFFFF

Checksum = tuple[int, int]


def read_header(log: Path) -> bytes:
    """The header of the write-ahead log; empty where there is none, or nothing in it."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        return file.read(HEADER)


def hidden_commits(connection: apsw.Connection) -> int:
    """How many commits in its log this connection does not read, where they are more than one.

    Others may write meanwhile. The connection must have read something, and be in no transaction.
    """
    size = FRAME + int(connection.pragma("page_size"))
    try:
        with Path(f"{connection.filename}-wal").open("rb", buffering=0) as file:
            header = file.read(HEADER)
            commits = list(_commits(file, header[_SALTS], size, _valid_frames(connection)))
            read = _valid_frames(connection)
            hidden = sum(number > read for number in commits)
            if hidden < 2 or not _has_damaged_frame(file, header, size, read):
                return 0
            file.seek(0)
            return hidden if file.read(HEADER) == header else 0
    except OSError:
        return 0  # there is no log


def truncate_interrupted_commit(connection: apsw.Connection) -> None:
    """Remove what an interrupted commit has left after the commits that are read.

    Else its end, where shorter commits do not overwrite it, would look like lost commits at the
    next power failure. A checkpoint would do, but takes long with a large log, fails on a full
    disk, and keeps the log while somebody reads. SQLite reads nothing there, and writers wait for
    our transaction.
    """
    size = FRAME + int(connection.pragma("page_size"))
    with suppress(OSError, apsw.Error), Path(f"{connection.filename}-wal").open("r+b", 0) as file:
        header, read = file.read(HEADER), _valid_frames(connection)
        if any(_commits(file, header[_SALTS], size, read)):
            connection.execute("BEGIN IMMEDIATE")
            try:
                file.seek(0)
                if file.read(HEADER) == header and _has_damaged_frame(file, header, size, read):
                    file.truncate(HEADER + read * size)
                    os.fsync(file.fileno())
            finally:
                connection.execute("ROLLBACK")


def misses_pages(connection: apsw.Connection) -> bool:
    """Whether a page that the log counts is neither in it nor in the file: the log is another's.

    A complete checkpoint leaves the file as long as counted; later pages are in the log. The
    connection must have read something, and nobody may write meanwhile.
    """
    path, size = Path(connection.filename), int(connection.pragma("page_size"))
    read = _valid_frames(connection)
    if not read:
        return False
    with path.with_name(f"{path.name}-wal").open("rb", buffering=0) as file:
        counted = _frame_header(file, read, size)[1]
        missing = set(range(path.stat().st_size // size + 1, counted + 1))
        missing.discard(_PENDING_BYTE // size + 1)  # which is never written
        for number in range(1, read + 1) if missing else ():
            missing.discard(_frame_header(file, number, size)[0])
    return bool(missing)


def _frame_header(file: FileIO, frame: int, size: int) -> tuple[int, int]:
    """The number of a frame's page, and, where it ends a commit, the database's size in pages."""
    file.seek(HEADER + (frame - 1) * (FRAME + size))
    return int.from_bytes(file.read(4)), int.from_bytes(file.read(4))


def indexed_length(connection: apsw.Connection) -> int:
    """The least size of the log in bytes, by the frames in its index; 0 where that is unknown."""
    with suppress(apsw.Error):  # as while another thread reads, or the index is being written
        if read := _valid_frames(connection):
            return HEADER + read * (FRAME + int(connection.pragma("page_size")))
    return 0


def _valid_frames(connection: apsw.Connection) -> int:
    """How many frames SQLite reads: up to the last commit with valid checksums."""
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    return max(frames, 0)


def _commits(file: FileIO, salts: bytes, size: int, read: int) -> Iterator[int]:
    """The numbers, from 1, of the frames after the first `read` that end a commit."""
    number = read
    while True:
        file.seek(HEADER + number * size)
        number += 1
        if len(start := file.read(FRAME)) < FRAME:
            return
        if start[8:16] == salts and any(start[4:8]):
            yield number


def _has_damaged_frame(file: FileIO, header: bytes, size: int, read: int) -> bool:
    """Whether a frame with a wrong checksum comes before the next valid commit.

    Else that commit was only written or checkpointed meanwhile.
    """
    order = ">" if header[3] & 1 else "<"
    sums = _checksum(header[:24], (0, 0), order)
    if sums != unpack(">2I", header[24:]):
        return True
    if read:
        file.seek(HEADER + (read - 1) * size)
        sums = unpack(">2I", file.read(FRAME)[16:])
    file.seek(HEADER + read * size)
    while len(frame := file.read(size)) == size:
        sums = _checksum(frame[:8] + frame[FRAME:], sums, order)
        if frame[8:16] != header[_SALTS] or sums != unpack(">2I", frame[16:FRAME]):
            return True
        if any(frame[4:8]):
            return False
    return False


def _checksum(data: bytes, before: Checksum, order: str) -> Checksum:
    """The checksum of a frame of the write-ahead log, continued from the frame before it."""
    one, other = before
    words = iter(unpack(f"{order}{len(data) // 4}I", data))
    for first, second in zip(words, words, strict=True):
        one = (one + first + other) & _MASK
        other = (other + second + one) & _MASK
    return one, other
