"""What is asked of JetStream's API, and what is made of its answers.

See https://docs.nats.io/reference/reference-protocols/nats_api_reference.
"""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from signalbox.server.engines import tls_certificates
from signalbox.server.engines.address import Address
from signalbox.server.engines.jetstream.connection import Connection, Gone, decoded
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    Partitioned,
    not_durable_message,
)
from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason

SECONDS: Final = 3.0
GONE: Final = (nats.errors.Error, asyncio.TimeoutError, asyncio.CancelledError, OSError)
"""What nats-py raises where nobody answers."""
WRONG_LAST: Final = (10071, 10164, 10070, 10201)
"""Wrong last sequence, the same with another append under way, wrong last message id, a message id
of the batch that is stored already."""
NO_STREAM: Final = 10059
TAKEN: Final = 10058
IMPOSSIBLE: Final = (10065, 10074, 10039, 10076)
"""Its subject is another stream's, no cluster, no JetStream for this account or at all."""
_NO_ROOM: Final = "its storage is full, or used up for this account"
_NO_CLUSTER: Final = "it is one server without a cluster, which keeps no replicas"
_REFUSALS: Final = {
    10002: _NO_ROOM,
    10004: "too few of its servers reach each other",
    10005: "it has too few servers for so many replicas",
    10008: "JetStream is not ready there yet",
    10009: "it leads nothing, and the one that leads does not answer",
    10023: _NO_ROOM,
    10028: _NO_ROOM,
    10039: "JetStream is not enabled for this account",
    10047: _NO_ROOM,
    10054: "the message is larger than the stream takes",
    10058: "there is another stream of that name",
    10059: "there is no such stream",
    10065: "another stream has a subject that overlaps with the log's",
    10074: _NO_CLUSTER,
    10076: "JetStream is not enabled there",
    10077: "the stream has as many messages or bytes as it may",
}
"""What JetStream's numbers mean (`errors.json` of nats-server)."""
NAME: Final = "signalbox.foundation"
MINUTES: Final = 60 * 10**9
OLDEST: Final = (2, 11)
"""The first version that gives many messages at once, as `jetstream_reading` asks for them."""
ATOMIC: Final = (2, 12)
QUORUM: Final = 3
JSZ: Final = "$SYS.REQ.SERVER.PING.JSZ"
ASIDE_SECONDS: Final = 0.5
"""For what is good to know."""


_CREDENTIALS: Final = ("uthoriz", "uthentic")
"""What a server says who does not let somebody in, however it begins."""


class Answer(msgspec.Struct):
    """Of the API, or of a publish; what it does not tell is as it is here."""

    seq: int = 0
    name: str = ""
    error_: dict[str, Any] = msgspec.field(default_factory=dict, name="error")
    config: dict[str, Any] = {}
    state: dict[str, Any] = {}
    cluster: dict[str, Any] | None = None

    @property
    def error(self) -> str:
        """Why it went wrong, as a part of a sentence; empty where it went well."""
        if not self.error_:
            return ""
        return _REFUSALS.get(self.code, f"it refuses with error {self.code}")

    @property
    def code(self) -> int:
        return int(self.error_.get("err_code") or self.error_.get("code") or 0)

    @property
    def is_conflict(self) -> bool:
        return self.code in WRONG_LAST

    @property
    def last(self) -> int:
        return int(self.state.get("last_seq", 0))

    def metadata(self, address: str) -> LogMetadata:
        """Raises `StoreError` where the stream is not one of ours."""
        text = (self.config.get("metadata") or {}).get(NAME)
        if text is None:
            raise StoreError(f"The stream at {address} is not a log of Signalbox: choose another.")
        try:
            return msgspec.json.decode(text, type=LogMetadata)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise StoreError(
                f"What founded the log at {address} cannot be read: it is damaged, or of a newer "
                "Signalbox."
            ) from error


class _Context(ssl.SSLContext):
    """Knows whether it was used: nats-py encrypts only where the server's greeting asks for it."""

    is_used = False

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        self.is_used = True
        return super().wrap_bio(*args, **options)


