"""An asyncio loop in a native thread, and greenlets that wait for what it does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

Result = TypeVar("Result")


class AsyncioThread:
    """`run` works in the process of a gevent hub, patched or not; it belongs to that hub."""

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._pool = ThreadPool(1)
        started: AsyncResult[asyncio.AbstractEventLoop] = AsyncResult()
        self._served = self._pool.spawn(self._serve, started)
        self._loop = started.get()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do `work` on the loop; only the calling greenlet waits. What it raises is raised here.

        A greenlet that is killed while it waits cancels it.
        """
        done: AsyncResult[tuple[Any, BaseException | None]] = AsyncResult()
        tasks: list[asyncio.Task[Result]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(end)

        def end(task: asyncio.Task[Result]) -> None:
            if task.cancelled():
                outcome: tuple[Any, BaseException | None] = (None, asyncio.CancelledError())
            else:
                error = task.exception()
                outcome = (None if error else task.result(), error)
            self._hub.loop.run_callback_threadsafe(done.set, outcome)

        def cancel() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(begin)
        try:
            result, error = done.get()
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            raise
        if error is not None:
            raise error
        found: Result = result
        return found

    def close(self) -> None:
        """End the loop; what still runs on it is cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._served.get()
        self._pool.kill()

    def _serve(self, started: "AsyncResult[asyncio.AbstractEventLoop]") -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._hub.loop.run_callback_threadsafe(started.set, loop)
        try:
            loop.run_forever()
            for task in (left := asyncio.all_tasks(loop)):
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
