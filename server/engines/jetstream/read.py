"""Reading a JetStream stream: a part of it once, or everything as it grows."""

from collections.abc import Iterable
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from signalbox.server.engines.jetstream.api import Answer, decode_answer
from signalbox.server.engines.jetstream.connection import SECONDS, Connection, RequestFailed
from signalbox.server.engines.jetstream.message_queue import MessageQueue

CREATE_SECONDS: Final = (1.0, 1.0, SECONDS)
MAX_MESSAGES: Final = 1_000
MAX_BYTES: Final = 1024 * 1024
PULL_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 1.0
NANOSECONDS: Final = 10**9

Messages = list[tuple[int, bytes]]
"""Sequences and payloads."""


async def read_direct(
    client: Connection, stream: str, after: int, limit: int
) -> tuple[Messages, bool]:
    """At most `limit` messages after sequence `after`, by one request (NATS 2.11, ADR-31).

    About `MAX_BYTES` at most, and none where the next one alone has more. Any server of a cluster
    may answer, also one that lags behind: the second value is whether that server has no more.
    """
    inbox = client.new_inbox()
    answers = await client.open_queue(inbox)
    options = {"seq": after + 1, "batch": min(limit, MAX_MESSAGES), "max_bytes": MAX_BYTES}
    messages: Messages = []
    try:
        await client.publish(
            f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(options), reply=inbox
        )
        while True:
            message = await answers.next(SECONDS)
            if status := _status(message):
                if status in ("204", "404"):
                    pending = (message.headers or {}).get("Nats-Num-Pending", "0")
                    return messages, pending == "0"
                raise _read_ended(status)
            messages.append((int((message.headers or {})["Nats-Sequence"]), message.data))
    finally:
        await answers.unsubscribe()


async def read_one_by_one(client: Client, stream: str, sequences: Iterable[int]) -> Messages:
    """As `read_direct`, by the server that decides on appends; at least one message."""
    messages: Messages = []
    size = 0
    for sequence in sequences:
        if size >= MAX_BYTES:
            break
        body = msgspec.json.encode({"seq": sequence})
        message = await client.request(f"$JS.API.STREAM.MSG.GET.{stream}", body, timeout=SECONDS)
        answer = decode_answer(message.data, _StoredAnswer)
        if answer.message is None:
            raise RequestFailed(f"its message {sequence} is not there")
        messages.append((answer.message.seq, answer.message.data))
        size += len(answer.message.data)
    return messages


class _Stored(msgspec.Struct):
    seq: int
    data: bytes


class _StoredAnswer(msgspec.Struct):
    message: _Stored | None = None


class OrderedConsumer:
    """An ordered consumer, kept in the server's memory; it ends at a gap (NATS ADR-17)."""

    def __init__(self, client: Connection, stream: str, after: int) -> None:
        """A consumer of the messages of `stream` after sequence `after`; not created yet."""
        self._client, self._stream, self._after = client, stream, after
        self._name = ""
        self._inbox = client.new_inbox()
        self._pull_number = 0
        self._outstanding = 0
        self._queue: MessageQueue | None = None

    async def next(self) -> Messages:
        """The next messages, at most `MAX_MESSAGES`; none after a while in which none came."""
        if self._queue is None:
            await self._create()
        if self._outstanding <= 0:
            await self._pull()
        messages: Messages = []
        size = 0
        while len(messages) < MAX_MESSAGES and size < MAX_BYTES:
            message = await self._message(wait=not messages)
            if message is None:
                break
            if status := _status(message):
                if message.subject == self._reply_subject and self._ends_batch(status, message):
                    break
                continue
            self._outstanding -= 1
            messages.append((message.metadata.sequence.stream, message.data))
            size += len(message.data)
        return messages

    async def _create(self) -> None:
        """Create the consumer on the NATS server."""
        self._queue = await self._client.open_queue(f"{self._inbox}.*")
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._after + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(2 * PULL_SECONDS * NANOSECONDS),
        }
        body = msgspec.json.encode({"stream_name": self._stream, "config": config})
        answer = await self._request_consumer(body)
        if answer.error:
            raise RequestFailed(answer.error)
        self._name = answer.name

    async def _request_consumer(self, body: bytes) -> Answer:
        """The answer to the request for a consumer, which is sent again where none comes.

        A cluster creates it on any server, for a while also on one that it does not reach any more:
        then there is no answer, and the next request may go to another server.
        """
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}"
        for seconds in CREATE_SECONDS:
            try:
                message = await self._client.request(subject, body, timeout=seconds)
            except nats.errors.TimeoutError:
                # A request without permission has no answer: the server sends an error of its own.
                if self._client.lacks_permission(subject):
                    raise RequestFailed(
                        f"this user lacks the permission to publish to {subject}"
                    ) from None
            else:
                return decode_answer(message.data, Answer)
        raise RequestFailed("no server reads for it")

    async def _pull(self) -> None:
        """Request the next messages; bounded, so that a slow reader is not flooded.

        Each request has a subject of its own, so that the end of one is not mistaken for another's.
        """
        self._pull_number += 1
        options = {
            "batch": MAX_MESSAGES,
            "max_bytes": 4 * MAX_BYTES + self._client.max_payload,
            "expires": int(PULL_SECONDS * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * NANOSECONDS),
        }
        self._outstanding = MAX_MESSAGES
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}",
            msgspec.json.encode(options),
            reply=self._reply_subject,
        )

    @property
    def _reply_subject(self) -> str:
        """The subject that the server sends the requested messages to, another for each request."""
        return f"{self._inbox}.{self._pull_number}"

    async def _message(self, wait: bool) -> Msg | None:
        """The next message; None where there is none yet and `wait` is false."""
        assert self._queue is not None
        if not wait and not self._queue:
            return None
        try:
            return await self._queue.next(3 * HEARTBEAT_SECONDS)
        except TimeoutError as error:
            raise RequestFailed("its heartbeat is missing") from error

    def _ends_batch(self, status: str, message: Msg) -> bool:
        """Whether a status message means that no more messages come for now."""
        if status == "100":
            return True  # a heartbeat: nothing has come
        description = _description(message)
        if status == "408" or "Exceed" in description or "Batch Completed" in description:
            self._outstanding = 0
            return True
        raise _read_ended(status)


def _read_ended(status: str) -> RequestFailed:
    """The error where the server has ended a read before the stream's end."""
    return RequestFailed(f"it has ended what was read (status {status})")


def _status(message: Msg) -> str:
    """The status in the header of a message that ends a read; empty for a stored message."""
    return (message.headers or {}).get("Status", "")


def _description(message: Msg) -> str:
    """The header of a status message, which says why a read has ended."""
    return " ".join(str(value) for value in (message.headers or {}).values())
