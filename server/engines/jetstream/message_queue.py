"""Messages of a NATS subscription, queued for the one coroutine that reads them."""

import asyncio
from collections import deque

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription


class MessageQueue:
    """The messages in the order of their arrival, with `max_length` only the newest.

    Without one it is not bounded: request only as many as there is memory for. nats-py's own
    `next_msg` makes two tasks and a random name for each message, which costs more than all else
    that is done with it.
    """

    def __init__(self, client: Client, max_length: int | None) -> None:
        """A queue of messages of NATS that `client` receives; empty until it subscribes."""
        self._client = client
        self._messages: deque[Msg] = deque(maxlen=max_length)
        self._reader: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def subscribe(self, subject: str) -> None:
        """Queue the messages of this subject from now on."""
        self._subscription = await self._client.subscribe(
            subject, cb=self._put, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def unsubscribe(self) -> None:
        """Let no more messages come into the queue."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def __bool__(self) -> bool:
        """Whether there is a message to read now."""
        return bool(self._messages)

    async def next(self, seconds: float | None = None) -> Msg:
        """The next message. Raises `TimeoutError` after `seconds`, or `ConnectionClosedError`."""
        if not self._messages:
            await self._wait(seconds)
        return self._messages.popleft()

    def wake(self) -> None:
        """Let the reader look again: a message has come, or the connection is closed."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait(self, seconds: float | None) -> None:
        """Wait until there is a message, or the connection is closed."""
        if self._client.is_closed:
            raise nats.errors.ConnectionClosedError
        self._reader = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._reader
        finally:
            self._reader = None
        if not self._messages:
            raise nats.errors.ConnectionClosedError

    async def _put(self, message: Msg) -> None:
        """Queue a message that the subscription has received."""
        self._messages.append(message)
        self.wake()