async def opened(address: Address) -> Connection:
    """A connection to its one host. Raises `StoreError`, or as nats-py does."""
    client, context, ((host, port),) = Connection(), _context(address), address.hosts
    place = f"{address.scheme}://{host}:{port}"
    options = _options(address, context)
    options |= {"error_cb": client.has_complained, "closed_cb": client.has_closed}
    try:
        await asyncio.wait_for(client.connect(place, **options), SECONDS)
        _check_encrypted(address, context)
        return client
    except ssl.SSLError as error:
        await closed(client)
        raise StoreError(
            f"{address.redacted} is not to be trusted: {reason(error)}. "
            "See the options ca, cert and key."
        ) from error
    except (TimeoutError, nats.errors.Error, OSError) as error:
        problem = client.last_error or error
        if isinstance(problem, nats.errors.NoServersError):
            problem = client.trouble or problem
        await closed(client)
        if any(word in str(problem) for word in _CREDENTIALS):
            raise StoreError(
                f"{address.redacted} refuses these credentials: check the user and the password in "
                "its address, or the file that creds names."
            ) from error
        if "onnections exceeded" in str(problem):
            raise Gone("it has as many connections as it allows") from error
        raise problem from error
    except BaseException:
        await closed(client)
        raise


async def closed(client: Client) -> None:
    """Give it up, whatever state it is in."""
    with suppress(*GONE):
        await asyncio.wait_for(client.close(), 1.0)


def _context(address: Address) -> _Context | None:
    """Raises `StoreError` where its files cannot be read."""
    if not address.is_encrypted:
        return None
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    if "ca" not in address.options:
        context.load_default_certs()
    tls_certificates.load(context, address.options)
    return context


def _check_encrypted(address: Address, context: _Context | None) -> None:
    if context is not None and not context.is_used:
        raise StoreError(
            f"The server at {address.redacted} does not encrypt; where that is meant, say nats://."
        )


def _options(address: Address, context: _Context | None) -> dict[str, Any]:
    def secret(value: str) -> Any:
        def told() -> str:
            _check_encrypted(address, context)
            return value

        return told

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
        options["user_credentials"] = _readable(creds)
    if context is not None:
        options["tls"] = context
    return options


def _readable(creds: str) -> str:
    """Raises `StoreError` where it is not: nats-py finds that out late."""
    try:
        import nkeys  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - needed for this option alone

        with Path(creds).open("rb"):
            return creds
    except OSError as error:
        why = reason(error)
        raise StoreError(f"The option creds, {creds}, cannot be read: {why}.") from error
    except ModuleNotFoundError as error:
        raise StoreError("The option creds needs: pip install nkeys") from error


async def ask(client: Client, what: str, body: Any = None) -> Answer:
    """One question to the API."""
    data = b"" if body is None else msgspec.json.encode(body)
    message = await client.request(f"$JS.API.{what}", data, timeout=SECONDS)
    return decoded(message.data, Answer)


def subject(address: Address, store: str) -> str:
    """What the transactions of a store are published as."""
    return f"{address.stream}.log.{store}"


async def found(
    client: Connection,
    address: Address,
    metadata: LogMetadata | None,
    requires_durable: bool = False,
) -> Answer:
    """What the stream tells of itself; where there is none, it is made with `metadata`.

    None is made that would not be durable, where that is required.
    Of several who make it at once one wins: another's has other metadata, and is refused.
    """
    _check_version(client, address)
    try:
        answer = await ask(client, f"STREAM.INFO.{address.stream}")
        if answer.code == NO_STREAM and metadata is not None:
            wanted = _config(client, address, metadata)
            status = await standing_of(client, Answer(config=wanted), metadata)
            if requires_durable and not status.is_durable:
                raise StoreError(not_durable_message(address.redacted, status))
            answer = await ask(client, f"STREAM.CREATE.{address.stream}", wanted)
            if answer.code == TAKEN:
                answer = await ask(client, f"STREAM.INFO.{address.stream}")
    except nats.errors.NoRespondersError as error:
        raise StoreError(
            f"{address.redacted} has no JetStream: start nats-server with -js."
        ) from error
    except nats.errors.TimeoutError as error:
        if not client.lacks_permission():
            raise Partitioned(
                f"{address.redacted} answers, but knows nobody who leads the log."
            ) from error
        asked = [f"$JS.API.STREAM.{what}.{address.stream}" for what in ("INFO", "CREATE")]
        lacking = next(filter(client.lacks_permission, asked), "_INBOX.>")
        raise StoreError(
            f"{address.redacted} does not let this user in: it lacks the permission for {lacking}."
        ) from error
    if answer.code == NO_STREAM:
        raise StoreError(f"There is no log at {address.redacted} any more.")
    if answer.error:
        kind = StoreError if answer.code in IMPOSSIBLE else Partitioned
        raise kind(f"{address.redacted} cannot hold the log: {answer.error}.")
    _check(answer.config, address, answer.metadata(address.redacted).store)
    if answer.state.get("first_seq", 0) > 1 or answer.state.get("num_deleted", 0):
        raise StoreError(f"The log at {address.redacted} has lost some of its revisions.")
    return answer


