"""An attempt in the queue and the greenlet that waits for its outcome."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gevent

from signalbox.server.model.commands import Attempt
from signalbox.server.model.outcomes import Outcome


class Timeout(NamedTuple):
    """For how many seconds senders wait at least, and what they are told then.

    `left` tells for how many more each waits once those are over.
    """

    seconds: float
    answer: Callable[["PendingAttempt"], Outcome]
    left: Callable[["PendingAttempt"], float] = lambda _: 0.0


class PendingAttempt:
    """`is_taken` while the writer is at it; `gave_up` once nobody waits any more.

    `is_owed` where whoever gave up was told that the outcome comes later.
    """

    def __init__(self, attempt: Attempt, timeout: Timeout | None = None) -> None:
        self.attempt = attempt
        self.is_taken = self.gave_up = self.is_owed = False
        self._timeout = timeout
        self._outcome: Outcome | None = None
        self._greenlet: Any = None

    def wait(self) -> Outcome:
        self._greenlet = gevent.getcurrent()
        try:
            if self._timeout is None:
                return self._settled()
            seconds = self._timeout.seconds
            while self._outcome is None and seconds > 0:
                gevent.with_timeout(seconds, self._settled, timeout_value=None)
                seconds = self._timeout.left(self)
            self.gave_up = self._outcome is None
            return self._outcome or self._timeout.answer(self)
        finally:
            self._greenlet = None

    def resolve(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if self._greenlet is not None:
            gevent.get_hub().loop.run_callback(self._resume)

    def _settled(self) -> Outcome:
        while self._outcome is None:
            gevent.get_hub().switch()
        return self._outcome

    def _resume(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()
