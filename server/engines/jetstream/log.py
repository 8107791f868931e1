"""The event log in a NATS JetStream stream. A message's sequence is the revision.

Appending compares with the stream's last sequence; many transactions are one atomic batch
(NATS 2.12, ADR-50), or on an older server a chain in which every link also names its predecessor.
See https://docs.nats.io/nats-concepts/jetstream/headers; ADR-50 is NATS's own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

import nats.errors

from signalbox.server.engines.address import Address
from signalbox.server.engines.base import AppendIndeterminate, LogConflict
from signalbox.server.engines.failover import ServerFailover
from signalbox.server.engines.jetstream import api
from signalbox.server.engines.jetstream.api import (
    GONE,
    Answer,
    ask,
    closed,
    opened,
)
from signalbox.server.engines.jetstream.append import Appender, Sent
from signalbox.server.engines.jetstream.asyncio_greenlet import AsyncioGreenlet
from signalbox.server.engines.jetstream.connection import Connection
from signalbox.server.engines.jetstream.quorum import check_majority, confirmed
from signalbox.server.engines.jetstream.read import Pull, direct, one_by_one
from signalbox.server.engines.shared_log import LogMetadata, LogStatus, Partitioned, nothing_applied
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction, decode_all
from signalbox.server.runtime.error_messages import reason

HEADERS: Final = 512
"""Bytes of a message that are left for its headers."""
LARGEST_BATCH: Final = 1_000
MOST_TOLD: Final = 1_000
"""What nodes tell may be lost: of more that waits to be heard, the oldest."""
CHECK_SECONDS: Final = 1.0
"""Between two looks at whether what is followed is still the log, and how durable it is."""
LOOKS: Final = 20
LOOK_SECONDS: Final = 0.01
"""A cluster refuses for the sake of an append that is still on its way to a majority."""

Result = TypeVar("Result")


class JetStreamLog:
    """See `SharedLog`. Its one subject is `<name>.log.<store>`; `<name>.told` is beside it.

    So what is meant for a log never gets into another that has taken its place.
    """

    name = "NATS JetStream"

    def __init__(self, address: Address) -> None:
        self.address = address.redacted
        self.requires_durable = False
        self.status: LogStatus | None = None
        self.max_bytes: int | None = None
        self._address = address
        self._place = self.address
        self._failover = ServerFailover(address)
        self._stream = address.stream
        self._subject = ""
        self._loop: AsyncioGreenlet | None = None
        self._client: Connection | None = None
        self._known = 0
        self._asks_flush = True
        self._appender: Appender | None = None

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        self.close()
        self._loop = AsyncioGreenlet.of_hub()
        self.status = self._failover.connect(lambda one: self._joined(one, metadata))
        return self.status

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        if len(transactions) > LARGEST_BATCH:
            raise ValueError(f"{len(transactions)} transactions are too many for one append.")
        self._check_connected().forget_complaint()
        try:
            assert self._appender is not None
            answers = self._run(self._appender.send(transactions, expected))
        except Unavailable:
            raise  # nothing was sent, or not the end of it
        except Exception as error:
            raise AppendIndeterminate(
                f"{self.address} has not answered: {reason(error)}."
            ) from error
        self._settle(answers, transactions, expected)

    def read(self, after: int, limit: int) -> list[Transaction]:
        client = self._check_connected()
        found, is_end = self._asked(direct(client, self._stream, after, limit))
        last = found[-1][0] if found else after
        if is_end or not found:
            # A follower of the cluster has answered that does not have the end yet; or the next one
            # is too large to come with others.
            end = min(self._known, after + limit) if is_end else last + 1
            found += self._asked(one_by_one(client, self._stream, range(last + 1, end + 1)))
        return decode_all(found)

    def last_revision(self) -> int:
        client = self._check_connected()
        answer = self._asked(self._told(client))
        check_majority(answer, self._place)
        return self._seen(answer.last)

    def confirmed_revision(self) -> int:
        client = self._check_connected()
        answer = self._asked(confirmed(lambda: self._told(client), self._place))
        return self._seen(answer.last)

    def _seen(self, last: int) -> int:
        self._known = max(self._known, last)
        return last

    def follow(
        self, after: int, applied: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        pull, checked = Pull(self._check_connected(), self._stream, after), monotonic()
        while True:
            found = self._asked(pull.next())
            if monotonic() > checked + CHECK_SECONDS:
                self._check_still_there(after)
                checked = monotonic()
            if found and applied() >= found[-1][0]:
                after = found[-1][0]
                yield []
                continue
            piece = decode_all(found)
            for number, one in enumerate(piece, start=after + 1):
                if one.revision != number:
                    raise Unavailable(
                        f"{self.address} gave revision {one.revision} where {number} was next."
                    )
            after += len(piece)
            self._known = max(self._known, after)
            yield piece

    def _check_still_there(self, after: int) -> None:
        """Whoever waits for more must notice that no more will come.

        As where there is no leader, or one without a majority, or another log.
        """
        client = self._check_connected()
        answer = self._asked(self._told(client))
        check_majority(answer, self._place)
        if answer.last < after:
            raise Unavailable(f"{self.address} has no revision {after} now.")
        self.status = self._asked(self._standing(client, answer))

    def publish(self, message: bytes) -> None:
        client = self._check_connected()
        self._asked(client.publish(f"{self._stream}.told", message))

    def subscribe(self) -> Iterator[bytes]:
        client = self._check_connected()
        told = self._asked(client.listen(f"{self._stream}.told", MOST_TOLD))
        try:
            while True:
                yield self._asked(told.next()).data
        finally:
            with suppress(Unavailable):
                self._asked(told.end())

    def close(self) -> None:
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            if client is not None:
                loop.run(closed(client))
        finally:
            loop.close()

    # Connecting.

    def _joined(self, one: Address, metadata: LogMetadata | None) -> LogStatus:
        self._place = one.redacted
        try:
            return self._run(self._join(one, metadata))
        except GONE as error:
            raise Unavailable(f"{self._place} cannot be reached: {reason(error)}.") from error

    async def _join(self, one: Address, metadata: LogMetadata | None) -> LogStatus:
        client = await opened(one)
        try:
            await api.found(client, one, metadata, self.requires_durable)
            answer = await self._told(client)
            # What a server that is cut off says of the log's end must not be taken for a loss.
            check_majority(answer, self._place)
            self._asks_flush = True
            status = await self._standing(client, answer)
            await self._begin(client, answer, status.metadata)
        except BaseException:
            await closed(client)
            raise
        self._client = client
        return status

    async def _begin(self, client: Connection, answer: Answer, founded: LogMetadata) -> None:
        self._subject = api.subject(self._address, founded.store)
        self.max_bytes = client.max_payload - HEADERS
        # Replicas of NATS 2.15 fail for good where a message names its predecessor.
        may_chain = answer.config.get("num_replicas") == 1
        is_atomic = bool(answer.config.get("allow_atomic"))
        self._appender = Appender(client, self._subject, may_chain, is_atomic)
        await self._appender.begin()
        self._known = answer.last

    async def _told(self, client: Connection) -> Answer:
        """What the stream tells of itself. Raises `Unavailable` where it tells nothing."""
        answer = await ask(client, f"STREAM.INFO.{self._stream}")
        if answer.error:
            raise Partitioned(f"{self._place} does not tell of the log: {answer.error}.")
        return answer

    async def _standing(self, client: Connection, answer: Answer) -> LogStatus:
        """A server that does not tell how it flushes is asked once, since that may take long."""
        founded = answer.metadata(self.address)
        status = await api.standing_of(client, answer, founded, self._asks_flush)
        self._asks_flush = status.durability != api.UNTOLD
        return status

    def _check_connected(self) -> Connection:
        if self._client is None or not self._client.is_connected:
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._client

    # Asking.

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None:
            work.close()
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._loop.run(work)

    def _asked(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Where nothing is written."""
        try:
            return self._run(work)
        except GONE as error:
            raise Unavailable(f"{self.address} does not answer: {reason(error)}.") from error

    def _settle(
        self,
        answers: Sequence[Sent],
        transactions: Sequence[Transaction],
        expected: int,
    ) -> None:
        """All are stored where they belong, or none is, or that is not known."""
        last = expected + len(transactions)
        if all(isinstance(one, Answer) and not one.error for one in answers) and (
            isinstance(answers[-1], Answer) and answers[-1].seq == last
        ):
            self._known = max(self._known, last)
            return
        if any(isinstance(one, Answer) and not one.error for one in answers):
            raise AppendIndeterminate(f"{self.address} has stored a part.")
        first = answers[0]
        if all(isinstance(one, nats.errors.NoRespondersError) for one in answers):
            raise Unavailable(f"{self.address} has no JetStream that takes it now.")
        for one in answers:
            if isinstance(one, Exception):
                self._check_permitted()
                raise AppendIndeterminate(f"{self.address} has not answered: {reason(one)}.")
        assert isinstance(first, Answer)
        if first.is_conflict:
            raise LogConflict(self._end(expected))
        raise Unavailable(f"{self.address} has not taken it: {first.error}.")

    def _check_permitted(self) -> None:
        """What a user may not publish is not answered; the server complains, and stores nothing."""
        if self._client and self._client.lacks_permission(self._subject):
            raise Unavailable(
                f"{self.address} does not let this user write: it lacks the permission to publish "
                f"to {self._subject}."
            )

    def _end(self, expected: int) -> int:
        """Where the log ends, which is not at `expected`, or not for long."""
        try:
            for _ in range(LOOKS):
                if (actual := self.last_revision()) != expected:
                    return actual
                self._asked(asyncio.sleep(LOOK_SECONDS))
        except Unavailable as error:
            raise AppendIndeterminate(f"{self.address} does not tell its end.") from error
        raise AppendIndeterminate(f"{self.address} refuses what its end allows.")
