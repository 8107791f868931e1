"""Connections to a NATS server: opening with TLS and credentials, subscribing, closing."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import nats.errors
from nats.aio.client import Client

from signalbox.server.engines.address import Address
from signalbox.server.engines.jetstream.message_queue import MessageQueue
from signalbox.server.engines.tls_certificates import load_certificates
from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import ReadableError, reason

SECONDS: Final = 3.0
"""For connecting, for each flush, and for each answer."""
CLOSE_SECONDS: Final = 1.0
CONNECTION_ERRORS: Final = (
    nats.errors.Error,
    asyncio.TimeoutError,
    asyncio.CancelledError,
    OSError,
)
"""What nats-py raises where there is no answer."""
_REFUSED_CREDENTIALS: Final = ("uthoriz", "uthentic")
"""Parts of what a server says that refuses credentials, whatever its version."""


class RequestFailed(ReadableError, nats.errors.Error):
    """The server does not answer, or not as NATS does, or lacks what was requested."""


class Connection(Client):
    """nats-py's client; readers of its queues notice when it is closed."""

    def __init__(self) -> None:
        """A client of NATS that is not connected yet."""
        super().__init__()
        self._queues: WeakSet[MessageQueue] = WeakSet()
        self._complaint = ""
        """The last error that the server sent of itself, such as a permissions violation."""
        self.connect_error: Exception | None = None
        """Why no server could be reached: nats-py raises only that there is none."""

    async def open_queue(self, subject: str, max_length: int | None = None) -> MessageQueue:
        """A queue of the messages on `subject`, with `max_length` of the newest."""
        queue = MessageQueue(self, max_length)
        self._queues.add(queue)
        await queue.subscribe(subject)
        return queue

    def forget_complaint(self) -> None:
        """Forget the server's last error: it is not about the next request."""
        self._complaint = ""

    def lacks_permission(self, subject: str = "") -> bool:
        """Whether the server's last error was that the user may not publish to `subject`."""
        return "permissions violation" in self._complaint and subject.lower() in self._complaint

    async def has_complained(self, error: Exception) -> None:
        """nats-py's `error_cb`. What is raised of an error is up to the request that fails."""
        self.connect_error, self._complaint = error, str(error).lower()

    async def has_closed(self) -> None:
        """nats-py's `closed_cb`: readers of queues learn that the connection is closed."""
        for queue in self._queues:
            queue.wake()


class _TlsContext(ssl.SSLContext):
    """Knows whether it was used: nats-py encrypts only where the server's greeting asks for it."""

    is_used = False

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """nats-py encrypts the connection from here on."""
        self.is_used = True
        return super().wrap_bio(*args, **options)


async def open_connection(address: Address) -> Connection:
    """Connect to the address's one host. Raises `StoreError`, or as nats-py does."""
    client, context, ((host, port),) = Connection(), _tls_context(address), address.hosts
    url = f"{address.scheme}://{host}:{port}"
    options = _options(address, context)
    options |= {"error_cb": client.has_complained, "closed_cb": client.has_closed}
    try:
        await asyncio.wait_for(client.connect(url, **options), SECONDS)
        _check_encrypted(address, context)
        return client
    except ssl.SSLError as error:
        await close_connection(client)
        raise StoreError(
            f"{address.redacted} is not to be trusted: {reason(error)}. "
            "See the options ca, cert and key."
        ) from error
    except (TimeoutError, nats.errors.Error, OSError) as error:
        problem = client.last_error or error
        if isinstance(problem, nats.errors.NoServersError):
            problem = client.connect_error or problem
        await close_connection(client)
        if any(word in str(problem) for word in _REFUSED_CREDENTIALS):
            raise StoreError(
                f"{address.redacted} refuses these credentials: check the user and the password in "
                "its address, or the file that creds names."
            ) from error
        if "onnections exceeded" in str(problem):
            raise RequestFailed("it has as many connections as it allows") from error
        raise problem from error
    except BaseException:
        await close_connection(client)
        raise


async def close_connection(client: Client) -> None:
    """Close the connection to NATS, whatever state it is in."""
    with suppress(*CONNECTION_ERRORS):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)


def _tls_context(address: Address) -> _TlsContext | None:
    """The TLS of a connection to `address`, None without. Raises `StoreError` for its files."""
    if not address.is_encrypted:
        return None
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca" not in address.options:
        context.load_default_certs()
    load_certificates(context, address.options)
    return context


def _check_encrypted(address: Address, context: _TlsContext | None) -> None:
    """Raises `StoreError` where the server of a TLS address does not encrypt."""
    if context is not None and not context.is_used:
        raise StoreError(
            f"The server at {address.redacted} does not encrypt; where that is meant, say nats://."
        )


def _options(address: Address, context: _TlsContext | None) -> dict[str, Any]:
    """The options of nats-py's `connect`: no reconnecting, and credentials."""

    def secret(value: str) -> Any:
        """Called by nats-py for the value: it is not sent over a connection without encryption."""

        def checked_value() -> str:
            _check_encrypted(address, context)
            return value

        return checked_value

    options: dict[str, Any] = {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0,
        "connect_timeout": SECONDS,
        "flush_timeout": SECONDS,  # without it, what is sent to a dead server waits for ever
    }
    if address.user and address.password is None:
        options["token"] = secret(address.user)
    elif address.user:
        options |= {"user": secret(address.user), "password": secret(address.password or "")}
    if creds := address.options.get("creds"):
        options["user_credentials"] = _readable_creds(creds)
    if context is not None:
        options["tls"] = context
    return options


def _readable_creds(path: str) -> str:
    """The path. Raises `StoreError` if the file cannot be read: nats-py finds that out late."""
    try:
        import nkeys  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - needed for this option alone

        with Path(path).open("rb"):
            return path
    except OSError as error:
        why = reason(error)
        raise StoreError(f"The option creds, {path}, cannot be read: {why}.") from error
    except ModuleNotFoundError as error:
        raise StoreError(
            "The option creds needs the package nkeys, which is not installed; install Signalbox "
            "again with its extra [nats]."
        ) from error
