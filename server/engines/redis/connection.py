"""Connections to a Redis server: opening one, sending a command over it, reading its settings."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from signalbox.server.engines.address import Address
from signalbox.server.engines.shared_log import BYTES_A_SECOND
from signalbox.server.engines.tls_certificates import load_certificates
from signalbox.server.model.decide import MAX_TRANSACTION_BYTES
from signalbox.server.runtime.error_messages import ReadableError

SECONDS: Final = 3.0
"""For connecting, and for each answer."""
PART_BYTES: Final = 64 * 1024
COMMAND_BYTES: Final = 64 * 1024
"""More than a command has besides its arguments."""


class ConnectionAbandoned(ReadableError, RedisConnectionError):
    """A connection that this client gives up."""


class RunIdCheck:
    """Opens each connection of a pool: only to the run of the server that the log was found on.

    After a restart the log may end earlier. Only `RedisLog.connect` finds that out.
    """

    run_id = ""

    def __call__(self, connection: Any) -> None:
        """redis-py's `redis_connect_func`. Raises where the server was started anew meanwhile."""
        connection.on_connect()
        if self.run_id:
            connection.send_command("INFO", "server")
            if f"run_id:{self.run_id}".encode() not in connection.read_response():
                raise ConnectionAbandoned("it was started anew")


def new_client(address: Address) -> tuple[Any, RunIdCheck]:
    """A client of the address's one host, which connects when it is used, and retries nothing.

    Raises `StoreError` if its certificate files cannot be read.
    """
    check, ((host, port),) = RunIdCheck(), address.hosts
    options: dict[str, Any] = {
        "host": host.strip("[]"),
        "port": port,
        "db": address.database,
        "username": address.user,
        "password": address.password,
        "socket_timeout": SECONDS,
        "socket_connect_timeout": SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
        "redis_connect_func": check,
    }
    if address.is_encrypted:
        # The client's own error does not name the file.
        load_certificates(ssl.create_default_context(), address.options)
        options |= {
            "ssl": True,
            "ssl_ca_certs": address.options.get("ca"),
            "ssl_certfile": address.options.get("cert"),
            "ssl_keyfile": address.options.get("key"),
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }
    return redis.Redis(**options), check


@contextmanager
def abandoned_if_closed() -> Iterator[None]:
    """Raises `ConnectionAbandoned` if another greenlet closes the connection in use.

    The client then fails on attributes that it has deleted.
    """
    try:
        yield
    except (AttributeError, ValueError) as error:
        raise ConnectionAbandoned("the connection was closed meanwhile") from error


def execute(connection: Any, *command: object) -> Any:
    """The server's answer to one command. The connection ends where none comes.

    A large command is sent in parts, each of which may take `SECONDS`; its answer may take longer,
    since much of the command is still on its way then.
    """
    with abandoned_if_closed():
        packed: list[bytes] = connection.pack_command(*command)
        size = sum(map(len, packed))
        if size <= PART_BYTES:
            connection.send_packed_command(packed)
            return connection.read_response()
        connection.send_packed_command(_parts(packed))
        return connection.read_response(timeout=SECONDS + size / BYTES_A_SECOND)


def _parts(packed: list[bytes]) -> Iterator[memoryview]:
    """An encoded command in parts, none of which is too long to send at once."""
    for chunk in packed:
        view = memoryview(chunk)
        yield from (view[start : start + PART_BYTES] for start in range(0, len(view), PART_BYTES))


def server_setting(client: Any, name: str) -> str:
    """A setting of the Redis server; empty where it may not be read, as with many hosted ones."""
    try:
        settings: dict[Any, Any] = client.config_get(name)
    except ResponseError:
        return ""
    value = settings.get(name, settings.get(name.encode(), b""))
    return value.decode() if isinstance(value, bytes) else str(value)


def max_transaction_bytes(client: Any) -> int | None:
    """The Redis server's limit for one transaction, None where no transaction reaches it."""
    names = ("proto-max-bulk-len", "client-query-buffer-limit")
    limits = [int(limit) for name in names if (limit := server_setting(client, name))]
    lowest = min(limits, default=MAX_TRANSACTION_BYTES + COMMAND_BYTES) - COMMAND_BYTES
    return lowest if lowest < MAX_TRANSACTION_BYTES else None
