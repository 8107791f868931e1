"""The event log in a Redis stream: Redis 7 and later, Valkey. An entry's id is `<revision>-0`.

`XADD` alone accepts any higher id and a `MULTI` is not undone, so one script on the server compares
the log's end and appends all or nothing. See https://redis.io/docs/latest/commands/xadd/ and
https://redis.io/docs/latest/commands/waitaof/.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

import msgspec
from redis.exceptions import RedisError

from signalbox.server.engines.address import Address
from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.failover import ServerFailover
from signalbox.server.engines.redis import durability, replication, scripts
from signalbox.server.engines.redis.connection import (
    SECONDS,
    ConnectionAbandoned,
    abandoned_if_closed,
    execute,
    max_transaction_bytes,
    new_client,
)
from signalbox.server.engines.redis.errors import appending, connecting, requesting
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    not_durable_message,
    nothing_applied,
)
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import Transaction, decode_all, encode

BLOCK_MS: Final = 1_000
READ_LIMIT: Final = 1_000
READ_BYTES: Final = 1024 * 1024
STATUS_SECONDS: Final = 3.0
"""Between two checks how durable the log is."""
OLDEST_VERSION: Final = 7

Entry = tuple[int, bytes]
"""Revision and payload."""


class RedisLog:
    """See `SharedLog`. `{name}:log` is the stream, `{name}:meta` has the metadata."""

    name = "Redis Streams"

    def __init__(self, address: Address) -> None:
        """The log in the Redis stream that `address` names; not connected yet."""
        self.address = address.redacted
        self.requires_durable = False
        self.status: LogStatus | None = None
        self.max_bytes: int | None = None
        self._address = address
        self._stream = f"{{{address.stream}}}:log"
        self._meta = f"{{{address.stream}}}:meta"
        self._channel = f"{{{address.stream}}}:told"
        self._metadata = b""
        self._server = self.address
        """The address of the server that is connected to, for messages."""
        self._failover = ServerFailover(address)
        self._client: Any = None
        local, _, replicas = address.options.get("wait", "0").partition(",")
        self._wait = int(local), int(replicas or 0)
        self._on_disk = 0
        """Up to this revision the log is on as many disks as `wait=` asks for."""

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        """Connect to one of the address's Redis servers, which must be the master."""
        self.close()
        self.status = self._failover.connect(
            lambda address: self._connect_server(address, metadata)
        )
        return self.status

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        """Append by a script, which compares the last revision of the Redis stream."""
        payloads = [encode(transaction) for transaction in transactions]
        # A connection that gets no answer is closed, so that no other command gets a late one.
        with self._connection() as connection, appending(self.address):
            if last := self._run_script(connection, scripts.APPEND, expected, *payloads):
                raise LogConflict(_revision(last))
            self._wait_for_disk(connection)
            self._on_disk = expected + len(transactions)

    def read(self, after: int, limit: int) -> list[Transaction]:
        """Read transactions of the Redis stream, by a script that checks that it is still ours."""
        with self._connection() as connection, requesting(self.address):
            return decode_all(self._entries(connection, after, limit))

    def last_revision(self) -> int:
        """The newest revision in the Redis stream, whose server still decides."""
        return self.confirmed_revision()

    def confirmed_revision(self) -> int:
        """The last revision of the stream, once replicas and disks have it."""
        with self._connection() as connection, requesting(self.address):
            # `WAITAOF` waits for what its own connection has written, and for all before that.
            last = _revision(self._run_script(connection, scripts.CONFIRM_LAST_ID))
            if self._wait[1] or last != self._on_disk:
                try:
                    self._wait_for_disk(connection)
                except AppendIndeterminate as error:
                    raise Unavailable(str(error)) from error
        self._on_disk = last
        return last

    def follow(
        self, after: int, applied: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        """Read the Redis stream as it grows (XREAD); check now and then that it is still ours."""
        client = self._connected()
        with self._connection() as connection:
            checked_at = status_at = monotonic()
            while client is self._client:
                with requesting(self.address):
                    first = self._next(connection, after)
                    now = monotonic()
                    if now > checked_at + BLOCK_MS / 1000:
                        self._check_still_there(connection, after)
                        checked_at = now
                    if now > status_at + STATUS_SECONDS:
                        self.status = self._read_status(client, after)
                        status_at = now
                if first and (revision := applied()) >= first[-1][0] > after:
                    after = revision
                    yield []
                    continue
                with requesting(self.address):
                    transactions = decode_all(first + self._more(connection, first))
                _check_gapless(transactions, after)
                after += len(transactions)
                yield transactions
        raise self._closed_meanwhile()

    def publish(self, message: bytes) -> None:
        """Send a message to the other nodes by the log's channel (PUBLISH)."""
        with self._connection() as connection, requesting(self.address):
            execute(connection, "PUBLISH", self._channel, message)

    def subscribe(self) -> Iterator[bytes]:
        """Receive other nodes' messages by the log's channel; pings detect a dead connection."""
        client = self._connected()
        subscription = client.pubsub()
        try:
            with requesting(self.address), abandoned_if_closed():
                subscription.subscribe(self._channel)
            received_at = monotonic()
            while client is self._client:
                with requesting(self.address), abandoned_if_closed():
                    message = subscription.get_message(timeout=BLOCK_MS / 1000)
                    if message is None:
                        _check_silence(received_at)
                        subscription.ping()  # which is answered
                        continue
                if message["type"] == "message":
                    yield message["data"]
                received_at = monotonic()
        finally:
            subscription.close()
        raise self._closed_meanwhile()

    def close(self) -> None:
        """Close the connections to Redis; whoever waits for an answer on one gets an error."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # Connecting.

    def _connect_server(self, address: Address, metadata: LogMetadata | None) -> LogStatus:
        """Connect to one of the address's Redis servers, and find or create the stream."""
        client, check = new_client(address)
        try:
            with connecting(address.redacted):
                check.run_id, status = self._find_or_create(client, metadata, address.redacted)
        except BaseException:
            client.close()
            raise
        self._client, self._server = client, address.redacted
        return status

    def _find_or_create(
        self, client: Any, metadata: LogMetadata | None, where: str
    ) -> tuple[str, LogStatus]:
        """Find or create the log on a server that takes writes; the server's run id, the status."""
        server = client.info("server")
        replication.check_no_sentinel(server, where)
        if int(server["redis_version"].split(".")[0]) < OLDEST_VERSION:
            raise StoreError(
                f"{self.address} is Redis {server['redis_version']}; Signalbox needs "
                f"{OLDEST_VERSION} or newer."
            )
        timeout = replication.REPLICA_START_SECONDS if metadata else 0.0
        replication.check_master(client, self._wait[1], where, timeout)
        if metadata:
            self._check_may_create(client, metadata)
        text = msgspec.json.encode(metadata) if metadata else b""
        answer = client.eval(scripts.FIND_OR_CREATE, 2, self._stream, self._meta, text)
        if not answer:
            raise StoreError(f"There is no log at {self.address}.")
        self._metadata, last = answer
        self.max_bytes = max_transaction_bytes(client)
        self._on_disk = 0
        return server["run_id"], self._read_status(client, _revision(last, StoreError))

    def _check_may_create(self, client: Any, metadata: LogMetadata) -> None:
        """Raises `StoreError` where a new stream would not be as durable as is required."""
        phrase, is_durable = durability.durability(client, self._wait, self.address)
        if self.requires_durable and not is_durable:
            status = LogStatus(metadata, 0, phrase, is_durable)
            raise StoreError(not_durable_message(self.address, status))

    def _read_status(self, client: Any, revision: int) -> LogStatus:
        """The status of the log: its metadata, and how durable this Redis server is."""
        found = durability.durability(client, self._wait, self.address)
        return LogStatus(self._decode_metadata(), revision, *found)

    def _decode_metadata(self) -> LogMetadata:
        """The log's metadata in Redis. Raises `StoreError` where they are not ours."""
        try:
            return msgspec.json.decode(self._metadata, type=LogMetadata)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise StoreError(f"What is at {self.address} is no log of this Signalbox.") from error

    def _connected(self) -> Any:
        """The Redis client. Raises `Unavailable` where there is no connection."""
        if self._client is None:
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._client

    def _closed_meanwhile(self) -> Unavailable:
        """The error of `follow` and `subscribe`, whose log was closed meanwhile."""
        return Unavailable(f"The connection to {self.address} was given up.")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of the pool. Where getting one fails, nothing was sent."""
        pool = self._connected().connection_pool
        with requesting(self.address), abandoned_if_closed():
            connection = pool.get_connection()
        try:
            yield connection
        finally:
            pool.release(connection)

    # Commands.

    def _run_script(self, connection: Any, script: str, *arguments: object) -> Any:
        """Run one of `scripts` on the stream and its metadata."""
        keys = self._stream, self._meta
        return execute(connection, "EVAL", script, 2, *keys, self._metadata, *arguments)

    def _wait_for_disk(self, connection: Any) -> None:
        """Where the address asks for it, wait until the disks have what the memory has."""
        if not any(self._wait):
            return
        try:
            reached = execute(connection, "WAITAOF", *self._wait, int(SECONDS * 900))
        except RedisError as error:
            raise AppendIndeterminate(
                f"{self.address} has it, but perhaps in memory only."
            ) from error
        if any(number < wanted for number, wanted in zip(reached, self._wait, strict=True)):
            raise AppendIndeterminate(
                f"{self.address} has it, but not yet on as many disks as wait= asks."
            )

    def _next(self, connection: Any, after: int) -> list[Entry]:
        """The next entries as soon as there are any; none after a while in which none came.

        Two at once, since there are hardly ever more.
        """
        options = "COUNT", 2, "BLOCK", BLOCK_MS, "STREAMS", self._stream, f"{after}-0"
        streams = execute(connection, "XREAD", *options)
        return [_entry(*entry) for entry in streams[0][1]] if streams else []

    def _more(self, connection: Any, first: list[Entry]) -> list[Entry]:
        """The entries after `first`, where there may be any. The log must still be ours."""
        if len(first) == 2:
            return self._entries(connection, first[-1][0], READ_LIMIT)
        if first:
            self._run_script(connection, scripts.CHECK_LOG)
        return []

    def _entries(self, connection: Any, after: int, limit: int) -> list[Entry]:
        """The next entries of the Redis stream; little more than `READ_BYTES` of them."""
        entries = self._run_script(connection, scripts.READ, after, limit, READ_BYTES)
        return [_entry(*entry) for entry in entries]

    def _check_still_there(self, connection: Any, after: int) -> None:
        """Raises `Unavailable` if the log is shorter, or its server decides no longer."""
        replication.check_master(self._connected(), self._wait[1], self._server)
        if _revision(self._run_script(connection, scripts.LAST_ID)) < after:
            raise Unavailable(f"The log at {self.address} has lost revision {after}.")


def _entry(identity: bytes, fields: list[bytes]) -> Entry:
    """Revision and payload of an entry of the stream; one of others has an empty payload."""
    number, _, part = identity.partition(b"-")
    is_ours = part == b"0" and fields[::2] == [b"t"]
    return int(number), fields[1] if is_ours else b""


def _revision(identity: bytes, error: type[Exception] = Unavailable) -> int:
    """The revision of an entry's id. Raises `error` for an entry that is none of ours."""
    number, _, part = identity.decode().partition("-")
    if part != "0":
        raise error(f"The log ends with {number}-{part}, which Signalbox has not written.")
    return int(number)


def _check_gapless(transactions: list[Transaction], after: int) -> None:
    """Raises `Unavailable` where the entries of the stream are not the next revisions."""
    for number, transaction in enumerate(transactions, start=after + 1):
        if transaction.revision != number:
            raise Unavailable(
                f"The log has revision {transaction.revision} where {number} was next."
            )


def _check_silence(received_at: float) -> None:
    """Raises where not even a heartbeat has come over a subscription for so long."""
    if monotonic() > received_at + SECONDS:
        raise ConnectionAbandoned("nothing came any more")
