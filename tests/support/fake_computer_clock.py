"""A computer whose clock a test sets, for the clock that the server believes."""

from signalbox.server.runtime.trusted_clock import Clock, UnconfirmedLeap

NOW = 1_796_000_000.0
HOUR = 3600.0


class FakeComputer:
    """Its clock, which can be set, and the time that passes."""

    def __init__(self, says: float = NOW) -> None:
        self.says, self.passed = says, 50.0

    def wait(self, seconds: float) -> None:
        self.says += seconds
        self.passed += seconds

    def leap(self, seconds: float) -> None:
        self.says += seconds

    def clock(
        self,
        last_run: float = NOW,
        unconfirmed_leap: UnconfirmedLeap | None = None,
        highest: float = 0.0,
    ) -> Clock:
        return Clock(last_run, lambda: self.says, lambda: self.passed, unconfirmed_leap, highest)
