"""Sending transactions to a JetStream stream: all of them or the first of them, in their order."""

import asyncio
from collections.abc import Sequence
from secrets import token_hex
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from signalbox.server.engines.jetstream.api import GONE, Answer
from signalbox.server.engines.jetstream.connection import (
    Arrivals,
    Connection,
    Gone,
    decoded,
)
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction, encode
from signalbox.server.runtime.error_messages import reason

SECONDS: Final = 3.0
"""For each answer."""
BYTES_A_SECOND: Final = 512 * 1024
"""Of the slowest network; what is appended may take so much longer for its size."""
CHAIN: Final = 50
"""Up to so many messages a chain is faster than an atomic batch, which takes NATS 2.15 some 2.4 ms
whatever its size."""

Sent = Answer | Exception
"""What became of one message, or of a whole batch: its answer, or why none came."""


class Appender:
    """Of one connection. Every message is compared with the stream's last sequence."""

    def __init__(
        self, connection: Connection, subject: str, may_chain: bool, is_atomic: bool
    ) -> None:
        """`may_chain` where messages may name their predecessor, `is_atomic` where the server has
        atomic batches.
        """
        self._connection = connection
        self._subject = subject
        self._may_chain = may_chain
        self._is_atomic = is_atomic
        self._inbox = connection.new_inbox()
        self._acks: Arrivals | None = None
        self._number = 0

    async def begin(self) -> None:
        self._acks = await self._connection.listen(f"{self._inbox}.*.*")

    async def send(self, transactions: Sequence[Transaction], expected: int) -> Sequence[Sent]:
        """Raises `Unavailable` where it is certain that nothing is stored."""
        few = CHAIN if self._may_chain else 1
        if len(transactions) <= few or (self._may_chain and not self._is_atomic):
            return await self._chain(transactions, expected)
        if self._is_atomic:
            return [await self._batch(transactions, expected)]
        return await self._in_turn(transactions, expected)

    async def _batch(self, transactions: Sequence[Transaction], expected: int) -> Sent:
        """One answer for all of them. Raises `Unavailable` before the last one is sent."""
        batch, last = token_hex(8), len(transactions)
        payloads = [encode(one) for one in transactions]
        headers: dict[str, str] = {}
        for number, one in enumerate(transactions, start=1):
            headers = {
                "Nats-Msg-Id": f"{one.id}:{one.revision}",
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(number),
            }
            if number == 1:
                headers["Nats-Expected-Last-Sequence"] = str(expected)
            if number < last:
                try:
                    payload = payloads[number - 1]
                    await self._connection.publish(self._subject, payload, headers=headers)
                except GONE as error:
                    # The server forgets a batch whose last message does not come.
                    raise Unavailable(f"The server is away: {reason(error)}.") from error
        headers["Nats-Batch-Commit"] = "1"
        return await self._publish(payloads[-1], headers, _seconds(payloads))

    async def _chain(self, transactions: Sequence[Transaction], expected: int) -> Sequence[Sent]:
        """Messages that are sent together; none is stored behind one that was not."""
        before = ""
        payloads = [encode(one) for one in transactions]
        self._number += 1
        try:
            for place, one in enumerate(transactions):
                headers = {"Nats-Msg-Id": f"{one.id}:{one.revision}"}
                headers["Nats-Expected-Last-Sequence"] = str(expected + place)
                if before:
                    headers["Nats-Expected-Last-Msg-Id"] = before
                before = headers["Nats-Msg-Id"]
                reply = f"{self._inbox}.{self._number}.{place}"
                await self._connection.publish(self._subject, payloads[place], reply, headers)
            answers = self._acknowledged(len(transactions))
            return await asyncio.wait_for(answers, _seconds(payloads))
        except GONE as error:
            return [_as_exception(error)]

    async def _in_turn(self, transactions: Sequence[Transaction], expected: int) -> Sequence[Sent]:
        """Messages each of which waits for the one before; the answers up to the first failure."""
        answers: list[Sent] = []
        for place, one in enumerate(transactions):
            answers += await self._chain([one], expected + place)
            if not isinstance(answers[-1], Answer) or answers[-1].error:
                break
        return answers

    async def _acknowledged(self, count: int) -> Sequence[Sent]:
        """The answers to the links of the last chain, in their order."""
        assert self._acks is not None
        answers: dict[int, Sent] = {}
        while len(answers) < count:
            message = await self._acks.next()
            *_, number, place = message.subject.split(".")
            if int(number) == self._number:  # not one that came too late
                answers[int(place)] = _answer(message)
        return [answers[place] for place in range(count)]

    async def _publish(self, payload: bytes, headers: dict[str, str], seconds: float) -> Sent:
        try:
            message: Msg = await self._connection.request(
                self._subject, payload, timeout=seconds, headers=headers
            )
            return decoded(message.data, Answer)
        except GONE as error:
            return _as_exception(error)


def _answer(message: Msg) -> Sent:
    if (message.headers or {}).get("Status") == "503":
        return nats.errors.NoRespondersError()
    return decoded(message.data, Answer)


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else Gone(reason(error))


def _seconds(payloads: Sequence[bytes]) -> float:
    """For the answer to what is appended, which a large one takes longer for."""
    return SECONDS + sum(map(len, payloads)) / BYTES_A_SECOND
