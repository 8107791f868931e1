"""Whether a recorded history of compare-and-set is explained by one order that respects time."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple


class Observed(NamedTuple):
    """One request as its sender saw it; times in seconds of one clock.

    `expected` is the key's revision that was asked for, None for a plain set. `status` and `code`
    are the answer's; `revision` is the transaction's, or that which a conflict named.
    """

    id: str
    key: str
    expected: int | None
    sent: float
    answered: float
    status: str
    code: str = ""
    revision: int = 0


class LoggedWrite(NamedTuple):
    """One transaction of the log; its revision is its place, from 1 on."""

    id: str
    key: str


class History:
    """The observed requests, and the final log, which decides those with an unknown outcome."""

    def __init__(self, told: Iterable[Observed], log: Sequence[LoggedWrite]) -> None:
        self.told = {one.id: one for one in told}
        self.log = log
        self.places = {one.id: place for place, one in enumerate(log, start=1)}
        self._last: dict[str, list[int]] = {}
        for place, one in enumerate(log, start=1):
            self._last.setdefault(one.key, [0]).append(place)

    def problems(self) -> Iterator[str]:
        """What cannot be explained; nothing where all can."""
        if len(self.places) < len(self.log):
            yield "an id is in the log twice"
        for one in self.told.values():
            yield from self._of_answer(one)
            if one.id in self.places:
                yield from self._of_expectation(one)
        yield from self._of_time()

    def _of_answer(self, one: Observed) -> Iterator[str]:
        place = self.places.get(one.id)
        if one.status == "accepted" and place != one.revision:
            yield f"{one.id} was told {one.revision} and is at {place}"
        if one.status == "rejected" and place is not None:
            yield f"{one.id} was rejected and is in the log"
        if one.code == "conflict":
            yield from self._of_conflict(one)

    def _of_expectation(self, one: Observed) -> Iterator[str]:
        before = max(place for place in self._places_of(one.key) if place < self.places[one.id])
        if one.expected is not None and one.expected != before:
            yield f"{one.id} expected {one.expected} and follows {before}"

    def _of_conflict(self, one: Observed) -> Iterator[str]:
        """The named revision was the key's at some moment between question and answer."""
        places = self._places_of(one.key)
        if one.revision not in places or one.revision == one.expected:
            yield f"{one.id} was told of a revision {one.revision} that is no reason"
            return
        if one.revision and self._sent(one.revision) > one.answered:
            yield f"{one.id} was told of {one.revision} before that was sent"
        later = [place for place in places if place > one.revision]
        if later and self._answered(later[0]) < one.sent:
            yield f"{one.id} was told of {one.revision}, which was over before it was sent"

    def _of_time(self) -> Iterator[str]:
        """Nobody comes before one who had been answered when he was sent."""
        first_answer, first = inf, 0
        for place in range(len(self.log), 0, -1):
            if self._sent(place) > first_answer:
                yield f"{place} was sent after {first} had been answered"
            if self._answered(place) < first_answer:
                first_answer, first = self._answered(place), place

    def _places_of(self, key: str) -> list[int]:
        return self._last.get(key, [0])

    def _sent(self, place: int) -> float:
        one = self.told.get(self.log[place - 1].id)
        return one.sent if one else -inf

    def _answered(self, place: int) -> float:
        """When it was certain at the latest; never, where its sender got no answer."""
        one = self.told.get(self.log[place - 1].id)
        return one.answered if one and one.status == "accepted" else inf
