"""Appending transactions to a JetStream stream: all of them, or the first of them, in order."""

import asyncio
from collections.abc import Sequence
from secrets import token_hex
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from signalbox.server.engines.jetstream.api import Answer, decode_answer
from signalbox.server.engines.jetstream.connection import (
    CONNECTION_ERRORS,
    SECONDS,
    Connection,
    RequestFailed,
)
from signalbox.server.engines.jetstream.message_queue import MessageQueue
from signalbox.server.engines.shared_log import BYTES_A_SECOND
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction, encode
from signalbox.server.runtime.error_messages import reason

MAX_CHAIN: Final = 50
"""Up to so many messages a chain is faster than an atomic batch, which takes NATS 2.15 some 2.4 ms
whatever its size."""

PublishResult = Answer | Exception
"""Of one message, or of a whole batch: its answer, or why none came."""


class Appender:
    """Appends over one connection. The server compares each append with the last sequence."""

    def __init__(
        self, connection: Connection, subject: str, may_chain: bool, is_atomic: bool
    ) -> None:
        """`may_chain` where a message may name its predecessor, `is_atomic` for atomic batches."""
        self._connection = connection
        self._subject = subject
        self._may_chain = may_chain
        self._is_atomic = is_atomic
        self._inbox = connection.new_inbox()
        self._acks: MessageQueue | None = None
        self._chain_number = 0

    async def open(self) -> None:
        """Subscribe to the answers; before the first append."""
        self._acks = await self._connection.open_queue(f"{self._inbox}.*.*")

    async def append(
        self, transactions: Sequence[Transaction], expected: int
    ) -> Sequence[PublishResult]:
        """Append directly after sequence `expected`; the results, in order.

        Raises `Unavailable` if it is certain that nothing is stored.
        """
        few = MAX_CHAIN if self._may_chain else 1
        if len(transactions) <= few or (self._may_chain and not self._is_atomic):
            return await self._chain(transactions, expected)
        if self._is_atomic:
            return [await self._batch(transactions, expected)]
        return await self._one_by_one(transactions, expected)

    async def _batch(self, transactions: Sequence[Transaction], expected: int) -> PublishResult:
        """Append an atomic batch; one result. Raises `Unavailable` before the last one is sent."""
        batch, last = token_hex(8), len(transactions)
        payloads = [encode(transaction) for transaction in transactions]
        headers: dict[str, str] = {}
        for number, transaction in enumerate(transactions, start=1):
            headers = {
                "Nats-Msg-Id": f"{transaction.id}:{transaction.revision}",
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(number),
            }
            if number == 1:
                headers["Nats-Expected-Last-Sequence"] = str(expected)
            if number < last:
                try:
                    payload = payloads[number - 1]
                    await self._connection.publish(self._subject, payload, headers=headers)
                except CONNECTION_ERRORS as error:
                    # The server forgets a batch whose last message does not come.
                    raise Unavailable(f"The server is away: {reason(error)}.") from error
        headers["Nats-Batch-Commit"] = "1"
        return await self._publish(payloads[-1], headers, _seconds(payloads))

    async def _chain(
        self, transactions: Sequence[Transaction], expected: int
    ) -> Sequence[PublishResult]:
        """Send all messages at once; none is stored after one that was not."""
        before = ""
        payloads = [encode(transaction) for transaction in transactions]
        self._chain_number += 1
        try:
            for index, transaction in enumerate(transactions):
                headers = {"Nats-Msg-Id": f"{transaction.id}:{transaction.revision}"}
                headers["Nats-Expected-Last-Sequence"] = str(expected + index)
                if before:
                    headers["Nats-Expected-Last-Msg-Id"] = before
                before = headers["Nats-Msg-Id"]
                reply = f"{self._inbox}.{self._chain_number}.{index}"
                await self._connection.publish(self._subject, payloads[index], reply, headers)
            answers = self._acknowledged(len(transactions))
            return await asyncio.wait_for(answers, _seconds(payloads))
        except CONNECTION_ERRORS as error:
            return [_as_exception(error)]

    async def _one_by_one(
        self, transactions: Sequence[Transaction], expected: int
    ) -> Sequence[PublishResult]:
        """Send each message once the one before is stored; the results up to the first failure."""
        answers: list[PublishResult] = []
        for index, transaction in enumerate(transactions):
            answers += await self._chain([transaction], expected + index)
            if not isinstance(answers[-1], Answer) or answers[-1].error:
                break
        return answers

    async def _acknowledged(self, count: int) -> Sequence[PublishResult]:
        """The answers to the messages of the last chain, in order."""
        assert self._acks is not None
        answers: dict[int, PublishResult] = {}
        while len(answers) < count:
            message = await self._acks.next()
            *_, number, index = message.subject.split(".")
            if int(number) == self._chain_number:  # not one that came too late
                answers[int(index)] = _result(message)
        return [answers[index] for index in range(count)]

    async def _publish(
        self, payload: bytes, headers: dict[str, str], seconds: float
    ) -> PublishResult:
        """Publish the last message of an atomic batch; the answer to it, or an error."""
        try:
            message: Msg = await self._connection.request(
                self._subject, payload, timeout=seconds, headers=headers
            )
            return decode_answer(message.data, Answer)
        except CONNECTION_ERRORS as error:
            return _as_exception(error)


def _result(message: Msg) -> PublishResult:
    """The answer to one appended message; an error where no server took it."""
    if (message.headers or {}).get("Status") == "503":
        return nats.errors.NoRespondersError()
    return decode_answer(message.data, Answer)


def _as_exception(error: BaseException) -> Exception:
    """An error of the connection as the result of an append."""
    return error if isinstance(error, Exception) else RequestFailed(reason(error))


def _seconds(payloads: Sequence[bytes]) -> float:
    """How long the answer to an append may take: longer for a large one."""
    return SECONDS + sum(map(len, payloads)) / BYTES_A_SECOND
