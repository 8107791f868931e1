"""The one writer: decides what waits, makes it durable with one commit, then acknowledges.

`submit` is called by any number of greenlets; the loop runs in one.
"""

import os
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, Final

import gevent
from gevent.event import Event

from server.commands import Attempt, Timed
from server.decide import Changes, Entry, Layer, decide
from server.engines.base import Engine
from server.errors import Busy, IdReused, Internal, Invalid, SignalboxError
from server.events import Change, Transaction
from server.feed import Feed
from server.outcomes import Outcome
from server.readmodel import ReadModel
from server.turns import breathe, rest

MAX_WAITING: Final = 10_000
MAX_GROUP: Final = 1_000
"""Attempts in one commit."""
MAX_GROUP_CHANGES: Final = 20_000
DIED: Final = 70
SCAN_SLICE: Final = 500
"""Keys visited before other greenlets get a turn."""


class Waiting:
    """An attempt in the queue and the greenlet that waits for its outcome."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._outcome: Outcome | None = None
        self._greenlet: Any = None

    def wait(self) -> Outcome:
        self._greenlet = gevent.getcurrent()
        try:
            while self._outcome is None:
                gevent.get_hub().switch()
        finally:
            self._greenlet = None
        return self._outcome

    def settle(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if self._greenlet is not None:
            gevent.get_hub().loop.run_callback(self._resume)

    def _resume(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()


class _Base:
    """The state before a group, as the read model has it; remembers what it was asked."""

    def __init__(self, readmodel: ReadModel) -> None:
        self._readmodel = readmodel
        self.revision = readmodel.revision
        self.known: dict[str, Entry | None] = {}

    def get(self, key: str) -> Entry | None:
        if key not in self.known:
            self.known[key] = self._readmodel.entry(key)
        return self.known[key]

    def look_up(self, keys: Collection[str]) -> None:
        """Ask for many keys with few questions."""
        ordered = sorted({key for key in keys if key not in self.known})
        for start in range(0, len(ordered), SCAN_SLICE):
            asked = ordered[start : start + SCAN_SLICE]
            self.known |= dict.fromkeys(asked)
            self.known |= self._readmodel.entries_of(asked)
            breathe()

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        for count, (key, entry) in enumerate(self._readmodel.entries(prefix), start=1):
            self.known[key] = entry
            yield key, entry
            if count % SCAN_SLICE == 0:
                breathe()


class Group:
    """Attempts decided one after another, each against the effects of those before it."""

    def __init__(self, readmodel: ReadModel, at: int) -> None:
        self._readmodel = readmodel
        self._base = _Base(readmodel)
        self._layer = Layer(self._base)
        self._at = at
        self._ids: dict[str, Outcome] = {}
        self.expected = self._base.revision
        self.transactions: list[Transaction] = []
        self.outcomes: list[Outcome] = []
        self.changes = 0

    def add(self, attempt: Attempt) -> None:
        """Decide `attempt`; its rejection leaves nothing behind."""
        kept = attempt.without_payload()
        try:
            first = self._first_answer(attempt)
            changes = 0 if first else self._decide(attempt)
        except Exception as error:  # noqa: BLE001 - one attempt never stops the writer
            outcome = Outcome(kept, self._at, self._layer.revision, error=_as_refusal(error))
        else:
            outcome = Outcome(kept, self._at, self._layer.revision, changes, duplicate=first)
        self.outcomes.append(outcome)
        if not (attempt.dry_run or outcome.duplicate or isinstance(outcome.error, IdReused)):
            self._ids[attempt.id] = outcome

    def comings_and_goings(self) -> tuple[list[str], list[str]]:
        """The keys that exist only after the group, and only before it."""
        was = self._base.known
        final = self._layer.changes.items()
        added = [key for key, raw in final if raw is not None and was[key] is None]
        removed = [key for key, raw in final if raw is None and was[key] is not None]
        return added, removed

    def failed(self, error: SignalboxError) -> list[Outcome]:
        """The outcomes where nothing of the group could be written."""
        return [
            outcome
            if outcome.duplicate or outcome.attempt.dry_run
            else outcome._replace(error=error, changes=0)
            for outcome in self.outcomes
        ]

    def _first_answer(self, attempt: Attempt) -> dict[str, Any] | None:
        """What the same command was answered before. Raises `IdReused` for another command."""
        if attempt.dry_run or not attempt.chosen_id:
            return None
        found = self._earlier(attempt.id) or self._readmodel.first_outcome(attempt.id)
        if found is None:
            return None
        fingerprint, answer = found
        if fingerprint != attempt.fingerprint:
            raise IdReused(f"The id {attempt.id} was used before, for another command.")
        return answer

    def _earlier(self, identity: str) -> tuple[bytes, dict[str, Any]] | None:
        """The outcome of the same id within this group, if it is one to be remembered."""
        earlier = self._ids.get(identity)
        if earlier is None or (earlier.error and not earlier.error.remembered):
            return None
        answer = earlier.answer() | {"http_status": earlier.http_status}
        return earlier.attempt.fingerprint, answer

    def _decide(self, attempt: Attempt) -> int:
        """How many changes the attempt makes; they are part of the group from now on."""
        of: tuple[int, ...] = ()
        if attempt.decide is not None:
            self._base.look_up(attempt.touches)
            changes = attempt.decide(self._layer)
        elif isinstance(attempt.command, Timed):
            changes, of = self._readmodel.reversal(attempt.command, attempt.actor)
            self._base.look_up(changes)
        elif attempt.command is not None:
            changes = decide(self._layer, attempt.command)
        else:
            raise attempt.refusal or Invalid("There is nothing to do.")
        if changes and not attempt.dry_run:
            self._accept(attempt, changes, of)
        return len(changes)

    def _accept(self, attempt: Attempt, changes: Changes, of: tuple[int, ...]) -> None:
        revision = self._layer.revision + 1
        self.transactions.append(
            Transaction(
                revision,
                attempt.id,
                attempt.actor,
                self._at,
                attempt.type,
                attempt.fingerprint,
                self._facts(changes),
                of=of,
            )
        )
        self._layer.put(changes, revision)
        self._layer.revision = revision
        self.changes += len(changes)

    def _facts(self, changes: Changes) -> list[Change]:
        """In key order. Whatever is changed has been asked for, so what it was is known."""
        was, known = self._layer.changes, self._base.known
        return [
            _change(
                (key, raw, raw is not None and (was[key] if key in was else known[key]) is None)
            )
            for key, raw in sorted(changes.items())
        ]


class Writer:
    """`clock` gives seconds since 1970; only told times depend on it."""

    def __init__(
        self,
        engine: Engine,
        readmodel: ReadModel,
        feed: Feed,
        clock: Callable[[], float],
        last_at: int = 0,
    ) -> None:
        self._engine = engine
        self._readmodel = readmodel
        self._feed = feed
        self._clock = clock
        self._last_at = last_at
        self._queue: deque[Waiting] = deque()
        self._work = Event()
        self._last_size = 0
        self._is_closing = False
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.link_exception(_end_process)

    @property
    def revision(self) -> int:
        """The last transaction's."""
        return self._readmodel.revision

    def submit(self, attempt: Attempt) -> Outcome:
        """Wait for the attempt's one outcome. Never raises for a refusal: it is in the outcome."""
        return self.enqueue(attempt).wait()

    def enqueue(self, attempt: Attempt) -> Waiting:
        """Put the attempt in line; `wait` on the result gives its outcome."""
        waiting = Waiting(attempt)
        if len(self._queue) >= MAX_WAITING:
            self.refuse(
                waiting, Busy(f"{MAX_WAITING} commands are waiting already.", limit=MAX_WAITING)
            )
        else:
            self._queue.append(waiting)
            self._work.set()
        return waiting

    def fingerprint(self, identity: str) -> bytes | None:
        """What the command with this id said, where its outcome is remembered."""
        found = self._readmodel.first_outcome(identity)
        return found[0] if found else None

    def refuse(self, waiting: Waiting, error: SignalboxError) -> None:
        """Settle an attempt that is never decided; streams are told all the same."""
        outcome = Outcome(waiting.attempt, self._now(), self._readmodel.revision, error=error)
        self._feed.publish((), (outcome,))
        waiting.settle(outcome)

    def close(self) -> None:
        """Write what waits, then end."""
        self._is_closing = True
        self._work.set()
        self._greenlet.join()

    def _run(self) -> None:
        while self._queue or not self._is_closing:
            self._work.wait()
            if self._last_size > 1:
                # Those who were just answered send again, and twice as many share a commit.
                rest()
            self._write()
            if not self._queue and not self._is_closing:
                self._work.clear()

    def _write(self) -> None:
        group = Group(self._readmodel, self._now())
        waiting: list[Waiting] = []
        while self._queue and len(waiting) < MAX_GROUP and group.changes < MAX_GROUP_CHANGES:
            if group.transactions and isinstance(self._queue[0].attempt.command, Timed):
                break  # it asks the log, which does not have this group yet
            waiting.append(self._queue[0])
            group.add(waiting[-1].attempt)
            self._queue.popleft()
        self._last_size = len(waiting)
        self._finish(group, waiting)

    def _finish(self, group: Group, waiting: list[Waiting]) -> None:
        """Make the group durable and tell everybody what became of it."""
        transactions, outcomes = group.transactions, group.outcomes
        try:
            self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever happened, every attempt gets an outcome
            self._readmodel.abandoned()
            if len(waiting) > 1 and not isinstance(error, SignalboxError):
                self._finish_apart(waiting)
                return
            transactions, outcomes = [], group.failed(_as_refusal(error))
        self._feed.publish(transactions, outcomes)
        for one, outcome in zip(waiting, outcomes, strict=True):
            one.settle(outcome)

    def _finish_apart(self, waiting: list[Waiting]) -> None:
        """Each alone, so that the one which cannot be written does not spoil it for the others."""
        for one in waiting:
            group = Group(self._readmodel, self._now())
            group.add(one.attempt)
            self._finish(group, [one])

    def _commit(self, group: Group) -> None:
        kept = [outcome for outcome in group.outcomes if outcome.is_kept]
        if not group.transactions and not kept:
            return
        added, removed = group.comings_and_goings()
        self._engine.append(
            group.transactions,
            group.expected,
            lambda: self._readmodel.apply(group.transactions, kept, added, removed),
        )
        self._readmodel.committed()

    def _now(self) -> int:
        self._last_at = max(self._last_at, int(self._clock() * 1000))
        return self._last_at


_change: Final = partial(tuple.__new__, Change)
"""As `Change(*three)`, without running Python for each of an import's lines."""


def _end_process(_: Any) -> None:
    """A writer that has ended would leave every sender waiting: whoever needs us starts us anew."""
    os._exit(DIED)


def _as_refusal(error: Exception) -> SignalboxError:
    if isinstance(error, SignalboxError):
        return error
    traceback.print_exception(error)
    return Internal(
        f"The command could not be written: {type(error).__name__}. Nothing was changed."
    )
