"""One native thread that runs an asyncio loop, and greenlets that wait for what it does."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import gevent
from gevent import monkey
from gevent.monkey import get_original

Result = TypeVar("Result")

SECONDS: Final = 3600.0
"""A wait must keep its hub's loop alive; whoever waits bounds the work itself."""


class AsyncioThread:
    """`run` waits cooperatively in any thread's hub, in a patched process and in an ordinary one.

    Neither the loop nor its connections depend on this thread's own hub: gevent's sockets are
    non-blocking here, and only their closing is left to the hub, see `let_go_of_sockets`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop(get_original("selectors", "DefaultSelector")())
        self._ended = _Call[None](None)
        self._is_closed = False
        get_original("_thread", "start_new_thread")(self._serve, ())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` returns or raises. It is cancelled where the waiting greenlet is killed.

        Raises `RuntimeError` after `close`.
        """
        if self._is_closed:
            work.close()
            raise RuntimeError("the thread has ended")
        call = _Call(work)
        self._loop.call_soon_threadsafe(call.start, self._loop)
        try:
            return call.wait()
        except gevent.GreenletExit:
            if not self._is_closed:
                self._loop.call_soon_threadsafe(call.cancel)
            raise

    def close(self) -> None:
        """End all work, which is cancelled, and the thread; return when it has ended."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._ended.wait()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_others())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            let_go_of_sockets()
            if monkey.is_module_patched("socket"):
                gevent.get_hub().destroy(destroy_loop=True)
            self._ended.end()


class _Call(Generic[Result]):
    """One coroutine's run, between the thread that runs it and the greenlet that waits."""

    def __init__(self, work: Coroutine[Any, Any, Result] | None) -> None:
        self._work = work
        self._hub = gevent.get_hub()
        self._greenlet: Any = None
        self._is_done = False
        self._task: asyncio.Task[Result] | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def wait(self) -> Result:
        """In the greenlet. `close` waits for an end that may have come before."""
        self._hub = gevent.get_hub()
        timer = self._hub.loop.timer(SECONDS, SECONDS)
        timer.start(_nothing)
        self._greenlet = gevent.getcurrent()
        try:
            while not self._is_done:
                self._hub.switch()
        finally:
            # It may end before we wait: its wake-up, still to come, must then find nobody.
            self._greenlet = None
            timer.stop()
            timer.close()
        if self._error is not None:
            raise self._error
        result: Result = self._result
        return result

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._work is not None
        self._task = loop.create_task(self._work)
        self._task.add_done_callback(self._finish)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        self._is_done = True
        self._hub.loop.run_callback_threadsafe(self._resume)

    def _finish(self, task: "asyncio.Task[Result]") -> None:
        if task.cancelled():
            self._error = ConnectionError("given up")
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._result = task.result()
        self.end()

    def _resume(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()


def let_go_of_sockets() -> None:
    """Have sockets closed for good that were closed in this thread.

    gevent leaves that to the thread's hub, which runs only when somebody waits in it.
    """
    if monkey.is_module_patched("socket"):
        gevent.sleep(0)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _nothing() -> None:
    """The timer only keeps the loop alive."""


_ = (selectors, Callable)
