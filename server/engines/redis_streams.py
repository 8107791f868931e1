"""The event log in a Redis stream: Redis 7 and later, Valkey. An entry's id is `<revision>-0`.

`XADD` alone accepts any higher id and a `MULTI` is not undone, so one script on the server compares
the log's end and appends all or nothing. See https://redis.io/docs/latest/commands/xadd/ and
https://redis.io/docs/latest/commands/waitaof/.
"""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as Unreachable,
)
from redis.exceptions import (
    TimeoutError as TimedOut,
)
from redis.retry import Retry

from server.engines import redis_durability
from server.engines.address import Address
from server.engines.base import Foundation, LogConflict, Standing, Unsettled
from server.errors import StoreError, Unavailable
from server.events import Transaction, decode_all, encode

SECONDS: Final = 3.0
"""For connecting, and for each answer."""
BLOCK_MS: Final = 1_000
FIRST: Final = 64
"""Entries that are asked for while nobody knows how large they are."""
PIECE: Final = 1_000
PIECE_BYTES: Final = 1024 * 1024
OLDEST: Final = 7

_FOUND: Final = """
local foundation = redis.call('HGET', KEYS[2], 'foundation')
if foundation or ARGV[1] == '' then return foundation end
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('FOREIGN') end
redis.call('HSET', KEYS[2], 'foundation', ARGV[1])
return ARGV[1]
"""
_LAST: Final = """
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
"""
_APPEND: Final = (
    """
if redis.call('HGET', KEYS[2], 'foundation') ~= ARGV[1] then
    return redis.error_reply('REPLACED')
end
"""
    + _LAST
    + """
if last ~= ARGV[2] .. '-0' then return last end
for i = 3, #ARGV do
    redis.call('XADD', KEYS[1], string.format('%.0f-0', tonumber(ARGV[2]) + i - 2), 't', ARGV[i])
end
return ''
"""
)
"""Revisions stay below 2**53, up to which Lua's numbers are exact."""


