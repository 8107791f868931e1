"""Connections to Redis, and what its errors mean for the log."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as Unreachable,
)
from redis.exceptions import (
    TimeoutError as TimedOut,
)
from redis.retry import Retry

from signalbox.server.engines import tls_certificates
from signalbox.server.engines.address import Address
from signalbox.server.engines.base import AppendIndeterminate
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.runtime.error_messages import ReadableError, reason

SECONDS: Final = 3.0
"""For connecting, and for each answer."""
BYTES_A_SECOND: Final = 512 * 1024
"""Of the slowest network."""
PART: Final = 64 * 1024
LARGEST: Final = 16 * 1024 * 1024
"""Of one transaction, in bytes, whatever the engine."""
FRAME: Final = 64 * 1024
"""More than a command has besides its arguments."""
FOREIGN: Final = "FOREIGN"
"""What our scripts say of keys that no log of ours has made."""
REPLACED: Final = "REPLACED"
"""What they say where the log is not the one that this node has connected to."""
_REFUSED: Final = (AuthenticationError, AuthorizationError, NoPermissionError)
_CODES: Final = {
    NoPermissionError: "NOPERM",
    AuthenticationError: "WRONGPASS",
    AuthorizationError: "NOPERM",
    AskError: "MOVED",  # MovedError is one as well
    BusyLoadingError: "LOADING",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    TryAgainError: "TRYAGAIN",
}
"""Of which the client keeps a class and takes the code away."""
_PASSING: Final = {
    "BUSY": "it is busy with a script",
    "CLUSTERDOWN": "its Redis Cluster is down",
    "LOADING": "it is still reading its file",
    "MASTERDOWN": "it has lost its master",
    "MISCONF": "it cannot write its own file",
    "MOVED": "it is one server of a Redis Cluster, and another one has the log: name all servers "
    "of the Cluster in the address",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write",
    "OOM": "its memory is full",
    "READONLY": "it is a replica",
    "TRYAGAIN": "its Redis Cluster is moving the log",
}
"""What refusals mean that another server, or the same one later, would not give."""
_KNOWN: Final = _PASSING | {
    "NOPERM": "this user lacks permissions for commands, keys or channels of the log",
    "UNBLOCKED": "it has become a replica",
    "WRONGPASS": "the user or the password is wrong, or missing",
    "WRONGTYPE": "what is there is no log",
    "DB": "it has no database of that number",
    "max": "it has as many connections as it allows",
}
_CODE: Final = re.compile("[A-Z]{2,20}")


class Broken(ReadableError, Unreachable):
    """A connection that we give up."""


class SameRun:
    """How a connection begins: with the run of the server that the log was found on, or not at all.

    After a restart the end of the log may be another. Only `connect` finds that out.
    """

    run = ""

    def __call__(self, connection: Any) -> None:
        connection.on_connect()
        if self.run:
            connection.send_command("INFO", "server")
            if f"run_id:{self.run}".encode() not in connection.read_response():
                raise Broken("it was started anew")


def opened(address: Address) -> tuple[Any, SameRun]:
    """A client of its one host, which connects when it is used, and tries nothing twice.

    Raises `StoreError` where its files cannot be read.
    """
    begin, ((host, port),) = SameRun(), address.hosts
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
        "redis_connect_func": begin,
    }
    if address.is_encrypted:
        tls_certificates.load(ssl.create_default_context(), address.options)  # the client says less
        options |= {
            "ssl": True,
            "ssl_ca_certs": address.options.get("ca"),
            "ssl_certfile": address.options.get("cert"),
            "ssl_keyfile": address.options.get("key"),
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }
    return redis.Redis(**options), begin


@contextmanager
def unless_closed() -> Iterator[None]:
    """The client stumbles over what is missing where somebody else closes its connection."""
    try:
        yield
    except (AttributeError, ValueError) as error:
        raise Broken("the connection was closed meanwhile") from error


def ask(connection: Any, *command: object) -> Any:
    """The answer as the server gives it. The connection ends where none comes.

    What is large is sent in parts, each of which may take `SECONDS`; its answer may take longer, as
    much of it is still on its way then.
    """
    with unless_closed():
        packed: list[bytes] = connection.pack_command(*command)
        size = sum(map(len, packed))
        if size <= PART:
            connection.send_packed_command(packed)
            return connection.read_response()
        connection.send_packed_command(_parts(packed))
        return connection.read_response(timeout=SECONDS + size / BYTES_A_SECOND)


def _parts(packed: list[bytes]) -> Iterator[memoryview]:
    for piece in packed:
        whole = memoryview(piece)
        yield from (whole[start : start + PART] for start in range(0, len(whole), PART))


def setting(client: Any, name: str) -> str:
    """Empty where the server does not tell, as many that are rented do not."""
    try:
        found: dict[Any, Any] = client.config_get(name)
    except ResponseError:
        return ""
    value = found.get(name, found.get(name.encode(), b""))
    return value.decode() if isinstance(value, bytes) else str(value)


def largest(client: Any) -> int | None:
    """Bytes of one argument that the server takes, where that is less than we would send."""
    names = ("proto-max-bulk-len", "client-query-buffer-limit")
    limits = [setting(client, name) for name in names]
    least = min((int(limit) for limit in limits if limit), default=LARGEST + FRAME) - FRAME
    return least if least < LARGEST else None


@contextmanager
def connecting(where: str) -> Iterator[None]:
    """`StoreError` where trying again is of no use, `Unavailable` where it may be."""
    try:
        yield
    except _REFUSED as error:
        raise StoreError(
            f"{where} refuses these credentials: {said(error)}. Check the user and the password "
            "in its address, and what that user may do."
        ) from error
    except ResponseError as error:
        if _code(error) in _PASSING:
            raise Unavailable(f"{where} takes no writes: {said(error)}.") from error
        if _code(error) in (FOREIGN, "WRONGTYPE"):
            raise StoreError(
                f"What is at {where} is no log of Signalbox. Choose another ?stream=NAME."
            ) from error
        raise StoreError(f"{where} cannot hold the log: {said(error)}.") from error
    except (RedisError, OSError) as error:
        is_silent = isinstance(error, TimedOut) and where.startswith("rediss:")
        hint = " If it does not encrypt, say redis://." if is_silent else ""
        raise Unavailable(f"{where} cannot be reached: {said(error)}.{hint}") from error


@contextmanager
def asking(where: str) -> Iterator[None]:
    """While nothing is written."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _unavailable(where, error) from error


