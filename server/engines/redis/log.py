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
from signalbox.server.engines.base import AppendIndeterminate, LogConflict
from signalbox.server.engines.failover import ServerFailover
from signalbox.server.engines.redis import durability, replication
from signalbox.server.engines.redis.connection import (
    FOREIGN,
    REPLACED,
    SECONDS,
    Broken,
    appending,
    ask,
    asking,
    connecting,
    largest,
    opened,
    unless_closed,
)
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    not_durable_message,
    nothing_applied,
)
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import Transaction, decode_all, encode

BLOCK_MS: Final = 1_000
PIECE: Final = 1_000
PIECE_BYTES: Final = 1024 * 1024
CHECK_SECONDS: Final = 3.0
"""Between two looks at how durable the log is."""
OLDEST: Final = 7

# All scripts: KEYS are the stream and the hash with the foundation; ARGV[1] is the foundation.

_LAST: Final = """
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
"""
_FOUND: Final = f"""
local foundation = redis.call('HGET', KEYS[2], 'foundation')
if not foundation then
    if ARGV[1] == '' then return {{}} end
    if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('{FOREIGN}') end
    redis.call('HSET', KEYS[2], 'foundation', ARGV[1])
    foundation = ARGV[1]
end
{_LAST}
return {{foundation, last}}
"""
_OURS: Final = f"""
if redis.call('HGET', KEYS[2], 'foundation') ~= ARGV[1] then
    return redis.error_reply('{REPLACED}')
end
"""
_APPEND: Final = f"""
{_OURS} {_LAST}
if last ~= ARGV[2] .. '-0' then return last end
for i = 3, #ARGV do
    redis.call('XADD', KEYS[1], string.format('%.0f-0', tonumber(ARGV[2]) + i - 2), 't', ARGV[i])
end
return ''
"""
"""Revisions stay below 2**53, up to which Lua's numbers are exact."""
_READ: Final = f"""
{_OURS}
local found, size, at = {{}}, 0, ARGV[2] .. '-0'
while #found < tonumber(ARGV[3]) and size < tonumber(ARGV[4]) do
    local entry = redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', 1)[1]
    if not entry then break end
    at = entry[1]
    found[#found + 1] = entry
    size = size + #entry[2][2]
end
return found
"""
_LOOK: Final = f"""
{_OURS} {_LAST}
return last
"""
_END: Final = f"""
{_OURS} {_LAST}
redis.call('HSET', KEYS[2], 'asked', last)
return last
"""
"""Writes, since only that shows that this server still decides: a replica takes no writes, nor does
a master that lacks the replicas of its `min-replicas-to-write`."""


