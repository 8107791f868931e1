"""The feed of changes: wakes streams and windows, calls listeners, keeps recent outcomes."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from gevent.event import Event

from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome

MAX_RECENT: Final = 100
"""Outcomes that are kept in memory for each actor."""
MAX_ACTORS: Final = 256
RATE_SECONDS: Final = 5

Listener = Callable[[Sequence[Transaction], Sequence[Outcome]], None]


class Subscription:
    """Wakes the one greenlet that waits; all that happens in between is one wake-up."""

    def __init__(self, feed: "Feed") -> None:
        """A subscription to `feed`, for one stream or window."""
        self._feed = feed
        self._event = Event()
        self.closed = False

    def wait(self, timeout: float) -> bool:
        """Wait for changes; False where none came within `timeout` seconds."""
        happened = bool(self._event.wait(timeout))
        self._event.clear()
        return happened

    def wake(self) -> None:
        """Wake the stream or window that waits for changes."""
        self._event.set()

    def close(self) -> None:
        """Unsubscribe, and wake the greenlet that waits: it sees `closed`."""
        self.closed = True
        self._feed.unsubscribe(self)
        self._event.set()


class Feed:
    """Distributes what the writer committed, and every outcome, in commit order.

    `steady` returns seconds of a steady clock, for the rate.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        """A feed without subscriptions; `steady` is a clock in seconds that is never set."""
        self._steady = steady
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Listener] = []
        self._recent: OrderedDict[str, deque[Outcome]] = OrderedDict()
        self._changes_by_second: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 1)
        self.changes = 0
        """Changes committed since the server started."""

    def publish(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        """Called by the writer once a commit is on disk, and for refusals that never reach it."""
        for outcome in outcomes:
            if not outcome.attempt.dry_run:
                self._keep_recent(outcome)
        if transactions:
            self._count(sum(len(transaction.changes) for transaction in transactions))
        for listener in self._listeners:
            listener(transactions, outcomes)
        self.wake()

    def remember_unknown(self, outcome: Outcome) -> None:
        """Keep the outcome `unknown` that a sender got; the final outcome comes later."""
        self._keep_recent(outcome)
        self.wake()

    def wake(self) -> None:
        """Wake all subscribers: something that they show has changed."""
        for subscription in self._subscriptions:
            subscription.wake()

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called for each commit that is published; it must not wait."""
        self._listeners.append(listener)

    def subscribe(self) -> Subscription:
        """A subscription that is woken at each change from now on."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Wake this subscription no longer."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription: nothing more will happen."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def recent(self, actor: str) -> list[dict[str, Any]]:
        """The actor's last outcomes, newest last; also those that are never stored."""
        return [outcome.record() for outcome in self._recent.get(actor, ())]

    def rate(self) -> float:
        """Published changes per second over the last few whole seconds."""
        now = int(self._steady())
        recent = range(now - RATE_SECONDS, now)
        changes = (number for second, number in self._changes_by_second if second in recent)
        return sum(changes) / RATE_SECONDS

    def _keep_recent(self, outcome: Outcome) -> None:
        """Keep an outcome for windows of its actor, in place of the oldest one."""
        actor = outcome.attempt.actor
        if (outcomes := self._recent.get(actor)) is None:
            outcomes = self._recent[actor] = deque(maxlen=MAX_RECENT)
        outcomes.append(outcome._replace(effects=None) if outcome.effects else outcome)
        self._recent.move_to_end(actor)
        if len(self._recent) > MAX_ACTORS:
            self._recent.popitem(last=False)

    def _count(self, changes: int) -> None:
        """Count changes by the second, for the rate that `status` reports."""
        self.changes += changes
        second = int(self._steady())
        if self._changes_by_second and self._changes_by_second[-1][0] == second:
            self._changes_by_second[-1] = (second, self._changes_by_second[-1][1] + changes)
        else:
            self._changes_by_second.append((second, changes))
