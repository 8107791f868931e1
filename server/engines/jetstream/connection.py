"""A connection to NATS, and messages as they come over it, for one who waits for them."""

import asyncio
from collections import deque
from typing import TypeVar
from weakref import WeakSet

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from signalbox.server.runtime.error_messages import ReadableError

Answered = TypeVar("Answered")


class Gone(ReadableError, nats.errors.Error):
    """What was asked or read from is not there any more, does not answer, or not as NATS does."""


def decoded(data: bytes, kind: type[Answered]) -> Answered:
    """The JSON that a server has sent. Raises `Gone` where nobody understands it."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Gone("it answers in a form that Signalbox does not know") from error


class Connection(Client):
    """nats-py's client, which tells those who listen that it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: WeakSet[Arrivals] = WeakSet()
        self._complaint = ""
        """What the server said last that was no answer to anything, such as a permission."""
        self.trouble: Exception | None = None
        """Why no server could be reached: nats-py raises only that there is none."""

    async def listen(self, subject: str, most: int | None = None) -> "Arrivals":
        """Keep what comes to `subject` for the one who waits for it, the newest `most`."""
        arrivals = Arrivals(self, most)
        self._listeners.add(arrivals)
        await arrivals.begin(subject)
        return arrivals

    def forget_complaint(self) -> None:
        """What it said so far is not about what is asked next."""
        self._complaint = ""

    def lacks_permission(self, subject: str = "") -> bool:
        """Whether what the server said last was that the user may not publish there."""
        return "permissions violation" in self._complaint and subject.lower() in self._complaint

    async def has_complained(self, error: Exception) -> None:
        """A callback, to be given on connecting. Whoever asks is told by what that raises."""
        self.trouble, self._complaint = error, str(error).lower()

    async def has_closed(self) -> None:
        """A callback, to be given on connecting."""
        for arrivals in self._listeners:
            arrivals.wake()


class Arrivals:
    """Messages in the order in which they came; where there is no `most`, ask only for so much.

    nats-py's own `next_msg` makes two tasks and a random name for each, which costs more than
    everything else that is done with a message.
    """

    def __init__(self, connection: Connection, most: int | None) -> None:
        self._connection = connection
        self._messages: deque[Msg] = deque(maxlen=most)
        self._waiter: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def begin(self, subject: str) -> None:
        self._subscription = await self._connection.subscribe(
            subject, cb=self._take, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def end(self) -> None:
        """Let nothing more come."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def __bool__(self) -> bool:
        """Whether something is there that nobody has to wait for."""
        return bool(self._messages)

    async def next(self, seconds: float | None = None) -> Msg:
        """The next one. Raises `TimeoutError` after so many seconds, `ConnectionClosedError`."""
        if not self._messages:
            await self._wait(seconds)
        return self._messages.popleft()

    async def _wait(self, seconds: float | None) -> None:
        if self._connection.is_closed:
            raise nats.errors.ConnectionClosedError
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        finally:
            self._waiter = None
        if not self._messages:
            raise nats.errors.ConnectionClosedError

    async def _take(self, message: Msg) -> None:
        self._messages.append(message)
        self.wake()

    def wake(self) -> None:
        """Let the one who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
