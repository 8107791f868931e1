"""Tells everybody who waits that something happened: streams, windows, and the app itself."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from gevent.event import Event

from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome

RECENT: Final = 100
"""Outcomes kept in memory for each actor."""
ACTORS: Final = 256
RATE_SECONDS: Final = 5

Listener = Callable[[Sequence[Transaction], Sequence[Outcome]], None]


class Subscription:
    """Wakes its one waiter; what happens meanwhile is one wake-up."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self._event = Event()
        self.closed = False

    def wait(self, timeout: float) -> bool:
        """True if something happened since the last wait, False after `timeout` seconds."""
        happened = bool(self._event.wait(timeout))
        self._event.clear()
        return happened

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        """Forget it and wake its waiter, who sees `closed`."""
        self.closed = True
        self._feed.unsubscribe(self)
        self._event.set()


class Feed:
    """Carries what the writer committed, and every outcome, in commit order.

    `steady` counts seconds steadily, for the rate.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Listener] = []
        self._recent: OrderedDict[str, deque[Outcome]] = OrderedDict()
        self._rates: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 1)
        self.changes = 0
        """Changes committed since the server started."""

    def publish(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        """Called by the writer once a commit is on disk, and for refusals that never reach it."""
        for outcome in outcomes:
            if not outcome.attempt.dry_run:
                self._remember(outcome)
        if transactions:
            self._measure(sum(len(transaction.changes) for transaction in transactions))
        for listener in self._listeners:
            listener(transactions, outcomes)
        self.wake()

    def remember_unknown(self, outcome: Outcome) -> None:
        """Remember what its sender was told, though it is not what has become of the attempt."""
        self._remember(outcome)
        self.wake()

    def wake(self) -> None:
        """Let everybody look again who shows more than the state."""
        for subscription in self._subscriptions:
            subscription.wake()

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` in commit order; it must not wait."""
        self._listeners.append(listener)

    def subscribe(self) -> Subscription:
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription: nothing more will happen."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def recent(self, actor: str) -> list[dict[str, Any]]:
        """The actor's last outcomes, newest last, those that are never remembered included."""
        return [outcome.record() for outcome in self._recent.get(actor, ())]

    def rate(self) -> float:
        """Changes per second over the last few whole seconds."""
        now = int(self._steady())
        return (
            sum(count for second, count in self._rates if now - RATE_SECONDS <= second < now)
            / RATE_SECONDS
        )

    def _remember(self, outcome: Outcome) -> None:
        actor = outcome.attempt.actor
        self._recent.setdefault(actor, deque(maxlen=RECENT)).append(outcome._replace(effects=None))
        self._recent.move_to_end(actor)
        if len(self._recent) > ACTORS:
            self._recent.popitem(last=False)

    def _measure(self, changes: int) -> None:
        self.changes += changes
        second = int(self._steady())
        if self._rates and self._rates[-1][0] == second:
            self._rates[-1] = (second, self._rates[-1][1] + changes)
        else:
            self._rates.append((second, changes))
