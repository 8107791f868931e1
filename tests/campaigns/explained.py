"""Whether a log and the answers to senders are explained by one order of the commands.

As in `linear`, with every kind of command: the model (`model`) does one after another what the log
has, and must come to the same. What was refused, or changed nothing, must be right at some moment
between question and answer.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from sent import Read, Sent
from support.command_model import Model, RefusedError, same

Transaction = Mapping[str, Any]
"""As the stream has it: revision, id, changes."""


class Explained:
    """A store's history so far; `problems` takes what was added to it."""

    def __init__(self) -> None:
        self.model = Model()
        self.at: dict[int, dict[str, Any]] = {}
        """What each revision has changed; None where it has deleted."""

    def problems(
        self, sent: Iterable[Sent], log: Sequence[Transaction], reads: Iterable[Read] = ()
    ) -> list[str]:
        """What cannot be explained: `log` is all behind the last call's, whose senders have ended.

        What was told of commands must be final, but for those that nobody has answered.
        """
        commands = {one.id: one for one in sent}
        found = [*self._of_places(commands, log)]
        if not found:
            found += self._of_changes(commands, log)
        return [*found, *self._of_reads(reads)]

    def _of_places(self, commands: Mapping[str, Sent], log: Sequence[Transaction]) -> Iterator[str]:
        places = {one["id"]: one["revision"] for one in log}
        first = self.model.revision + 1
        if [one["revision"] for one in log] != list(range(first, first + len(log))):
            yield f"the log has a gap behind {self.model.revision}"
        if len(places) < len(log):
            yield "an id is in the log twice"
        yield from (f"{one} is in the log, and nobody sent it" for one in places.keys() - commands)
        for one in commands.values():
            place = places.get(one.id)
            if one.status == "accepted" and one.changed and place != one.revision:
                yield f"{one.id} was told {one.revision} and is at {place}"
            if place and (one.status == "rejected" or not one.changed):
                yield f"{one.id} was told {one.status} {one.code} and is at {place}"

    def _of_changes(
        self, commands: Mapping[str, Sent], log: Sequence[Transaction]
    ) -> Iterator[str]:
        """Replays; between two transactions, checks what the remaining commands would get."""
        left = _Windows(commands, log, self.model.revision)
        left.look(self.model)
        for transaction in log:
            yield from self._apply(commands[transaction["id"]], transaction)
            left.look(self.model)
        yield from (f"{one.id} was told {_outcome(one)}, never true" for one in left.wrong())

    def _apply(self, one: Sent, transaction: Transaction) -> Iterator[str]:
        before = self.model.values()
        try:
            self.model.run(one.command)
        except RefusedError as refusal:
            yield f"{one.id} is in the log, where it is to be refused: {refusal.code}"
        after = self.model.values()
        expected = {key: after.get(key) for key in before.keys() | after.keys()}
        expected = {
            key: value
            for key, value in expected.items()
            if key not in before or key not in after or not same(before[key], value)
        }
        done = {change["key"]: change.get("value") for change in transaction["changes"]}
        deleted = {change["key"] for change in transaction["changes"] if change.get("deleted")}
        if not same(expected, done) or deleted != before.keys() - after.keys():
            yield f"{one.id} has done {done}, not {expected}"
        self.at[transaction["revision"]] = done

    def _of_reads(self, reads: Iterable[Read]) -> Iterator[str]:
        for one in reads:
            changes = self.at.get(one.revision, {})
            if one.key not in changes or not same(changes[one.key], one.value):
                yield f"{one.key} was shown as {one.value} of {one.revision}, which it never was"


class _Windows:
    """Those outcomes that are not in the log, and at which revisions they may have been true."""

    def __init__(self, commands: Mapping[str, Sent], log: Sequence[Transaction], base: int) -> None:
        self._log = {one["id"] for one in log}
        self._open: list[Sent] = []
        self._true: set[str] = set()
        told = sorted(
            (one.answered or inf, one.revision)
            for one in commands.values()
            if one.status == "accepted"
        )
        self._told = [at for at, _ in told]
        self._known = list(accumulate((revision for _, revision in told), max))
        self._sent = list(accumulate((commands[one["id"]].sent for one in log), max))
        self._base = base
        checked = (one for one in commands.values() if self._is_checked(one))
        self._coming = sorted(checked, key=self._first, reverse=True)
        self._all = list(self._coming)

    def look(self, model: Model) -> None:
        """Try those that could get their answers now."""
        while self._coming and self._first(self._coming[-1]) <= model.revision:
            self._open.append(self._coming.pop())
        for one in self._open:
            if _outcome(one) == _answer(model, one):
                self._true.add(one.id)
        self._open = [
            one
            for one in self._open
            if one.id not in self._true and self._last(one) > model.revision
        ]

    def wrong(self) -> list[Sent]:
        return [one for one in self._all if one.id not in self._true]

    def _is_checked(self, one: Sent) -> bool:
        if one.is_open or one.code in ("unavailable", "busy"):
            return False
        return one.status == "rejected" or not one.changed

    def _first(self, one: Sent) -> int:
        """All that was acknowledged before it was sent was there."""
        told = bisect_left(self._told, one.sent)
        return self._known[told - 1] if told else self._base

    def _last(self, one: Sent) -> int:
        """Nothing was there that was sent after it was answered."""
        assert one.answered is not None
        return self._base + bisect_right(self._sent, one.answered)


def _outcome(one: Sent) -> tuple[str, int]:
    return (one.code, one.revision if one.code == "conflict" else 0)


def _answer(model: Model, one: Sent) -> tuple[str, int]:
    answer = model.answer(one.command, dry_run=True)
    if isinstance(answer, RefusedError):
        return answer.code, answer.revision or 0
    return ("", 0) if answer == 0 else ("changed", 0)