@contextmanager
def appending(where: str) -> Iterator[None]:
    """An error that the server tells is certain; where it tells nothing, nobody knows."""
    try:
        yield
    except (ResponseError, BusyLoadingError, *_REFUSED) as error:
        raise _unavailable(where, error) from error
    except (RedisError, OSError) as error:
        raise AppendIndeterminate(f"{where} has not answered: {said(error)}.") from error


def _unavailable(where: str, error: Exception) -> Unavailable:
    if _code(error) == REPLACED:
        return Unavailable(f"The log at {where} was removed or replaced.")
    if isinstance(error, ResponseError | BusyLoadingError | AuthenticationError):
        return Unavailable(f"{where} refuses: {said(error)}.")
    return Unavailable(f"{where} does not answer: {said(error)}.")


def _code(error: Exception) -> str:
    """The first word of what the server says; the client takes away those that it knows."""
    known = (code for kind, code in _CODES.items() if isinstance(error, kind))
    return next(known, None) or str(error).partition(" ")[0]


def said(error: Exception) -> str:
    """What an error means, as a part of a sentence: of the server, or on the way to it."""
    code = _code(error)
    if words := _KNOWN.get(code):
        return words
    if isinstance(error, ResponseError):
        code = getattr(error, "status_code", None) or code  # where the client took it away
        return f"it answers with the error {code if _CODE.fullmatch(code) else 'ERR'}"
    return reason(error)
