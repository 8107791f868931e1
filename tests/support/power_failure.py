"""A disk whose power can fail: SQLite's writes are recorded, and any moment can be played back.

What was not synced at that moment is lost, or only partly written, as a real disk may do.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

VFS_NAME: Final = "power"
SECTOR: Final = 512


class Write(NamedTuple):
    name: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    name: str
    size: int


class Sync(NamedTuple):
    name: str


class Delete(NamedTuple):
    name: str


class Acknowledged(NamedTuple):
    """The sender is answered now: from now on `revision` must be there."""

    revision: int


Moment = Write | Truncate | Sync | Delete | Acknowledged


class Recorder(apsw.VFS):
    """Passes everything on to the real disk and writes down what it passed."""

    def __init__(self) -> None:
        self.trace: list[Moment] = []
        super().__init__(VFS_NAME, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return RecordedFile(self.trace, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.trace.append(Delete(Path(filename).name))


class RecordedFile(apsw.VFSFile):
    """One open file of a `Recorder`."""

    def __init__(self, trace: list[Moment], name: Any, flags: list[int]) -> None:
        self._trace = trace
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._trace.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._trace.append(Truncate(self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._trace.append(Sync(self._name))


@contextmanager
def recorder() -> Iterator[Recorder]:
    """A recorder that SQLite knows as `VFS_NAME` for as long as the block lasts."""
    made = Recorder()
    try:
        yield made
    finally:
        made.unregister()


class Disk:
    """What is on the disk for certain, and what has been written since without a sync."""

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}
        self.pending: dict[str, list[Write | Truncate]] = {}

    def play(self, moment: Moment) -> None:
        if isinstance(moment, Write | Truncate):
            self.pending.setdefault(moment.name, []).append(moment)
        elif isinstance(moment, Sync):
            content = self.durable.get(moment.name, b"")
            for operation in self.pending.pop(moment.name, []):
                content = applied(content, operation)
            self.durable[moment.name] = content
        elif isinstance(moment, Delete):
            self.durable.pop(moment.name, None)
            self.pending.pop(moment.name, None)

    def cut(self, folder: Path, survives: random.Random | None) -> None:
        """Let `folder` hold what a power cut now leaves. `survives` None: nothing unsynced.

        Else each unsynced write is there, is missing, or is there in some of its sectors.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        for name in self.durable.keys() | self.pending.keys():
            content = self.durable.get(name)
            for operation in self.pending.get(name, []):
                for part in partly(operation, survives):
                    content = applied(content or b"", part)
            if content is not None:
                (folder / name).write_bytes(content)


def applied(content: bytes, operation: Write | Truncate) -> bytes:
    if isinstance(operation, Truncate):
        return content[: operation.size].ljust(operation.size, b"\0")
    end = operation.offset + len(operation.data)
    grown = content.ljust(operation.offset, b"\0")
    return grown[: operation.offset] + operation.data + grown[end:]


def partly(
    operation: Write | Truncate, survives: random.Random | None
) -> Iterator[Write | Truncate]:
    fate = survives.choice(["whole", "whole", "lost", "torn"]) if survives else "lost"
    if fate == "whole" or (fate == "torn" and isinstance(operation, Truncate)):
        yield operation
    elif fate == "torn" and isinstance(operation, Write) and survives:
        for start in range(0, len(operation.data), SECTOR):
            if survives.random() < 0.5:
                data = operation.data[start : start + SECTOR]
                yield Write(operation.name, operation.offset + start, data)
