"""Compaction: removes what retention allows, in the background and on request."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
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
from signalbox.server.runtime.scheduling import yield_to_hub
from signalbox.server.runtime.trusted_clock import Clock
from signalbox.server.store import clock_records
from signalbox.server.store.database import CHECKPOINT_PAGES, checkpoint_every
from signalbox.server.write import removal, retention_plans
from signalbox.server.write.removal import RemovableCount, Removed, Step, Sweep
from signalbox.server.write.retention_plans import Plan
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0
STEP_SECONDS: Final = 0.01
"""How long one step may work within the writer; its commit takes what the disk takes."""
PROGRESS_SECONDS: Final = 1.0
"""Between two times that the progress of a pass is stored: what was examined since is examined
again after a crash."""
COUNTED_AT_ONCE: Final = 5_000
"""Changes that a dry run examines in one read transaction."""
MIN_STEP: Final = 20
MAX_STEP: Final = 1_000
"""Changes that one step examines."""
CHECKPOINT_PAGES_MEANWHILE: Final = 100
"""Pages of the write-ahead log between checkpoints during a pass: so each step copies its own pages
to the file, where otherwise one commit in many would have to copy them all."""

Report = dict[str, Any]


class Compactor:
    """Runs one pass at a time, in steps between the writer's commits.

    `checkpoint` empties the write-ahead log, from any thread. `clock_status` is called once a
    minute, and its result is part of each report.
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
        """Begin to compact the log in the background, once a minute."""
        self._readmodel = readmodel
        self._writer = writer
        self._clock = clock
        self._clock_status = clock_status
        self._use_noted_at = clock.steady()
        self._checkpoint = checkpoint
        self._pass_lock = BoundedSemaphore(1)
        self._settings_changed = Event()
        self._step_size = MIN_STEP
        self._removed: Counter[str] = Counter()
        """Changes by prefix, since the server started."""
        self._removed_transactions = 0
        self._waiting_callers = 0
        self._last_step_seconds = 0.0
        self._revision_at_pause = 0
        feed.add_listener(self._watch_settings)
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        """Stop compacting in the background."""
        self._greenlet.kill()

    def compact(self, dry_run: bool = False, confirm: bool = False) -> Report:
        """Remove what is older than the settings allow, or report what would be removed.

        With `confirm` the computer's clock is trusted from now on.
        `{"dry_run", "changes", "transactions", "oldest_revision", "prefixes", "clock"}`; each
        prefix with `max_age`, the `revision` and time of its horizon and the number of `changes`.
        Raises `Unavailable` if the store cannot be written.
        """
        if dry_run:
            return self._dry_run(self._clock.wall() if confirm else self._clock.for_retention())
        if confirm:
            self._confirm_clock()
        changes, transactions = self._removed.copy(), self._removed_transactions
        self._waiting_callers += 1
        try:
            with self._pass_lock:
                planned = self._run_pass()
        finally:
            self._waiting_callers -= 1
        # also what was removed in a pass that was under way
        removed = Removed(self._removed - changes, self._removed_transactions - transactions)
        return self._report(planned, removed, dry_run=False)

    def plans(self) -> list[Plan]:
        """The settings in force, each with its current horizon."""
        return self._readmodel.in_thread(retention_plans.plans)

    def _dry_run(self, now: float) -> Report:
        """Count what compaction would remove now."""
        planned = self._plans_at(now)
        count = RemovableCount(planned)
        while self._readmodel.in_thread(partial(count.examine, size=COUNTED_AT_ONCE)):
            pass
        return self._report(planned, count.result(), dry_run=True)

    def _confirm_clock(self) -> None:
        """Trust this computer's clock, which retention goes by, on a person's word."""
        self._clock.confirm()
        now = int(self._clock() * 1000)
        self._writer.run_between_commits(
            lambda connection: clock_records.confirm_clock(connection, now)
        )

    def _plans_at(self, now: float) -> list[Plan]:
        """How far each prefix is to be compacted at `now`, up to revisions that are being read."""
        moment, held = int(now * 1000), self._readmodel.held.lowest()
        return self._readmodel.in_thread(
            lambda connection: retention_plans.plans(connection, moment, held)
        )

    def _note_use(self) -> None:
        """Store that the server runs now, where that is due."""
        now, steady = int(self._clock() * 1000), self._clock.steady()
        leap = self._clock.unconfirmed_leap()
        with self._readmodel.snapshot() as connection:
            is_due = clock_records.is_record_due(connection, now, leap)
        if is_due:
            passed = int((steady - self._use_noted_at) * 1000)
            self._writer.run_between_commits(
                lambda connection: clock_records.record_use(connection, now, passed, leap)
            )
            self._use_noted_at = steady

    def _run_pass(self) -> list[Plan]:
        """Remove what the plans allow; the plans, which are carried out then."""
        self._clock_status()
        self._note_use()
        planned = self._plans_at(self._clock.for_retention())
        if planned != self.plans():
            self._writer.run_between_commits(
                lambda connection: retention_plans.advance_horizons(connection, planned)
            )
        sweep = self._readmodel.in_thread(Sweep)
        if not sweep.is_done:
            gevent.get_hub().threadpool.apply(self._checkpoint)
            self._writer.run_between_commits(partial(checkpoint_every, CHECKPOINT_PAGES_MEANWHILE))
            try:
                self._sweep(sweep)
                self._writer.run_between_commits(removal.remove_unused_records)
            finally:
                self._writer.run_between_commits(partial(checkpoint_every, CHECKPOINT_PAGES))
        return planned

    def _sweep(self, sweep: Sweep) -> None:
        """Remove all that may be removed, step by step with pauses."""
        stored_at = monotonic()
        while not sweep.is_done:
            self._step(sweep)
            if sweep.is_done or monotonic() > stored_at + PROGRESS_SECONDS:
                self._writer.run_between_commits(sweep.store_progress)
                stored_at = monotonic()
            self._pause()

    def _pause(self) -> None:
        """Wait as long as the last step took, but not where a caller waits and no one writes."""
        before, self._revision_at_pause = self._revision_at_pause, self._readmodel.revision
        if self._waiting_callers and self._revision_at_pause == before:
            yield_to_hub()
        else:
            gevent.sleep(self._last_step_seconds)

    def _report(self, planned: Sequence[Plan], removed: Removed, dry_run: bool) -> Report:
        """The report of a compaction: what was removed, and how far each prefix is compacted."""
        prefixes = [
            plan_fields(plan) | {"changes": removed.changes[plan.prefix]} for plan in planned
        ]
        return {
            "dry_run": dry_run,
            "changes": removed.changes.total(),
            "transactions": removed.transactions,
            "oldest_revision": oldest_revision(planned, self._readmodel.revision),
            "prefixes": prefixes,
            "clock": self._clock_status(),
        }

    def _step(self, sweep: Sweep) -> None:
        """Remove a few old changes between two commits; how many depends on the last step."""
        steps: list[tuple[Step, float]] = []

        def work(connection: apsw.Connection) -> None:
            started = monotonic()
            steps.append((sweep.remove(connection, self._step_size), monotonic() - started))

        started = monotonic()
        self._writer.run_between_commits(work)
        self._last_step_seconds = monotonic() - started
        step, seconds = steps[0]
        sweep.advance(step)
        self._removed.update(step.removed.changes)
        self._removed_transactions += step.removed.transactions
        if step.examined == self._step_size:
            factor = min(2.0, STEP_SECONDS / max(seconds, 1e-6))
            self._step_size = max(MIN_STEP, min(MAX_STEP, int(self._step_size * factor)))

    def _watch_settings(self, transactions: Sequence[Transaction], _: Sequence[Outcome]) -> None:
        """Begin a pass where a commit has changed a retention setting."""
        if any(transaction.changes_below(RETENTION) for transaction in transactions):
            self._settings_changed.set()

    def _run(self) -> None:
        """Run a pass now and then, and whenever a retention setting has changed."""
        while True:
            try:
                with self._pass_lock:
                    self._run_pass()
            except Exception as error:
                if not isinstance(error, Unavailable):  # the store's problem is reported elsewhere
                    logger.exception("Retention could not remove what is too old.")
            self._settings_changed.wait(INTERVAL_SECONDS)
            self._settings_changed.clear()


def oldest_revision(plans: Sequence[Plan], revision: int) -> int:
    """The first revision from which on everything is kept, of a store at `revision`."""
    return max([min(1, revision), *(plan.revision for plan in plans)])


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