def _version(client: Client) -> tuple[int, int]:
    version = client.connected_server_version
    return version.major, version.minor


def _check_version(client: Client, address: Address) -> None:
    if (found := _version(client)) < OLDEST:
        raise StoreError(
            "{} is nats-server {}.{}: Signalbox needs {}.{} or newer.".format(
                address.redacted, *found, *OLDEST
            )
        )


def _config(client: Client, address: Address, metadata: LogMetadata) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": address.stream,
        "subjects": [subject(address, metadata.store)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": int(address.options.get("replicas", 1)),
        "duplicate_window": 2 * MINUTES,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "metadata": {NAME: msgspec.json.encode(metadata).decode()},
    }
    if _version(client) >= ATOMIC:
        config["allow_atomic"] = True
    return config


def _check(config: dict[str, Any], address: Address, store: str) -> None:
    """Raises `StoreError` for a stream that would lose messages, or has others'."""
    is_filled_otherwise = config.get("mirror") or config.get("sources") or config.get("sealed")
    if (
        config.get("subjects") != [subject(address, store)]
        or config.get("retention") != "limits"
        or is_filled_otherwise
    ):
        raise StoreError(f"The stream at {address.redacted} is not a log of Signalbox.")
    # "discard": "new" refuses what is beyond the first two; the others remove the old regardless.
    limits = ["max_age", "max_msgs_per_subject"]
    limits += ["max_msgs", "max_bytes"] if config.get("discard") != "new" else []
    if bounds := [name for name in limits if config.get(name, -1) > 0]:
        raise StoreError(
            f"The stream at {address.redacted} discards old messages ({', '.join(bounds)}): a log "
            "must not."
        )


async def standing_of(
    client: Client, answer: Answer, metadata: LogMetadata, asks_flush: bool = True
) -> LogStatus:
    """See `durability`; for it, one server alone is asked how it flushes."""
    is_one = int(answer.config.get("num_replicas", 1)) == 1
    flushed = await _is_flushed(client, answer) if asks_flush and is_one else None
    return LogStatus(metadata, answer.last, *durability(answer.config, flushed))


async def _is_flushed(client: Client, answer: Answer) -> bool | None:
    """Whether the one server that has the log flushes before it acknowledges; None if not told.

    Only accounts to which the system account exports `$SYS.REQ.SERVER.PING.JSZ` are told.
    """
    asked: dict[str, Any] = {"config": True}
    if name := (answer.cluster or {}).get("leader"):
        asked["server_name"] = name
    try:
        message = await client.request(JSZ, msgspec.json.encode(asked), timeout=ASIDE_SECONDS)
        config = decoded(message.data, dict[str, Any])["data"]["config"]
        return bool(config.get("sync_always"))
    except (nats.errors.Error, TimeoutError, LookupError, TypeError, AttributeError):
        return None


def durability(config: dict[str, Any], is_flushed: bool | None) -> tuple[str, bool]:
    """One phrase, and whether it means a disk or a quorum."""
    copies = int(config.get("num_replicas", 1))
    if config.get("storage") != "file":
        return "in the memory of the server", False
    if config.get("persist_mode") == "async":
        return "acknowledged before it is written", False
    if copies >= QUORUM:
        return f"on a majority of {copies} servers before acknowledged", True
    if copies > 1:
        return f"on {copies} servers, which is no quorum", False
    return _ON_ONE[is_flushed]


UNTOLD: Final = "on one server, not known to be on its disk"
_ON_ONE: Final = {
    True: ("on disk before acknowledged", True),
    False: ("on one server, on its disk only some time later", False),
    None: (UNTOLD, False),
}
