"""Runs the compaction that retention asks for: in the background, and when somebody asks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

import apsw
import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from signalbox.server.feed import Feed
from signalbox.server.model.app_settings import RETENTION
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.times import iso
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.clock import Clock
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.store import clock_records
from signalbox.server.store.database import CHECKPOINT_PAGES, checkpoint_every
from signalbox.server.write import retention
from signalbox.server.write.retention import Plan, Removed, Step
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
STEP_SECONDS: Final = 0.01
"""For so long one step may hold the writer, its commit included."""
SMALLEST: Final = 20
LARGEST: Final = 1_000
STEP_PAGES: Final = 100
"""Of write-ahead log between checkpoints while steps are made: each pays for itself, in its time,
where otherwise one commit in many would have to bring all their pages to the file."""

Report = dict[str, Any]


class Compactor:
    """One pass at a time, in steps between the writer's commits.

    `checkpoint` empties the write-ahead log, from any thread. `clock_status` is told with what is
    done, and called once a minute.
    """

    def __init__(
        self,
        readmodel: ReadModel,
        feed: Feed,
        writer: Writer,
        clock: Clock,
        clock_status: Callable[[], dict[str, Any]],
        checkpoint: Callable[[], None],
    ) -> None:
        self._readmodel = readmodel
        self._writer = writer
        self._clock = clock
        self._clock_status = clock_status
        self._noted = clock.steady()
        self._checkpoint = checkpoint
        self._turn = BoundedSemaphore(1)
        self._changed = Event()
        self._size = SMALLEST
        self._removed: dict[str, Removed] = {}
        """Since the server started."""
        self._awaited = 0
        self._seconds = 0.0
        self._revision = 0
        feed.add_listener(self._notice)
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()

    def compact(self, dry_run: bool = False, confirm: bool = False) -> Report:
        """Remove what is older than the settings say, or tell what would go.

        With `confirm` the computer's clock is right from now on, whatever it says.
        `{"dry_run", "changes", "transactions", "oldest_revision", "prefixes", "clock"}`; each
        prefix with `max_age`, the `revision` and time of its horizon and the number of `changes`.
        Raises `Unavailable` where the store cannot be written.
        """
        if dry_run:
            return self._rehearse(self._clock.wall() if confirm else self._clock.for_retention())
        if confirm:
            self._confirm()
        before = dict(self._removed)
        self._awaited += 1
        try:
            with self._turn:
                wanted = self._pass()
        finally:
            self._awaited -= 1
        return self._report(wanted, self._since(before), dry_run=False)

    def plans(self) -> list[Plan]:
        """The settings in force, each with its horizon as it is."""
        with self._readmodel.snapshot() as connection:
            return retention.plans(connection)

    def _rehearse(self, now: float) -> Report:
        wanted = self._plans(now)
        goes = self._readmodel.in_thread(
            lambda connection: retention.would_remove(connection, wanted)
        )
        return self._report(wanted, goes, dry_run=True)

    def _confirm(self) -> None:
        self._clock.confirm()
        now = int(self._clock() * 1000)
        self._writer.run_between_commits(
            lambda connection: clock_records.confirm_clock(connection, now)
        )

    def _plans(self, now: float) -> list[Plan]:
        moment, held = int(now * 1000), self._readmodel.held.lowest()
        return self._readmodel.in_thread(
            lambda connection: retention.plans(connection, moment, held)
        )

    def _note(self) -> None:
        """Let the store remember that it is in use now, where it does not know yet."""
        now, steady = int(self._clock() * 1000), self._clock.steady()
        unconfirmed_leap = self._clock.unconfirmed_leap()
        with self._readmodel.snapshot() as connection:
            is_due = clock_records.is_record_due(connection, now, unconfirmed_leap)
        if is_due:
            passed = int((steady - self._noted) * 1000)
            self._writer.run_between_commits(
                lambda connection: clock_records.record_use(
                    connection, now, passed, unconfirmed_leap
                )
            )
            self._noted = steady

    def _pass(self) -> list[Plan]:
        """Up to where the past is compacted afterwards."""
        self._clock_status()
        self._note()
        wanted = self._plans(self._clock.for_retention())
        if wanted != self.plans():
            self._writer.run_between_commits(
                lambda connection: retention.publish(connection, wanted)
            )
        if unfinished := self._readmodel.in_thread(retention.unfinished):
            gevent.get_hub().threadpool.apply(self._checkpoint)
            self._writer.run_between_commits(partial(checkpoint_every, STEP_PAGES))
            for prefix in unfinished:
                self._thin_out(prefix)
            self._writer.run_between_commits(retention.tidy)
            self._writer.run_between_commits(partial(checkpoint_every, CHECKPOINT_PAGES))
        return wanted

    def _thin_out(self, prefix: str) -> None:
        while (step := self._step(prefix)).seen:
            self._removed[prefix] = self._removed.get(prefix, Removed()).plus(step.removed)
            self._rest()

    def _rest(self) -> None:
        """As long as the last step took, unless somebody waits for the end and nobody writes."""
        before, self._revision = self._revision, self._readmodel.revision
        if self._awaited and self._revision == before:
            yield_to_hub()
        else:
            gevent.sleep(self._seconds)

    def _report(
        self, wanted: Sequence[Plan], removed: Mapping[str, Removed], dry_run: bool
    ) -> Report:
        nothing = Removed()
        prefixes = [
            plan_fields(plan) | {"changes": removed.get(plan.prefix, nothing).changes}
            for plan in wanted
        ]
        return {
            "dry_run": dry_run,
            "changes": sum(one.changes for one in removed.values()),
            "transactions": sum(one.transactions for one in removed.values()),
            "oldest_revision": max(plan.revision for plan in wanted),
            "prefixes": prefixes,
            "clock": self._clock_status(),
        }

    def _since(self, before: Mapping[str, Removed]) -> dict[str, Removed]:
        """What went since then, also in a pass that was under way."""
        nothing = Removed()
        return {
            prefix: removed.minus(before.get(prefix, nothing))
            for prefix, removed in self._removed.items()
        }

    def _step(self, prefix: str) -> Step:
        found: list[Step] = []
        started = 0.0

        def work(connection: apsw.Connection) -> None:
            nonlocal started
            started = monotonic()
            found.append(retention.step(connection, prefix, self._size))

        self._writer.run_between_commits(work)
        self._seconds = max(monotonic() - started, 1e-6)
        if found[0].seen == self._size:
            factor = min(2.0, STEP_SECONDS / self._seconds)
            self._size = max(SMALLEST, min(LARGEST, int(self._size * factor)))
        return found[0]

    def _notice(self, transactions: Sequence[Transaction], _: Sequence[Outcome]) -> None:
        if any(change.key.startswith(RETENTION) for one in transactions for change in one.changes):
            self._changed.set()

    def _run(self) -> None:
        while True:
            try:
                with self._turn:
                    self._pass()
            except Exception as error:
                if not isinstance(error, Unavailable):  # of which others tell
                    logger.exception("Retention could not remove what is too old.")
            self._changed.wait(EVERY_SECONDS)
            self._changed.clear()


def plan_fields(plan: Plan) -> dict[str, Any]:
    """The plan as queries give it: `{"prefix", "max_age", "revision", "at"}`.

    `at` is null where nothing has been removed yet.
    """
    at = iso(plan.at) if plan.revision else None
    return {
        "prefix": plan.prefix,
        "max_age": plan.max_age,
        "revision": plan.revision,
        "at": at,
    }
