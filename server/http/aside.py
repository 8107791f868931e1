"""Work of a region that may take long: done aside, so that the rest of the picture goes on."""

from collections.abc import Callable
from typing import Final

import gevent

QUICK_SECONDS: Final = 0.1
"""What is done within this time comes with the frame that asked for it."""


class Aside:
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