class RedisLog:
    """See `SharedLog`. `{name}:log` is the stream, `{name}:meta` has the foundation."""

    name = "Redis Streams"
    max_bytes = None

    def __init__(self, address: Address) -> None:
        self.address = address.shown
        self._address = address
        self._log = f"{{{address.stream}}}:log"
        self._meta = f"{{{address.stream}}}:meta"
        self._channel = f"{{{address.stream}}}:told"
        self._foundation = b""
        self._client: Any = None
        self._listeners: set[Any] = set()
        local, _, replicas = address.options.get("wait", "").partition(",")
        self._wait = (int(local or 0), int(replicas or 0)) if local else None

    def connect(self, foundation: Foundation | None) -> Standing:
        self.close()
        problem = "there is no host"
        for host, port in self._address.hosts:
            client = self._open(host.strip("[]"), port)
            try:
                with self._explained():
                    return self._join(client, foundation)
            except Unavailable as error:
                client.close()
                problem = str(error)
            except BaseException:
                client.close()
                raise
        raise Unavailable(problem)

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        payloads = [encode(one) for one in transactions]
        client = self._connected()
        keys = (self._log, self._meta)
        # A connection of its own, closed whenever its answer has not come: a late one is nobody's.
        with client.client() as connection, self._settling():
            last = connection.eval(_APPEND, 2, *keys, self._foundation, expected, *payloads)
            if last:
                raise LogConflict(_revision(last))
            self._await_disk(connection)

    def read(self, after: int, limit: int) -> list[Transaction]:
        client, found, size, count = self._connected(), list[Transaction](), 0, 16
        with self._reading():
            while len(found) < limit and size < PIECE_BYTES:
                last = found[-1].revision if found else after
                wanted = min(count, limit - len(found))
                entries = client.xrange(self._log, f"({last}-0", "+", wanted)
                read = _decoded(entries)
                found += read
                size += sum(len(fields[b"t"]) for _, fields in entries)
                if len(read) < wanted:
                    break
                # As many as the bytes that are left may take, judged by those so far.
                count = max(1, min(PIECE, (PIECE_BYTES - size) * len(found) // max(size, 1)))
        return found

    def last_revision(self) -> int:
        client = self._connected()
        with self._reading():
            return _revision(client.eval(_LAST + "return last", 1, self._log))

    def follow(self, after: int) -> Iterator[list[Transaction]]:
        client = self._connected()
        with client.client() as connection:
            while client is self._client:
                with self._reading():
                    piece = self._next(connection, after)
                if piece:
                    _check_gapless(piece, after)
                    after = piece[-1].revision
                yield piece
        raise Unavailable(f"The connection to {self.address} was given up.")

    def tell(self, message: bytes) -> None:
        client = self._connected()
        with self._reading():
            client.publish(self._channel, message)

    def hear(self) -> Iterator[bytes]:
        listener = self._connected().pubsub(ignore_subscribe_messages=True)
        self._listeners.add(listener)
        try:
            with self._reading():
                listener.subscribe(self._channel)
            while listener in self._listeners:
                with self._reading():
                    message = listener.get_message(timeout=BLOCK_MS / 1000)
                    if message is None:
                        listener.ping()  # its answer, or none, tells whether anybody is there
                if message and message["type"] == "message":
                    yield message["data"]
        finally:
            self._listeners.discard(listener)
            listener.close()
        raise Unavailable(f"The connection to {self.address} was given up.")

    def close(self) -> None:
        self._listeners.clear()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()
            client.connection_pool.disconnect()

    # Connecting.

    def _open(self, host: str, port: int) -> Any:
        options: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": self._address.database,
            "username": self._address.user,
            "password": self._address.password,
            "socket_timeout": SECONDS,
            "socket_connect_timeout": SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        if self._address.is_encrypted:
            given = self._address.options
            options |= {
                "ssl": True,
                "ssl_ca_certs": given.get("ca"),
                "ssl_certfile": given.get("cert"),
                "ssl_keyfile": given.get("key"),
                "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            }
        return redis.Redis(**options)

    def _join(self, client: Any, foundation: Foundation | None) -> Standing:
        """Found or find the log with a server that takes writes."""
        version = client.info("server")["redis_version"]
        if int(version.split(".")[0]) < OLDEST:
            raise StoreError(
                f"{self.address} is Redis {version}; Signalbox needs {OLDEST} or newer."
            )
        if client.role()[0] not in (b"master", "master"):
            raise Unavailable(f"{self.address} is a replica, which takes no writes.")
        durability, is_durable = redis_durability.told(client, self._wait, self.address)
        text = msgspec.json.encode(foundation) if foundation else b""
        found = client.eval(_FOUND, 2, self._log, self._meta, text)
        if found is None:
            raise StoreError(f"There is no log at {self.address} any more.")
        self._foundation = found
        self._client = client
        return Standing(
            msgspec.json.decode(found, type=Foundation),
            self.last_revision(),
            durability,
            is_durable,
        )

    def _connected(self) -> Any:
        if self._client is None:
            raise Unavailable(f"There is no connection to {self.address}.")
        return self._client

    # Appending and following.

    def _await_disk(self, connection: Any) -> None:
        """What is in memory only is not acknowledged yet, where the address says so."""
        if self._wait is None:
            return
        reached = connection.execute_command("WAITAOF", *self._wait, int(SECONDS * 900))
        if any(got < wanted for got, wanted in zip(reached, self._wait, strict=True)):
            raise Unsettled(f"{self.address} has it, but not yet on as many disks as wait= asks.")

    def _next(self, connection: Any, after: int) -> list[Transaction]:
        found = connection.xread({self._log: f"{after}-0"}, count=FIRST, block=BLOCK_MS)
        if not found:
            self._check_still_there(connection, after)
            return []
        (_, entries), *_ = found
        piece = _decoded(entries)
        self._check_ours(connection)
        if len(piece) == FIRST:
            piece += self.read(piece[-1].revision, PIECE)
        return piece

    def _check_still_there(self, connection: Any, after: int) -> None:
        """Whoever waits for more must notice that there is less."""
        self._check_ours(connection)
        if _revision(connection.eval(_LAST + "return last", 1, self._log)) < after:
            raise Unavailable(f"The log at {self.address} has lost revision {after}.")

    def _check_ours(self, connection: Any) -> None:
        """Asked behind what was read: that was ours then as well."""
        if connection.hget(self._meta, "foundation") != self._foundation:
            raise Unavailable(f"The log at {self.address} was removed or replaced.")

    # What errors mean.

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """While connecting."""
        try:
            yield
        except (AuthenticationError, NoPermissionError, AuthorizationError) as error:
            raise StoreError(
                f"{self.address} refuses these credentials: {_said(error)}."
            ) from error
        except ResponseError as error:
            if "NOAUTH" in str(error) or "WRONGPASS" in str(error):
                raise StoreError(f"{self.address} wants credentials: {_said(error)}.") from error
            if isinstance(error, ReadOnlyError):
                raise Unavailable(f"{self.address} takes no writes: {_said(error)}.") from error
            raise StoreError(
                f"What is at {self.address} is no log of Signalbox: {error}."
            ) from error
        except RedisError as error:
            raise Unavailable(f"{self.address} cannot be reached: {_said(error)}.") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """While nothing is written."""
        try:
            yield
        except StoreError:
            raise
        except (RedisError, OSError, ValueError) as error:
            # A connection that is closed meanwhile is a ValueError in places.
            raise Unavailable(f"{self.address} does not answer: {_said(error)}.") from error

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """While something is appended: an answer settles it, none leaves it open."""
        try:
            yield
        except BusyLoadingError as error:
            raise Unavailable(f"{self.address} is starting: {_said(error)}.") from error
        except ResponseError as error:
            raise Unavailable(f"{self.address} has not taken it: {_said(error)}.") from error
        except (Unreachable, TimedOut, OSError) as error:
            raise Unsettled(f"{self.address} has not answered: {_said(error)}.") from error
        except RedisError as error:
            raise Unavailable(f"{self.address} has not taken it: {_said(error)}.") from error


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _revision(identity: bytes) -> int:
    """Raises `StoreError` for an entry that is none of ours."""
    number, _, part = identity.decode().partition("-")
    if part != "0":
        raise StoreError(
            f"The log has an entry {identity.decode()} that Signalbox has not written."
        )
    return int(number)


def _decoded(entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Transaction]:
    return decode_all((_revision(identity), fields[b"t"]) for identity, fields in entries)


def _check_gapless(piece: list[Transaction], after: int) -> None:
    for number, one in enumerate(piece, start=after + 1):
        if one.revision != number:
            raise Unavailable(f"The log has revision {one.revision} where {number} was next.")
