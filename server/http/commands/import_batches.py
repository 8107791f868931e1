"""Batches of an import: lines that become one transaction, and the limits of a batch."""

from collections.abc import Callable
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
    decide_sets,
    too_many,
)
from signalbox.server.model.errors import Interlocked, SignalboxError, TooLarge
from signalbox.server.model.rule_check import check_rules, concerns_rules, is_plainly_allowed
from signalbox.server.runtime.scheduling import Pauses

BATCH_LINES: Final = 10_000
BATCH_BYTES: Final = 4 * 1024 * 1024
SHORT_BATCH_LINES: Final = 4_000
"""Lines of a batch while others send commands, which may have to wait for it. A quarter of them
would take half of the time: most keys lie in pages of their own.
"""
OTHERS_SECONDS: Final = 1.0
"""For so long after a command of somebody else, batches are short."""
MAX_ATOMIC_TEXT: Final = 2 * MAX_TRANSACTION_BYTES
"""Bytes of the rows of an atomic import."""
CHANGE_BYTES: Final = 12
"""Bytes of a change in an engine's message beside its key and value, at most."""
SLICE: Final = 500
"""Rows that are parsed before other greenlets run, and lines that are decided together."""

Line = tuple[int, Command | EncodedSet]
"""A command and its number in the body, from 1."""


class Rejection(NamedTuple):
    number: int
    error: SignalboxError


class Batch:
    """Lines that become one transaction, without those that are rejected."""

    def __init__(self, lines: list[Line], actor: str, atomic: bool, limits: "BatchLimits") -> None:
        """A batch of the lines of an import by `actor`, which is one transaction of it."""
        self._lines = lines
        self._actor = actor
        self._atomic = atomic
        self._limits = limits
        self._size = 0
        """Bytes of the keys and values that the decided lines have changed."""
        self.rejections: list[Rejection] = []

    @property
    def keys(self) -> list[str]:
        """The keys that the lines of the batch name, to be looked up together."""
        return [key for _, command in self._lines if (key := getattr(command, "key", None))]

    def decide(self, state: State) -> Changes:
        """As `decide.decide`, for all lines in order. Pure, but other greenlets run meanwhile.

        Each line is checked by the rules alone, or an atomic batch as a whole.
        """
        draft, self._size, self.rejections = Draft(state), 0, []
        pauses = Pauses()
        for start in range(0, len(self._lines), SLICE):
            lines = self._lines[start : start + SLICE]
            if not self._decide_together(draft, lines):
                for number, command in lines:
                    self._decide_one(draft, number, command, pauses.pause)
                    pauses.pause()
            pauses.pause()
        if self._atomic:
            check_rules(state, draft.changes, self._actor, pauses.pause)
        return draft.changes

    def _decide_together(self, draft: Draft, lines: list[Line]) -> bool:
        """Decide lines that set different keys, as most do, in a third of the time; False where
        these are others, or one may have to be rejected.
        """
        sets = [
            command
            for _, command in lines
            if isinstance(command, EncodedSet) and command.expect == "any"
        ]
        keys = {command.key for command in sets}
        if len(keys) < len(lines):
            return False
        if not self._atomic and concerns_rules(draft, keys):
            allowed = (is_plainly_allowed(draft, command.key, command.raw) for command in sets)
            if not all(allowed):
                return False
        try:
            self._add(draft, decide_sets(draft, sets))
        except TooLarge:
            return False
        return True

    def _decide_one(
        self,
        draft: Draft,
        number: int,
        command: Command | EncodedSet,
        pause: Callable[[], None],
    ) -> None:
        """Decide one line; an error that it has rejects it, or all of an atomic import."""
        try:
            made = decide(draft, command)
            if not self._atomic:
                check_line(draft, made, self._actor, pause)
            self._add(draft, made)
        except SignalboxError as error:
            if self._atomic:
                raise with_line_number(error, number) from error
            self.rejections.append(Rejection(number, error))

    def _add(self, draft: Draft, made: Changes) -> None:
        """Add changes to the draft. Raises `TooLarge` where the batch cannot have them as well."""
        texts = [*made, *filter(None, made.values())]
        size, changes = self._size + values.size("".join(texts)), len(draft.changes) + len(made)
        if size > self._limits.content or changes > MAX_CHANGES:
            raise self._limits.refusal(size, changes, self._atomic)
        draft.add(made)
        self._size = size


def check_line(
    state: State, changes: Changes, actor: str, pause: Callable[[], None] | None = None
) -> None:
    """Check the changes of one line of a plain import by the rules. Raises as `check_rules`."""
    try:
        check_rules(state, changes, actor, pause)
    except Interlocked as error:
        if not error.because:
            raise
        hint = "Each line is judged alone; atomic=1 judges all of them together."
        raise error.reworded(f"{error.message} {hint}") from error


class BatchLimits(NamedTuple):
    """Lines and bytes of a batch; bytes of a transaction (`most`), and of that its `content`."""

    lines: int
    bytes: int
    most: int
    content: int

    def refusal(self, size: int, changes: int, atomic: bool) -> TooLarge:
        """The refusal of a batch of so many bytes, or else of so many changes."""
        return too_many_bytes(size, self, atomic) if size > self.content else too_many(changes)


def batch_limits(engine_takes: int | None) -> BatchLimits:
    """The limits for an engine with a maximal message of so many bytes (None: unlimited)."""
    if engine_takes is None:
        return BatchLimits(BATCH_LINES, BATCH_BYTES, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_BYTES)
    lines, most = min(BATCH_LINES, engine_takes // 200), min(MAX_TRANSACTION_BYTES, engine_takes)
    size = min(BATCH_BYTES, engine_takes * 3 // 4)
    return BatchLimits(lines, size, most, most - lines * CHANGE_BYTES)


def too_many_bytes(size: int, limits: BatchLimits, atomic: bool) -> TooLarge:
    """The refusal of so many bytes or more in one transaction."""
    hint = "; import without atomic=1" if atomic else ""
    return TooLarge(
        f"That would be {size} bytes or more; one transaction holds {limits.most}, of them "
        f"{limits.content} of keys and values{hint}.",
        limit=limits.most,
    )


def with_line_number(error: SignalboxError, number: int) -> SignalboxError:
    """The error of a line of an import, with the number of the line."""
    return error.reworded(f"Line {number}: {error.message}")
