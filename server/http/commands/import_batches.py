"""Lines of an import that make one transaction, and how much of them one takes."""

from typing import Final, NamedTuple

from signalbox.server.model import values
from signalbox.server.model.commands import Command, EncodedSet
from signalbox.server.model.decide import (
    MAX_CHANGES,
    MAX_TRANSACTION_BYTES,
    Changes,
    Draft,
    State,
    decide,
    too_many,
)
from signalbox.server.model.errors import SignalboxError, TooLarge
from signalbox.server.runtime.scheduling import yield_to_hub

BATCH_LINES: Final = 10_000
BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_ATOMIC_TEXT: Final = 2 * MAX_TRANSACTION_BYTES
"""Bytes of the rows of an atomic import."""
CHANGE_BYTES: Final = 12
"""What a change takes in an engine's message beside its key and value, at most."""
SLICE: Final = 250
"""Lines handled before other greenlets get a turn."""

Line = tuple[int, Command | EncodedSet]
"""A command and its number in the body, from 1."""


def nothing_yet(revision: int) -> dict[str, int]:
    """The counts of an import, of commands or of a history, that has begun at this revision."""
    names = ("lines", "accepted", "rejected", "changes", "batches", "duplicates")
    return dict.fromkeys(names, 0) | {"revision": revision}


class Rejection(NamedTuple):
    number: int
    error: SignalboxError


class Batch:
    """Lines that make one transaction; those that are refused leave it."""

    def __init__(self, lines: list[Line], atomic: bool, room: "Room") -> None:
        self._lines = lines
        self._atomic = atomic
        self._room = room
        self.rejections: list[Rejection] = []

    @property
    def keys(self) -> list[str]:
        """The keys that the lines name."""
        return [key for _, command in self._lines if (key := getattr(command, "key", None))]

    def decide(self, state: State) -> Changes:
        """As `decide.decide`, for all lines in order. Pure but for giving others a turn."""
        draft, size = Draft(state), 0
        self.rejections = []
        for count, (number, command) in enumerate(self._lines, start=1):
            try:
                made = decide(draft, command)
                grown = size
                for key, raw in made.items():
                    grown += values.size(key) + (values.size(raw) if raw else 0)
                changes = len(draft.changes) + len(made)
                if grown > self._room.content or changes > MAX_CHANGES:
                    raise self._room.refusal(grown, changes, self._atomic)
            except SignalboxError as error:
                if self._atomic:
                    raise located(error, number) from error
                self.rejections.append(Rejection(number, error))
            else:
                draft.add_net(made)
                size = grown
            if count % SLICE == 0:
                yield_to_hub()
        return draft.changes


class Room(NamedTuple):
    """Lines and bytes of a batch; what a transaction may have in bytes, and of that its content."""

    lines: int
    bytes: int
    most: int
    content: int

    def refusal(self, size: int, changes: int, atomic: bool) -> TooLarge:
        """Of so many bytes, or else of so many changes, in one transaction."""
        return too_much(size, self, atomic) if size > self.content else too_many(changes)


def room(engine_takes: int | None) -> Room:
    """In an engine's message every change takes some bytes more than it has."""
    if engine_takes is None:
        return Room(BATCH_LINES, BATCH_BYTES, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_BYTES)
    lines, most = min(BATCH_LINES, engine_takes // 200), min(MAX_TRANSACTION_BYTES, engine_takes)
    size = min(BATCH_BYTES, engine_takes * 3 // 4)
    return Room(lines, size, most, most - lines * CHANGE_BYTES)


def too_much(size: int, room: Room, atomic: bool) -> TooLarge:
    """The refusal of so many bytes, or more, in one transaction."""
    hint = "; import without atomic=1" if atomic else ""
    return TooLarge(
        f"That would be {size} bytes or more; one transaction holds {room.most}, of them "
        f"{room.content} of keys and values{hint}.",
        limit=room.most,
    )


def located(error: SignalboxError, number: int) -> SignalboxError:
    return type(error)(
        f"Line {number}: {error.message}",
        key=error.key,
        keys=error.keys,
        revision=error.revision,
        limit=error.limit,
    )
