"""How durable a JetStream log is: by its stream's configuration and the server's flushing."""

from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from signalbox.server.engines.jetstream.api import Answer, decode_answer
from signalbox.server.engines.shared_log import LogMetadata, LogStatus

QUORUM: Final = 3
"""Fewest copies whose majority survives the loss of any one."""
JETSTREAM_INFO: Final = "$SYS.REQ.SERVER.PING.JSZ"
FLUSH_SECONDS: Final = 0.5
"""How long the server may take to answer how it flushes, which is not needed for anything else."""
FLUSHING_UNKNOWN: Final = "on one server, not known to be on its disk"
_ON_ONE_SERVER: Final = {
    True: ("on disk before acknowledged", True),
    False: ("on one server, on its disk only some time later", False),
    None: (FLUSHING_UNKNOWN, False),
}


async def log_status(
    client: Client, answer: Answer, metadata: LogMetadata, asks_flushing: bool = True
) -> LogStatus:
    """The status of the log by the stream's info; a single server is asked how it flushes."""
    is_one = int(answer.config.get("num_replicas", 1)) == 1
    flushes = await _flushes_before_answer(client, answer) if asks_flushing and is_one else None
    return LogStatus(metadata, answer.last_sequence, *durability(answer.config, flushes))


def durability(config: dict[str, Any], flushes: bool | None) -> tuple[str, bool]:
    """The durability of a stream: a phrase, and whether `accepted` means a disk or a quorum.

    `flushes`: whether a single server flushes before it acknowledges, None if not known.
    """
    copies = int(config.get("num_replicas", 1))
    if config.get("storage") != "file":
        return "in the memory of the server", False
    if config.get("persist_mode") == "async":
        return "acknowledged before it is written", False
    if copies >= QUORUM:
        return f"on a majority of {copies} servers before acknowledged", True
    if copies > 1:
        return f"on {copies} servers, which is no quorum", False
    return _ON_ONE_SERVER[flushes]


async def _flushes_before_answer(client: Client, answer: Answer) -> bool | None:
    """Whether the one server that has the log flushes before it acknowledges; None if not known.

    Only accounts to which the system account exports `$SYS.REQ.SERVER.PING.JSZ` get an answer.
    """
    options: dict[str, Any] = {"config": True}
    if name := (answer.cluster or {}).get("leader"):
        options["server_name"] = name
    try:
        data = msgspec.json.encode(options)
        message = await client.request(JETSTREAM_INFO, data, timeout=FLUSH_SECONDS)
        config = decode_answer(message.data, dict[str, Any])["data"]["config"]
        return bool(config.get("sync_always"))
    except (nats.errors.Error, TimeoutError, LookupError, TypeError, AttributeError):
        return None
