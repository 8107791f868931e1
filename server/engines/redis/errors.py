"""What Redis's errors mean for the log: try again, give up, or that the outcome is not known."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
    TimeoutError as TimedOut,
)

from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.runtime.error_messages import reason

FOREIGN: Final = "FOREIGN"
"""The error code of our scripts where the keys are of no log of ours."""
REPLACED: Final = "REPLACED"
"""The error code of our scripts where the log is not the one that this node connected to."""
_CREDENTIALS_REFUSED: Final = (AuthenticationError, AuthorizationError, NoPermissionError)
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
"""The codes that the client removes from the message, by the class that it raises."""
_TRANSIENT: Final = {
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
"""Errors that another server, or the same one later, would not give."""
_MEANINGS: Final = _TRANSIENT | {
    "NOPERM": "this user lacks permissions for commands, keys or channels of the log",
    "UNBLOCKED": "it has become a replica",
    "WRONGPASS": "the user or the password is wrong, or missing",
    "WRONGTYPE": "what is there is no log",
    "DB": "it has no database of that number",
    "max": "it has as many connections as it allows",
}
_CODE: Final = re.compile("[A-Z]{2,20}")


@contextmanager
def connecting(where: str) -> Iterator[None]:
    """While connecting: `Unavailable` where trying again may help, `StoreError` where it cannot."""
    try:
        yield
    except _CREDENTIALS_REFUSED as error:
        raise StoreError(
            f"{where} refuses these credentials: {redis_reason(error)}. Check the user and the "
            "password in its address, and what that user may do."
        ) from error
    except ResponseError as error:
        if _code(error) in _TRANSIENT:
            raise Unavailable(f"{where} takes no writes: {redis_reason(error)}.") from error
        if _code(error) in (FOREIGN, "WRONGTYPE"):
            raise StoreError(
                f"What is at {where} is no log of Signalbox. Choose another ?stream=NAME."
            ) from error
        raise StoreError(f"{where} cannot hold the log: {redis_reason(error)}.") from error
    except (RedisError, OSError) as error:
        is_silent = isinstance(error, TimedOut) and where.startswith("rediss:")
        hint = " If it does not encrypt, say redis://." if is_silent else ""
        raise Unavailable(f"{where} cannot be reached: {redis_reason(error)}.{hint}") from error


@contextmanager
def requesting(where: str) -> Iterator[None]:
    """While no transaction is written: every error is `Unavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _unavailable(where, error) from error


@contextmanager
def appending(where: str) -> Iterator[None]:
    """While transactions are written: without an answer the outcome is `AppendIndeterminate`."""
    try:
        yield
    except (ResponseError, BusyLoadingError, *_CREDENTIALS_REFUSED) as error:
        raise _unavailable(where, error) from error
    except (RedisError, OSError) as error:
        raise AppendIndeterminate(f"{where} has not answered: {redis_reason(error)}.") from error


def redis_reason(error: Exception) -> str:
    """Why a request failed, as a part of a sentence: an error of the server, or of the network."""
    code = _code(error)
    if meaning := _MEANINGS.get(code):
        return meaning
    if isinstance(error, ResponseError):
        code = getattr(error, "status_code", None) or code  # where the client took it away
        return f"it answers with the error {code if _CODE.fullmatch(code) else 'ERR'}"
    return reason(error)


def _unavailable(where: str, error: Exception) -> Unavailable:
    """The error of a Redis server that refuses, does not answer, or has another log now."""
    if _code(error) == REPLACED:
        return Unavailable(f"The log at {where} was removed or replaced.")
    if isinstance(error, ResponseError | BusyLoadingError | AuthenticationError):
        return Unavailable(f"{where} refuses: {redis_reason(error)}.")
    return Unavailable(f"{where} does not answer: {redis_reason(error)}.")


def _code(error: Exception) -> str:
    """The code that the server's error begins with; the client removes those that it knows."""
    codes = (code for kind, code in _CODES.items() if isinstance(error, kind))
    return next(codes, None) or str(error).partition(" ")[0]
