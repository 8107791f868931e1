"""An asyncio loop in a greenlet, and other greenlets that wait for what it does.

Its selector waits as gevent does, so that it shares the thread with everything else: a thread of
its own would cost two thread switches, and waits for the interpreter lock, for each answer.
"""

import asyncio
from collections.abc import Coroutine
from selectors import SelectorKey
from typing import Any, Final, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.selectors import GeventSelector

from signalbox.server.runtime.error_messages import ReadableError

Result = TypeVar("Result")

_ATTRIBUTE: Final = "_signalbox_asyncio"


class LoopClosed(ReadableError, OSError):
    """The loop has ended before the work that was to be done on it."""


class _Selector(GeventSelector):
    """Does not poll where asyncio has more callbacks to run: that would cost a switch each time."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Nothing is polled where the loop has more to do at once."""
        if timeout is not None and timeout <= 0:
            return []
        ready: list[tuple[SelectorKey, int]] = super().select(timeout)
        return ready


class AsyncioGreenlet:
    """An asyncio loop of the gevent hub of this thread, in a monkey-patched process or not."""

    def __init__(self) -> None:
        """Start an asyncio loop for NATS in a greenlet; nobody uses it yet."""
        self._users = 0
        self._pending: set[AsyncResult[Any]] = set()
        self._loop = asyncio.SelectorEventLoop(_Selector())
        self._greenlet = gevent.spawn(self._serve)

    @staticmethod
    def of_hub() -> "AsyncioGreenlet":
        """The running one, or a new one: a thread has one asyncio loop at a time."""
        hub = gevent.get_hub()
        running: AsyncioGreenlet | None = getattr(hub, _ATTRIBUTE, None)
        if running is None:
            running = AsyncioGreenlet()
            setattr(hub, _ATTRIBUTE, running)
        running._users += 1
        return running

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` on the loop; only the calling greenlet waits. What it raises is raised here.

        Killing a greenlet that waits cancels its work. Raises `LoopClosed` if the loop ends
        before the work does.
        """
        done: AsyncResult[Any] = AsyncResult()
        tasks: list[asyncio.Task[Result]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(done.set)

        def cancel() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(begin)
        self._pending.add(done)
        try:
            task: asyncio.Task[Result] | None = done.get()
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            raise
        finally:
            self._pending.discard(done)
        if task is None or task.cancelled():
            raise LoopClosed("the connection was given up")
        return task.result()

    def close(self) -> None:
        """Use the asyncio loop no longer. The last user ends it, and cancels what runs on it."""
        self._users -= 1
        if self._users:
            return
        delattr(gevent.get_hub(), _ATTRIBUTE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._greenlet.join()

    def _serve(self) -> None:
        """Run the asyncio loop in its greenlet until its last user has closed it."""
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel(asyncio.all_tasks(self._loop)))
        finally:
            self._loop.close()
            for waiting in self._pending:
                waiting.set(None)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel the asyncio tasks, and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
