"""What is asked of JetStream's API, and what is made of its answers.

See https://docs.nats.io/reference/reference-protocols/nats_api_reference.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from server.engines.address import Address
from server.engines.base import Foundation
from server.errors import StoreError, Unavailable

SECONDS: Final = 3.0
GONE: Final = (nats.errors.Error, asyncio.TimeoutError, asyncio.CancelledError, OSError)
"""What nats-py raises where nobody answers."""
WRONG_LAST: Final = (10071, 10070, 10201)
"""Wrong last sequence, wrong last message id, a message id of the batch that is stored already."""
NO_STREAM: Final = 10059
TAKEN: Final = 10058
NAME: Final = "signalbox.foundation"
MINUTES: Final = 60 * 10**9
ATOMIC: Final = (2, 12)
QUORUM: Final = 3


class Answer(msgspec.Struct):
    """Of the API, or of a publish; what it does not tell is as it is here."""

    seq: int = 0
    error_: dict[str, Any] = msgspec.field(default_factory=dict, name="error")
    config: dict[str, Any] = {}
    state: dict[str, Any] = {}

    @property
    def error(self) -> str:
        """Empty where it went well."""
        if not self.error_:
            return ""
        return str(self.error_.get("description", self.error_))

    @property
    def code(self) -> int:
        return int(self.error_.get("err_code", 0))

    @property
    def is_conflict(self) -> bool:
        return self.code in WRONG_LAST

    @property
    def last(self) -> int:
        return int(self.state.get("last_seq", 0))

    def foundation(self, address: str) -> Foundation:
        """Raises `StoreError` where the stream is not one of ours."""
        text = (self.config.get("metadata") or {}).get(NAME)
        if text is None:
            raise StoreError(f"The stream at {address} is not a log of Signalbox: choose another.")
        return msgspec.json.decode(text, type=Foundation)


async def opened(address: Address) -> Client:
    """A connection to the first host that takes it. Raises `StoreError`, or as nats-py does."""
    problem: Exception = nats.errors.NoServersError()
    for host, port in address.hosts:
        client = Client()
        try:
            await client.connect(f"{address.scheme}://{host}:{port}", **_options(address))
        except (TimeoutError, nats.errors.Error, OSError) as error:
            # Where no server is left, the one before says why.
            problem = client.last_error or error
            await closed(client)
            if "uthoriz" in str(problem) or "uthentic" in str(problem):
                raise StoreError(f"{address.shown} refuses these credentials.") from error
        else:
            return client
    raise problem


async def closed(client: Client) -> None:
    """Give it up, whatever state it is in."""
    with suppress(*GONE):
        await asyncio.wait_for(client.close(), 1.0)


def _options(address: Address) -> dict[str, Any]:
    given = address.options
    options: dict[str, Any] = {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0,
        "connect_timeout": SECONDS,
        "error_cb": _ignore,  # whoever asks is told
        "user": address.user,
        "password": address.password,
    }
    if address.user and address.password is None:
        options |= {"user": None, "token": address.user}
    if creds := given.get("creds"):
        options["user_credentials"] = creds
    if address.is_encrypted:
        context = ssl.create_default_context(cafile=given.get("ca"))
        if "cert" in given:
            context.load_cert_chain(given["cert"], given["key"])
        options["tls"] = context
    return options


async def _ignore(_: Exception) -> None:
    """Errors are what calls raise."""


async def ask(client: Client, what: str, body: Any = None) -> Answer:
    """One question to the API."""
    data = b"" if body is None else msgspec.json.encode(body)
    message = await client.request(f"$JS.API.{what}", data, timeout=SECONDS)
    return msgspec.json.decode(message.data, type=Answer)


async def found(
    client: Client, address: Address, subject: str, foundation: Foundation | None
) -> Answer:
    """What the stream tells of itself; where there is none, it is made with `foundation`.

    Of several who make it at once one wins: another's has other metadata, and is refused.
    """
    try:
        answer = await ask(client, f"STREAM.INFO.{address.stream}")
        if answer.code == NO_STREAM and foundation is not None:
            wanted = _config(client, address, subject, foundation)
            answer = await ask(client, f"STREAM.CREATE.{address.stream}", wanted)
            if answer.code == TAKEN:
                answer = await ask(client, f"STREAM.INFO.{address.stream}")
    except nats.errors.NoRespondersError as error:
        raise StoreError(
            f"{address.shown} has no JetStream: start nats-server with -js."
        ) from error
    if answer.code == NO_STREAM:
        raise StoreError(f"There is no log at {address.shown} any more.")
    if answer.error:
        raise Unavailable(f"{address.shown} has not taken it: {answer.error}.")
    _check(answer.config, address, subject)
    return answer


def _config(
    client: Client, address: Address, subject: str, foundation: Foundation
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": address.stream,
        "subjects": [subject],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": int(address.options.get("replicas", 1)),
        "duplicate_window": 2 * MINUTES,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "metadata": {NAME: msgspec.json.encode(foundation).decode()},
    }
    version = client.connected_server_version
    if (version.major, version.minor) >= ATOMIC:
        config["allow_atomic"] = True
    return config


def _check(config: dict[str, Any], address: Address, subject: str) -> None:
    """Raises `StoreError` for a stream that would lose messages, or has others'."""
    limits = ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject")
    bounds = [name for name in limits if config.get(name, -1) > 0]
    if config.get("subjects") != [subject] or config.get("retention") != "limits":
        raise StoreError(f"The stream at {address.shown} is not a log of Signalbox.")
    if bounds and config.get("discard") != "new":
        raise StoreError(
            f"The stream at {address.shown} discards old messages ({', '.join(bounds)}): a log "
            "must not."
        )


def durability(config: dict[str, Any]) -> tuple[str, bool]:
    """One phrase, and whether it means a quorum.

    When a single server flushes its file is not told to clients: by default within two minutes.
    """
    copies = int(config.get("num_replicas", 1))
    if config.get("storage") != "file":
        return "in the memory of the server", False
    if copies >= QUORUM:
        return f"on a majority of {copies} servers before acknowledged", True
    if copies > 1:
        return f"on {copies} servers, which is no quorum", False
    return "on one server, flushed to its disk when it does that", False
