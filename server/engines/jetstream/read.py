"""Reading a JetStream stream: once from a place on, and on and on as it grows."""

from collections.abc import Iterable
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from signalbox.server.engines.jetstream.api import Answer
from signalbox.server.engines.jetstream.connection import (
    Arrivals,
    Connection,
    Gone,
    decoded,
)

SECONDS: Final = 3.0
CREATE_SECONDS: Final = (1.0, 1.0, SECONDS)
PIECE: Final = 1_000
PIECE_BYTES: Final = 1024 * 1024
PULL_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 1.0
NANOSECONDS: Final = 10**9

Found = list[tuple[int, bytes]]
"""Sequences and what was stored there."""


async def direct(client: Connection, stream: str, after: int, limit: int) -> tuple[Found, bool]:
    """At most `limit` messages behind a sequence with one question (NATS 2.11, ADR-31).

    About `PIECE_BYTES` at most, and none where the next one alone has more. Any server of a cluster
    may answer, also one that lags behind: the second is whether it has no more than that.
    """
    inbox = client.new_inbox()
    answers = await client.listen(inbox)
    wanted = {"seq": after + 1, "batch": min(limit, PIECE), "max_bytes": PIECE_BYTES}
    found: Found = []
    try:
        await client.publish(
            f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(wanted), reply=inbox
        )
        while True:
            message = await answers.next(SECONDS)
            if status := _status(message):
                if status in ("204", "404"):
                    pending = (message.headers or {}).get("Nats-Num-Pending", "0")
                    return found, pending == "0"
                raise _ended(status)
            found.append((int((message.headers or {})["Nats-Sequence"]), message.data))
    finally:
        await answers.end()


async def one_by_one(client: Client, stream: str, sequences: Iterable[int]) -> Found:
    """As `direct`, of the server that decides on appends; at least one."""
    found: Found = []
    size = 0
    for sequence in sequences:
        if size >= PIECE_BYTES:
            break
        asked = msgspec.json.encode({"seq": sequence})
        message = await client.request(f"$JS.API.STREAM.MSG.GET.{stream}", asked, timeout=SECONDS)
        answer = decoded(message.data, _Got)
        if answer.message is None:
            raise Gone(f"its message {sequence} is not there")
        found.append((answer.message.seq, answer.message.data))
        size += len(answer.message.data)
    return found


class _Stored(msgspec.Struct):
    seq: int
    data: bytes


class _Got(msgspec.Struct):
    message: _Stored | None = None


class Pull:
    """An ordered consumer: it lives in memory, and what it misses ends it (NATS ADR-17)."""

    def __init__(self, client: Connection, stream: str, after: int) -> None:
        self._client, self._stream, self._after = client, stream, after
        self._name = ""
        self._inbox = client.new_inbox()
        self._number = 0
        self._left = 0
        self._answers: Arrivals | None = None

    async def next(self) -> Found:
        """What has come, at most `PIECE`; nothing after a while in which nothing came."""
        if self._answers is None:
            await self._begin()
        if self._left <= 0:
            await self._ask()
        found: Found = []
        size = 0
        while len(found) < PIECE and size < PIECE_BYTES:
            message = await self._message(wait=not found)
            if message is None:
                break
            if status := _status(message):
                if message.subject == self._subject and self._is_over(status, message):
                    break
                continue
            self._left -= 1
            found.append((message.metadata.sequence.stream, message.data))
            size += len(message.data)
        return found

    async def _begin(self) -> None:
        self._answers = await self._client.listen(f"{self._inbox}.*")
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._after + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(2 * PULL_SECONDS * NANOSECONDS),
        }
        asked = msgspec.json.encode({"stream_name": self._stream, "config": config})
        answer = await self._created(asked)
        if answer.error:
            raise Gone(answer.error)
        self._name = answer.name

    async def _created(self, asked: bytes) -> Answer:
        """The answer to the question for a consumer.

        A cluster places it on any server, for a while also on one that it does not reach any more:
        then nobody answers, and the next question may find another server.
        """
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}"
        for seconds in CREATE_SECONDS:
            try:
                message = await self._client.request(subject, asked, timeout=seconds)
            except nats.errors.TimeoutError:
                # What a user may not ask the server complains about, and does not answer.
                if self._client.lacks_permission(subject):
                    raise Gone(f"this user lacks the permission to publish to {subject}") from None
            else:
                return decoded(message.data, Answer)
        raise Gone("no server reads for it")

    async def _ask(self) -> None:
        """For the next messages; bounded, so that a slow reader is not flooded.

        Each question has a subject of its own, so that the end of one is not taken for another's.
        """
        self._number += 1
        wanted = {
            "batch": PIECE,
            "max_bytes": 4 * PIECE_BYTES + self._client.max_payload,
            "expires": int(PULL_SECONDS * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * NANOSECONDS),
        }
        self._left = PIECE
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}",
            msgspec.json.encode(wanted),
            reply=self._subject,
        )

    @property
    def _subject(self) -> str:
        return f"{self._inbox}.{self._number}"

    async def _message(self, wait: bool) -> Msg | None:
        """The next one; where nothing is there yet and nobody waits, None."""
        assert self._answers is not None
        if not wait and not self._answers:
            return None
        try:
            return await self._answers.next(3 * HEARTBEAT_SECONDS)
        except TimeoutError as error:
            raise Gone("its heartbeat is missing") from error

    def _is_over(self, status: str, message: Msg) -> bool:
        """Whether what has come so far is all for now."""
        if status == "100":
            return True  # a heartbeat: nothing has come
        said = _described(message)
        if status == "408" or "Exceed" in said or "Batch Completed" in said:
            self._left = 0
            return True
        raise _ended(status)


def _ended(status: str) -> Gone:
    return Gone(f"it has ended what was read (status {status})")


def _status(message: Msg) -> str:
    return (message.headers or {}).get("Status", "")


def _described(message: Msg) -> str:
    return " ".join(str(value) for value in (message.headers or {}).values())
