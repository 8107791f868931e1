"""Native threads for work that blocks, such as writing to the disk, while the hub goes on."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import gevent
from gevent.monkey import get_original

Result = TypeVar("Result")
LARGE: Final = 2_000
"""Items that take the hub longer than handing them to a thread does."""


def run_in_background(job: Callable[[], None]) -> None:
    """Run `job` in a thread of the hub's pool; nobody waits for it."""
    gevent.get_hub().threadpool.spawn(job)


def off_hub(work: Callable[[], Result], size: int) -> Result:
    """Run `work` on so many items; on many in a thread of the pool, so that the hub goes on."""
    return work() if size < LARGE else in_native_thread(work)


def in_native_thread(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread of the pool; only the caller waits."""
    result = gevent.get_hub().threadpool.apply(_result_or_error, (work,))
    if isinstance(result, _Error):
        raise result.error
    answer: Result = result
    return answer


class _Error(NamedTuple):
    """What the work has raised: the pool would print its traceback."""

    error: Exception


def _result_or_error(work: Callable[[], Result]) -> Result | _Error:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised by `in_native_thread`
        return _Error(error)


class NativeThread:
    """A thread that runs one job at a time; `run` waits cooperatively, in the hub that made it."""

    def __init__(self) -> None:
        """Start the native thread, for jobs of this thread's hub."""
        self._hub = gevent.get_hub()
        self._jobs = get_original("queue", "SimpleQueue")()
        self._wake = self._hub.loop.async_()
        self._wake.start(self._resume)
        self._caller: Any = None
        self._done = True
        self._error: BaseException | None = None
        get_original("_thread", "start_new_thread")(self._serve, ())

    def run(self, job: Callable[[], None]) -> None:
        """Run `job` in the thread and return when it has ended; what it raises is raised here."""
        self._caller, self._done = gevent.getcurrent(), False
        self._jobs.put(job)
        try:
            while not self._done:
                self._hub.switch()
        finally:
            # The job may end before the switch: its late wake-up must then resume no one.
            self._caller = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """End the native thread, once it has done its jobs."""
        self._jobs.put(None)
        self._wake.stop()
        self._wake.close()

    def _serve(self) -> None:
        """Do jobs until `close`; in the native thread."""
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._error = error
            self._done = True
            self._wake.send()

    def _resume(self) -> None:
        """Let the greenlet go on that waits for the thread's job."""
        if self._done and self._caller is not None:
            caller, self._caller = self._caller, None
            caller.switch()