class RedisLog:
    """See `SharedLog`. `{name}:log` is the stream, `{name}:meta` has the foundation."""

    name = "Redis Streams"

    def __init__(self, address: Address) -> None:
        self.address = address.redacted
        self.requires_durable = False
        self.status: LogStatus | None = None
        self.max_bytes: int | None = None
        self._address = address
        self._log = f"{{{address.stream}}}:log"
        self._meta = f"{{{address.stream}}}:meta"
        self._channel = f"{{{address.stream}}}:told"
        self._foundation = b""
        self._where = self.address
        self._failover = ServerFailover(address)
        self._client: Any = None
        local, _, replicas = address.options.get("wait", "0").partition(",")
        self._wait = int(local), int(replicas or 0)
        self._settled = 0
        """Up to this revision the log is on as many disks as `wait=` asks for."""

    def connect(self, metadata: LogMetadata | None) -> LogStatus:
        self.close()
        self.status = self._failover.connect(lambda one: self._joined(one, metadata))
        return self.status

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        payloads = [encode(one) for one in transactions]
        # A connection of its own, closed where its answer has not come: a late one is nobody's.
        with self._connection() as connection, appending(self.address):
            if last := self._run(connection, _APPEND, expected, *payloads):
                raise LogConflict(_own(last))
            self._await_disk(connection)
            self._settled = expected + len(transactions)

    def read(self, after: int, limit: int) -> list[Transaction]:
        with self._connection() as connection, asking(self.address):
            return decode_all(self._entries(connection, after, limit))

    def last_revision(self) -> int:
        return self.confirmed_revision()

    def confirmed_revision(self) -> int:
        with self._connection() as connection, asking(self.address):
            # `WAITAOF` waits for what its own connection has written, and for all before that.
            last = _own(self._run(connection, _END))
            if self._wait[1] or last != self._settled:
                try:
                    self._await_disk(connection)
                except AppendIndeterminate as error:
                    raise Unavailable(str(error)) from error
        self._settled = last
        return last

    def follow(
        self, after: int, applied: Callable[[], int] = nothing_applied
    ) -> Iterator[list[Transaction]]:
        client = self._connected()
        with self._connection() as connection:
            checked = told = monotonic()
            while client is self._client:
                with asking(self.address):
                    first = self._next(connection, after)
                    now = monotonic()
                    if now > checked + BLOCK_MS / 1000:
                        self._check_still_there(connection, after)
                        checked = now
                    if now > told + CHECK_SECONDS:
                        self.status = self._stand(client, after)
                        told = now
                if first and (there := applied()) >= first[-1][0] > after:
                    after = there
                    yield []
                    continue
                with asking(self.address):
                    piece = decode_all(first + self._behind(connection, first))
                _check_gapless(piece, after)
                after += len(piece)
                yield piece
        raise self._given_up()

    def publish(self, message: bytes) -> None:
        with self._connection() as connection, asking(self.address):
            ask(connection, "PUBLISH", self._channel, message)

    def subscribe(self) -> Iterator[bytes]:
        client = self._connected()
        listener = client.pubsub()
        try:
            with asking(self.address), unless_closed():
                listener.subscribe(self._channel)
            heard = monotonic()
            while client is self._client:
                with asking(self.address), unless_closed():
                    message = listener.get_message(timeout=BLOCK_MS / 1000)
                    if message is None:
                        _check_heard(heard)
                        listener.ping()  # which is answered
                        continue
                if message["type"] == "message":
                    yield message["data"]
                heard = monotonic()
        finally:
            listener.close()
        raise self._given_up()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # Connections.

    def _joined(self, one: Address, metadata: LogMetadata | None) -> LogStatus:
        client, begin = opened(one)
        try:
            with connecting(one.redacted):
                begin.run, status = self._join(client, metadata, one.redacted)
        except BaseException:
            client.close()
            raise
        self._client, self._where = client, one.redacted
        return status

    def _join(self, client: Any, metadata: LogMetadata | None, where: str) -> tuple[str, LogStatus]:
        """Found or find the log with a server that takes writes; which run of it this is."""
        server = client.info("server")
        replication.check_store(server, where)
        if int(server["redis_version"].split(".")[0]) < OLDEST:
            raise StoreError(
                f"{self.address} is Redis {server['redis_version']}; Signalbox needs {OLDEST} or "
                "newer."
            )
        patience = replication.JOINING_SECONDS if metadata else 0.0
        replication.check_master(client, self._wait[1], where, patience)
        if metadata:
            self._check_may_found(client, metadata)
        text = msgspec.json.encode(metadata) if metadata else b""
        found = client.eval(_FOUND, 2, self._log, self._meta, text)
        if not found:
            raise StoreError(f"There is no log at {self.address}.")
        self._foundation, last = found
        self.max_bytes = largest(client)
        self._settled = 0
        return server["run_id"], self._stand(client, _own(last, StoreError))

    def _check_may_found(self, client: Any, metadata: LogMetadata) -> None:
        told = durability.told(client, self._wait, self.address)
        status = LogStatus(metadata, 0, *told)
        if self.requires_durable and not status.is_durable:
            raise StoreError(not_durable_message(self.address, status))

    def _stand(self, client: Any, revision: int) -> LogStatus:
        told = durability.told(client, self._wait, self.address)
        return LogStatus(self._founded(), revision, *told)

    def _founded(self) -> LogMetadata:
        try:
            return msgspec.json.decode(self._foundation, type=LogMetadata)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise StoreError(f"What is at {self.address} is no log of this Signalbox.") from error

    def _connected(self) -> Any:
        if self._client is None:
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._client

    def _given_up(self) -> Unavailable:
        return Unavailable(f"The connection to {self.address} was given up.")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """One from the pool, connected. Nothing was sent where that fails."""
        pool = self._connected().connection_pool
        with asking(self.address), unless_closed():
            connection = pool.get_connection()
        try:
            yield connection
        finally:
            pool.release(connection)

    # What is asked.

    def _run(self, connection: Any, script: str, *arguments: object) -> Any:
        keys = self._log, self._meta
        return ask(connection, "EVAL", script, 2, *keys, self._foundation, *arguments)

    def _await_disk(self, connection: Any) -> None:
        """What is in memory only is not acknowledged yet, where the address says so."""
        if not any(self._wait):
            return
        try:
            reached = ask(connection, "WAITAOF", *self._wait, int(SECONDS * 900))
        except RedisError as error:
            raise AppendIndeterminate(
                f"{self.address} has it, but perhaps in memory only."
            ) from error
        if any(got < wanted for got, wanted in zip(reached, self._wait, strict=True)):
            raise AppendIndeterminate(
                f"{self.address} has it, but not yet on as many disks as wait= asks."
            )

    def _next(self, connection: Any, after: int) -> list[tuple[int, bytes]]:
        """What follows, as soon as something does; nothing after a while in which nothing came.

        Two at once, since there is hardly ever more.
        """
        wanted = "COUNT", 2, "BLOCK", BLOCK_MS, "STREAMS", self._log, f"{after}-0"
        found = ask(connection, "XREAD", *wanted)
        return [_entry(*entry) for entry in found[0][1]] if found else []

    def _behind(self, connection: Any, first: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """What more there is, as much of it as a piece may be. The log must still be ours."""
        if len(first) == 2:
            return self._entries(connection, first[-1][0], PIECE)
        if first:
            self._run(connection, _OURS)
        return []

    def _entries(self, connection: Any, after: int, limit: int) -> list[tuple[int, bytes]]:
        """No more than `PIECE_BYTES` and the one that goes beyond them."""
        found = self._run(connection, _READ, after, limit, PIECE_BYTES)
        return [_entry(*entry) for entry in found]

    def _check_still_there(self, connection: Any, after: int) -> None:
        """Whoever waits for more must notice that there is less, or that no more will come."""
        replication.check_master(self._connected(), self._wait[1], self._where)
        if _own(self._run(connection, _LOOK)) < after:
            raise Unavailable(f"The log at {self.address} has lost revision {after}.")


def _entry(identity: bytes, fields: list[bytes]) -> tuple[int, bytes]:
    """Revision and payload. What is none of ours has an empty payload, which nothing decodes."""
    number, _, part = identity.partition(b"-")
    is_ours = part == b"0" and fields[::2] == [b"t"]
    return int(number), fields[1] if is_ours else b""


def _own(identity: bytes, foreign: type[Exception] = Unavailable) -> int:
    """The revision. Raises `foreign` for an entry that is none of ours."""
    number, _, part = identity.decode().partition("-")
    if part != "0":
        raise foreign(f"The log ends with {number}-{part}, which Signalbox has not written.")
    return int(number)


def _check_gapless(piece: list[Transaction], after: int) -> None:
    for number, one in enumerate(piece, start=after + 1):
        if one.revision != number:
            raise Unavailable(f"The log has revision {one.revision} where {number} was next.")


def _check_heard(last: float) -> None:
    if monotonic() > last + SECONDS:
        raise Broken("nothing came any more")
