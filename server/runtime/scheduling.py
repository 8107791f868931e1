"""Cooperative scheduling: greenlets share one thread, so long work yields to the others."""

from collections import deque
from time import perf_counter
from typing import Any, Final

import gevent
from gevent.event import Event

IDLE_SECONDS: Final = 0.005
"""The longest wait for a hub that is never idle."""
HIGHEST_PRIORITY: Final = 2
ROUND_SECONDS: Final = 0.002


def yield_to_hub() -> None:
    """Let other greenlets and the sockets run once.

    `sleep(0)` in a loop would starve the sockets, and the shortest other sleep is a millisecond.
    """
    gevent.idle(priority=HIGHEST_PRIORITY)


class Pauses:
    """Pauses of long work, in which others run: call `pause` after each of its short steps."""

    def __init__(self, seconds: float = ROUND_SECONDS) -> None:
        """The work goes on for `seconds` between two pauses."""
        self._seconds = seconds
        self._until = perf_counter() + seconds

    def pause(self) -> None:
        """Let others run, if the last pause is long enough ago."""
        if perf_counter() >= self._until:
            yield_to_hub()
            self._until = perf_counter() + self._seconds


def wait_until_idle() -> None:
    """Let all others run first: return once the hub is idle, after `IDLE_SECONDS` at the latest.

    Greenlets that call `yield_to_hub`, such as a writer that is deciding, go on before: the caller
    runs while they wait for the disk.
    """
    gevent.with_timeout(IDLE_SECONDS, gevent.idle, timeout_value=None)


class FairLock:
    """A lock that whoever has waited for longest gets next.

    gevent's semaphores may be taken again at once by whoever gives them back.
    """

    def __init__(self) -> None:
        """A lock that nobody holds."""
        self._is_held = False
        self._waiting: deque[Event] = deque()

    def __enter__(self) -> None:
        if not self._is_held:
            self._is_held = True
            return
        turn = Event()
        self._waiting.append(turn)
        try:
            turn.wait()  # the lock stays held, and is handed over
        except BaseException:  # the caller was killed while it waited
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._release()
            raise

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        """Hand the lock over."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._is_held = False


class Turns:
    """Turns for what many may ask of the hub at once, such as the pages of exports.

    In one round of the hub's loop they take `seconds` together, or one step that is longer;
    then everything else that is ready runs. Who asks first has the first turn.
    """

    def __init__(self, seconds: float = ROUND_SECONDS) -> None:
        """Turns that take `seconds` together in a round of this thread's hub."""
        self._seconds = seconds
        self._hub = gevent.get_hub()
        self._waiting: deque[Any] = deque()
        self._rounds = self._hub.loop.idle(priority=HIGHEST_PRIORITY)
        self._is_in_round = False
        self._until = 0.0

    def wait(self) -> None:
        """Return when it is the caller's turn, at once where nobody else has used it up."""
        if not self._is_in_round:
            self._is_in_round, self._until = True, perf_counter() + self._seconds
            self._rounds.start(self._next_round)
        if not self._waiting and perf_counter() < self._until:
            return
        caller = gevent.getcurrent()
        self._waiting.append(caller)
        try:
            self._hub.switch()
        except BaseException:  # the caller was killed while it waited
            if caller in self._waiting:
                self._waiting.remove(caller)
            raise

    def _next_round(self) -> None:
        """Run those whose turn it is; called in each round of the hub until nobody waits."""
        if not self._waiting:
            self._rounds.stop()
            self._is_in_round = False
            return
        self._until = perf_counter() + self._seconds
        while self._waiting:
            self._waiting.popleft().switch()
            if perf_counter() >= self._until:
                return
