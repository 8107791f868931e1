"""The event log in a NATS JetStream stream. A message's sequence is the revision.

The server compares each append with the stream's last sequence; many transactions are one atomic
batch (NATS 2.12, ADR-50), or on an older server a chain in which each message also names its
predecessor. See https://docs.nats.io/nats-concepts/jetstream/headers; ADR-50 is NATS's own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

import nats.errors

from signalbox.server.engines.address import Address
from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.failover import ServerFailover
from signalbox.server.engines.jetstream import durability
from signalbox.server.engines.jetstream.api import Answer, request
from signalbox.server.engines.jetstream.append import Appender, PublishResult
from signalbox.server.engines.jetstream.asyncio_greenlet import AsyncioGreenlet
from signalbox.server.engines.jetstream.connection import (
    CONNECTION_ERRORS,
    Connection,
    close_connection,
    open_connection,
)
from signalbox.server.engines.jetstream.quorum import check_majority, confirmed_answer
from signalbox.server.engines.jetstream.read import OrderedConsumer, read_direct, read_one_by_one
from signalbox.server.engines.jetstream.stream_setup import (
    find_or_create_stream,
    transactions_subject,
)
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    Partitioned,
    nothing_applied,
)
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction, decode_all
from signalbox.server.runtime.error_messages import reason

HEADER_BYTES: Final = 512
"""Reserved in a message for its headers."""
MAX_BATCH: Final = 1_000
MAX_UNREAD_MESSAGES: Final = 1_000
"""Published messages that wait to be read; beyond, the oldest are lost."""
CHECK_SECONDS: Final = 1.0
"""Between two checks whether the followed stream is still the log, and how durable it is."""
CONFLICT_POLLS: Final = 20
CONFLICT_POLL_SECONDS: Final = 0.01
"""A cluster also refuses because of an append that a majority does not have yet."""

Result = TypeVar("Result")


class JetStreamLog:
    """See `SharedLog`. Transactions have the subject `<name>.log.<store>`, messages `<name>.told`.

    With the store's id in it, a transaction never gets into a log that has replaced this one.
    """

    name = "NATS JetStream"

    def __init__(self, address: Address) -> None:
        """The log in the JetStream stream that `address` names; not connected yet."""
        self.address = address.redacted
        self.requires_durable = False
        self.status: LogStatus | None = None
        self.max_bytes: int | None = None
        self._address = address
        self._server = self.address
        """The address of the server that is connected to, for messages."""
        self._failover = ServerFailover(address)
        self._stream = address.stream
        self._subject = ""
        self._loop: AsyncioGreenlet | None = None
        self._client: Connection | None = None
        self._highest_seen = 0
        """The highest revision that the log is known to have."""
        self._asks_flushing = True
        self._appender: Appender | None = None

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        """Connect to one of the address's NATS servers, in the asyncio loop of this thread."""
        self.close()
        self._loop = AsyncioGreenlet.of_hub()
        self.status = self._failover.connect(
            lambda address: self._connect_server(address, metadata)
        )
        return self.status

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """Append messages to the stream; raises `AppendIndeterminate` where no answer came."""
        if len(transactions) > MAX_BATCH:
            raise ValueError(f"{len(transactions)} transactions are too many for one append.")
        self._connected().forget_complaint()
        try:
            assert self._appender is not None
            results = self._run(self._appender.append(transactions, expected))
        except Unavailable:
            raise  # nothing was sent, or not the end of it
        except Exception as error:
            raise AppendIndeterminate(
                f"{self.address} has not answered: {reason(error)}."
            ) from error
        self._check_appended(results, transactions, expected)

    def read(self, after: int, limit: int) -> list[Transaction]:
        """Read messages of the stream: those that a follower lacks from the leader."""
        client = self._connected()
        messages, is_end = self._request(read_direct(client, self._stream, after, limit))
        last = messages[-1][0] if messages else after
        if is_end or not messages:
            # A follower of the cluster has answered that does not have the end yet; or the next one
            # is too large to come with others.
            end = min(self._highest_seen, after + limit) if is_end else last + 1
            sequences = range(last + 1, end + 1)
            messages += self._request(read_one_by_one(client, self._stream, sequences))
        return decode_all(messages)

    def last_revision(self) -> int:
        """The stream's last sequence, by a leader that a majority follows."""
        answer = self._request(self._info(self._connected()))
        check_majority(answer, self._server)
        return self._seen(answer.last_sequence)

    def confirmed_revision(self) -> int:
        """The stream's last sequence, once no other leader can have a later one."""
        client = self._connected()
        answer = self._request(confirmed_answer(lambda: self._info(client), self._server))
        return self._seen(answer.last_sequence)

    def follow(
        self, after: int, applied: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        """Read the stream by a consumer; from time to time check that the log is still there."""
        consumer = OrderedConsumer(self._connected(), self._stream, after)
        checked_at = monotonic()
        while True:
            messages = self._request(consumer.next())
            if monotonic() > checked_at + CHECK_SECONDS:
                self._check_still_there(after)
                checked_at = monotonic()
            if messages and applied() >= messages[-1][0]:
                after = messages[-1][0]
                yield []
                continue
            transactions = decode_all(messages)
            for number, transaction in enumerate(transactions, start=after + 1):
                if transaction.revision != number:
                    raise Unavailable(
                        f"{self.address} gave revision {transaction.revision} "
                        f"where {number} was next."
                    )
            after = self._seen(after + len(transactions))
            yield transactions

    def publish(self, message: bytes) -> None:
        """Send a message to the other nodes by a subject that the stream does not store."""
        self._request(self._connected().publish(f"{self._stream}.told", message))

    def subscribe(self) -> Iterator[bytes]:
        """Receive other nodes' messages by NATS."""
        client = self._connected()
        queue = self._request(client.open_queue(f"{self._stream}.told", MAX_UNREAD_MESSAGES))
        try:
            while True:
                yield self._request(queue.next()).data
        finally:
            with suppress(Unavailable):
                self._request(queue.unsubscribe())

    def close(self) -> None:
        """Close the connection to NATS, and leave the asyncio loop."""
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            if client is not None:
                loop.run(close_connection(client))
        finally:
            loop.close()

    # Connecting.

    def _connect_server(self, address: Address, metadata: LogMetadata | None) -> LogStatus:
        """Connect to one of the address's servers. Raises `Unavailable` or `StoreError`."""
        self._server = address.redacted
        try:
            return self._run(self._open(address, metadata))
        except CONNECTION_ERRORS as error:
            raise Unavailable(f"{self._server} cannot be reached: {reason(error)}.") from error

    async def _open(self, address: Address, metadata: LogMetadata | None) -> LogStatus:
        """Connect to the NATS server, find or create the stream, and read the log's status."""
        client = await open_connection(address)
        try:
            await find_or_create_stream(client, address, metadata, self.requires_durable)
            answer = await self._info(client)
            # A partitioned server may know an earlier end of the log: that is no loss.
            check_majority(answer, self._server)
            self._asks_flushing = True
            status = await self._read_status(client, answer)
            await self._open_appender(client, answer, status.metadata)
        except BaseException:
            await close_connection(client)
            raise
        self._client = client
        return status

    async def _open_appender(
        self, client: Connection, answer: Answer, metadata: LogMetadata
    ) -> None:
        """Prepare appending to the stream with what its configuration allows."""
        self._subject = transactions_subject(self._address, metadata.store)
        self.max_bytes = client.max_payload - HEADER_BYTES
        # Replicas of NATS 2.15 fail for good where a message names its predecessor.
        may_chain = answer.config.get("num_replicas") == 1
        is_atomic = bool(answer.config.get("allow_atomic"))
        self._appender = Appender(client, self._subject, may_chain, is_atomic)
        await self._appender.open()
        self._highest_seen = answer.last_sequence

    def _connected(self) -> Connection:
        """The connection to the NATS server. Raises `Unavailable` where there is none."""
        if self._client is None or not self._client.is_connected:
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._client

    # Requests.

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the asyncio loop of the NATS client; its result."""
        if self._loop is None:
            work.close()
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._loop.run(work)

    def _request(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine that appends nothing. Raises `Unavailable` if no answer comes."""
        try:
            return self._run(work)
        except CONNECTION_ERRORS as error:
            raise Unavailable(f"{self.address} does not answer: {reason(error)}.") from error

    async def _info(self, client: Connection) -> Answer:
        """The stream's info. Raises `Partitioned` if the server has none."""
        answer = await request(client, f"STREAM.INFO.{self._stream}")
        if answer.error:
            raise Partitioned(f"{self._server} has no information about the log: {answer.error}.")
        return answer

    async def _read_status(self, client: Connection, answer: Answer) -> LogStatus:
        """The log's status; a server that does not answer how it flushes is asked that once."""
        metadata = answer.metadata(self.address)
        status = await durability.log_status(client, answer, metadata, self._asks_flushing)
        self._asks_flushing = status.durability != durability.FLUSHING_UNKNOWN
        return status

    def _seen(self, revision: int) -> int:
        """Note the highest revision that the stream is known to have; the revision."""
        self._highest_seen = max(self._highest_seen, revision)
        return revision

    def _check_still_there(self, after: int) -> None:
        """Raises where the stream gives no more: no leader with a majority, or another log."""
        client = self._connected()
        answer = self._request(self._info(client))
        check_majority(answer, self._server)
        if answer.last_sequence < after:
            raise Unavailable(f"{self.address} has no revision {after} now.")
        self.status = self._request(self._read_status(client, answer))

    # The results of an append.

    def _check_appended(
        self,
        results: Sequence[PublishResult],
        transactions: Sequence[Transaction],
        expected: int,
    ) -> None:
        """Raises unless all are stored directly after `expected`: as `SharedLog.append`."""
        last = expected + len(transactions)
        if all(isinstance(result, Answer) and not result.error for result in results) and (
            isinstance(results[-1], Answer) and results[-1].seq == last
        ):
            self._seen(last)
            return
        if any(isinstance(result, Answer) and not result.error for result in results):
            raise AppendIndeterminate(f"{self.address} has stored a part.")
        if all(isinstance(result, nats.errors.NoRespondersError) for result in results):
            raise Unavailable(f"{self.address} has no JetStream that takes it now.")
        for result in results:
            if isinstance(result, Exception):
                self._check_permitted()
                raise AppendIndeterminate(f"{self.address} has not answered: {reason(result)}.")
        first = results[0]
        assert isinstance(first, Answer)
        if first.is_conflict:
            raise LogConflict(self._end_after_conflict(expected))
        raise Unavailable(f"{self.address} has not taken it: {first.error}.")

    def _check_permitted(self) -> None:
        """Raises `Unavailable` if the user may not publish: then nothing is stored."""
        if self._client and self._client.lacks_permission(self._subject):
            raise Unavailable(
                f"{self.address} does not let this user write: it lacks the permission to publish "
                f"to {self._subject}."
            )

    def _end_after_conflict(self, expected: int) -> int:
        """The log's last revision, which is not `expected`, or soon will not be."""
        try:
            for _ in range(CONFLICT_POLLS):
                if (actual := self.last_revision()) != expected:
                    return actual
                self._request(asyncio.sleep(CONFLICT_POLL_SECONDS))
        except Unavailable as error:
            raise AppendIndeterminate(
                f"{self.address} did not report its last revision."
            ) from error
        raise AppendIndeterminate(f"{self.address} rejected an append at its own last revision.")
