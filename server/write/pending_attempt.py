"""An attempt in the writer's queue, and the greenlet that waits for its outcome."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gevent

from signalbox.server.model.commands import Attempt
from signalbox.server.model.history_decision import Decision
from signalbox.server.model.outcomes import Outcome


class Timeout(NamedTuple):
    """How long senders wait for an outcome, and what they get when that time is over."""

    seconds: float
    """The time that each sender waits at least."""
    outcome: Callable[["PendingAttempt"], Outcome]
    """Called once a sender has waited for long enough: the outcome that it gets instead."""
    seconds_left: Callable[["PendingAttempt"], float] = lambda _: 0.0
    """Called when `seconds` are over: how much longer this sender waits."""


class PendingAttempt:
    """An attempt that waits for its outcome; `wait` in one greenlet, `resolve` in the writer's."""

    def __init__(self, attempt: Attempt, timeout: Timeout | None = None) -> None:
        """Without a `timeout` its sender waits until the outcome is there."""
        self.attempt = attempt
        self.is_in_group = False
        """Whether the writer is deciding it or committing it."""
        self.has_timed_out = False
        """Whether its sender waits no longer."""
        self.must_be_answered = False
        """Whether its sender has the outcome `unknown`, and so gets another one later."""
        self.decision: Decision | None = None
        """What a command of the history was decided to do before its turn."""
        self.decisions_made = 0
        self.is_being_decided = False
        """Whether that is under way, in which case the sender waits for this computer."""
        self._timeout = timeout
        self._outcome: Outcome | None = None
        self._greenlet: Any = None

    def wait(self) -> Outcome:
        """The outcome, once it is there or the timeout is over."""
        self._greenlet = gevent.getcurrent()
        try:
            if self._timeout is None:
                return self._resolved()
            seconds = self._timeout.seconds
            while self._outcome is None and seconds > 0:
                gevent.with_timeout(seconds, self._resolved, timeout_value=None)
                seconds = self._timeout.seconds_left(self)
            self.has_timed_out = self._outcome is None
            return self._outcome or self._timeout.outcome(self)
        finally:
            self._greenlet = None

    def resolve(self, outcome: Outcome) -> None:
        """Give the attempt's sender its outcome; it goes on once the caller yields to the hub."""
        self._outcome = outcome
        if self._greenlet is not None:
            gevent.get_hub().loop.run_callback(self._resume)

    def _resolved(self) -> Outcome:
        """Wait in the sender's greenlet until the attempt has its outcome."""
        while self._outcome is None:
            gevent.get_hub().switch()
        return self._outcome

    def _resume(self) -> None:
        """Let the sender's greenlet go on, if it waits for the outcome."""
        if self._greenlet is not None:
            self._greenlet.switch()
