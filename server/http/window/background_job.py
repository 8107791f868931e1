"""Background jobs of a page stream: slow work of one region does not delay the other regions."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Final, TypeVar

import gevent

from signalbox.server.runtime.scheduling import yield_to_hub

Each = TypeVar("Each")

QUICK_SECONDS: Final = 0.1
"""A job that ends within this time is in the frame that started it."""

SLICE_SECONDS: Final = 0.01
"""For how long an iteration runs before other greenlets do."""


def with_pauses(many: Iterable[Each]) -> Iterator[Each]:
    """Iterate, and let other greenlets run in between where that takes long."""
    began = monotonic()
    for each in many:
        yield each
        if monotonic() - began > SLICE_SECONDS:
            yield_to_hub()
            began = monotonic()


class BackgroundJob:
    """Runs one job at a time, in a greenlet that waits for a native thread."""

    def __init__(self) -> None:
        """No job of a region runs yet."""
        self._job: gevent.Greenlet[[], None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    def run(self, work: Callable[[], None]) -> bool:
        """Start `work` unless a job runs; whether it has ended. Raises what the job raised."""
        if self._job is None:
            self._job = gevent.spawn(work)
            self._job.join(QUICK_SECONDS)
        if not self._job.ready():
            return False
        job, self._job = self._job, None
        job.get()
        return True

    def end(self) -> None:
        """End the job that runs, if any: nobody looks at the region any more."""
        if self._job is not None:
            self._job.kill(block=False)
