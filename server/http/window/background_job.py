"""Work of a region that may take long: done aside, so that the rest of the picture goes on."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Final, TypeVar

import gevent

from signalbox.server.runtime.scheduling import yield_to_hub

Each = TypeVar("Each")

QUICK_SECONDS: Final = 0.1
"""What is done within this time comes with the frame that asked for it."""

TURN_SECONDS: Final = 0.01


def with_pauses(many: Iterable[Each]) -> Iterator[Each]:
    """The same, one after the other; in between others get a turn where it takes long."""
    began = monotonic()
    for each in many:
        yield each
        if monotonic() - began > TURN_SECONDS:
            yield_to_hub()
            began = monotonic()


class BackgroundJob:
    """One piece of work at a time, in a greenlet that waits for a native thread."""

    def __init__(self) -> None:
        self._job: gevent.Greenlet[[], None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    def is_done(self, work: Callable[[], None]) -> bool:
        """Whether the work has ended; it is begun unless one is going on. Raises what it raised."""
        if self._job is None:
            self._job = gevent.spawn(work)
            self._job.join(QUICK_SECONDS)
        if not self._job.ready():
            return False
        job, self._job = self._job, None
        job.get()
        return True
