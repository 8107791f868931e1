"""The JetStream stream of a log: finding or creating it, and checking that it keeps everything."""

from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from signalbox.server.engines.address import Address
from signalbox.server.engines.jetstream.api import (
    IMPOSSIBLE,
    METADATA_NAME,
    NAME_TAKEN,
    NO_STREAM,
    Answer,
    request,
)
from signalbox.server.engines.jetstream.connection import Connection
from signalbox.server.engines.jetstream.durability import log_status
from signalbox.server.engines.shared_log import LogMetadata, Partitioned, not_durable_message
from signalbox.server.model.errors import StoreError

OLDEST_VERSION: Final = (2, 11)
"""The first version that gives many messages for one request, as `read.py` needs."""
ATOMIC_VERSION: Final = (2, 12)
"""The first version with atomic batches."""
DUPLICATE_WINDOW_NS: Final = 120 * 10**9


async def find_or_create_stream(
    client: Connection,
    address: Address,
    metadata: LogMetadata | None,
    requires_durable: bool = False,
) -> Answer:
    """The stream's info; where there is none, it is created with `metadata`.

    None is created that would not be durable, where that is required. Of several nodes that create
    it at once one wins: the others have other metadata, and their creation is refused.
    Raises `StoreError`, `Partitioned`, or as nats-py does.
    """
    _check_version(client, address)
    try:
        answer = await request(client, f"STREAM.INFO.{address.stream}")
        if answer.code == NO_STREAM and metadata is not None:
            answer = await _create(client, address, metadata, requires_durable)
    except nats.errors.NoRespondersError as error:
        raise StoreError(
            f"{address.redacted} has no JetStream: start nats-server with -js."
        ) from error
    except nats.errors.TimeoutError as error:
        raise _no_answer(client, address) from error
    if answer.code == NO_STREAM:
        raise StoreError(f"There is no log at {address.redacted} any more.")
    if answer.error:
        kind = StoreError if answer.code in IMPOSSIBLE else Partitioned
        raise kind(f"{address.redacted} cannot hold the log: {answer.error}.")
    _check_config(answer.config, address, answer.metadata(address.redacted).store)
    if answer.state.get("first_seq", 0) > 1 or answer.state.get("num_deleted", 0):
        raise StoreError(f"The log at {address.redacted} has lost some of its revisions.")
    return answer


def transactions_subject(address: Address, store: str) -> str:
    """The subject that the transactions of a store are published to."""
    return f"{address.stream}.log.{store}"


async def _create(
    client: Connection, address: Address, metadata: LogMetadata, requires_durable: bool
) -> Answer:
    """Create the stream, unless another node has just done so."""
    config = _config(client, address, metadata)
    status = await log_status(client, Answer(config=config), metadata)
    if requires_durable and not status.is_durable:
        raise StoreError(not_durable_message(address.redacted, status))
    answer = await request(client, f"STREAM.CREATE.{address.stream}", config)
    if answer.code == NAME_TAKEN:
        answer = await request(client, f"STREAM.INFO.{address.stream}")
    return answer


def _no_answer(client: Connection, address: Address) -> StoreError | Partitioned:
    """The error where the API does not answer: no leader, or a permission that is missing."""
    if not client.lacks_permission():
        return Partitioned(f"{address.redacted} answers, but knows nobody who leads the log.")
    subjects = [f"$JS.API.STREAM.{verb}.{address.stream}" for verb in ("INFO", "CREATE")]
    lacking = next(filter(client.lacks_permission, subjects), "_INBOX.>")
    return StoreError(
        f"{address.redacted} does not let this user in: it lacks the permission for {lacking}."
    )


def _version(client: Client) -> tuple[int, int]:
    """Version of the nats-server, which decides what the stream can be configured with."""
    version = client.connected_server_version
    return version.major, version.minor


def _check_version(client: Client, address: Address) -> None:
    """Raises `StoreError` where the nats-server is too old for the stream."""
    if (version := _version(client)) < OLDEST_VERSION:
        raise StoreError(
            "{} is nats-server {}.{}: Signalbox needs {}.{} or newer.".format(
                address.redacted, *version, *OLDEST_VERSION
            )
        )


def _config(client: Client, address: Address, metadata: LogMetadata) -> dict[str, Any]:
    """The configuration of a new stream: it keeps every message, and nobody can delete one."""
    config: dict[str, Any] = {
        "name": address.stream,
        "subjects": [transactions_subject(address, metadata.store)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": int(address.options.get("replicas", 1)),
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "metadata": {METADATA_NAME: msgspec.json.encode(metadata).decode()},
    }
    if _version(client) >= ATOMIC_VERSION:
        config["allow_atomic"] = True
    return config


def _check_config(config: dict[str, Any], address: Address, store: str) -> None:
    """Raises `StoreError` for a stream that would lose messages, or get others' messages."""
    has_other_source = config.get("mirror") or config.get("sources") or config.get("sealed")
    if (
        config.get("subjects") != [transactions_subject(address, store)]
        or config.get("retention") != "limits"
        or has_other_source
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
