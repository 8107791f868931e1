"""From the setting `engine` to the node that shares a log, where there is one to share."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from signalbox.server.cluster.node import Node
from signalbox.server.engines.address import Address, read_address
from signalbox.server.engines.base import SharedLog
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.threads import run_in_background
from signalbox.server.settings import Settings
from signalbox.server.store.database import AWAITED, Database

LOGS: Final = {
    "nats": ("signalbox.server.engines.jetstream.log", "JetStreamLog", "nats"),
    "tls": ("signalbox.server.engines.jetstream.log", "JetStreamLog", "nats"),
    "redis": ("signalbox.server.engines.redis.log", "RedisLog", "redis"),
    "rediss": ("signalbox.server.engines.redis.log", "RedisLog", "redis"),
}
"""Module, class, and what to install with us. Read in only where they are needed."""


def join(
    settings: Settings,
    database: Database,
    blocking: Callable[[Callable[[], None]], None],
    clock: Callable[[], float],
) -> Node | None:
    """The node, connected; None where the log is this computer's own. Raises `StoreError`."""
    followed, awaited = database.meta("engine"), database.meta(AWAITED)
    wanted = settings.engine or followed or awaited or "sqlite"
    if wanted not in ("sqlite", "memory"):
        address = read_address(wanted)
        replica = SqliteEngine(database, blocking, run_in_background)
        shared = shared_log(address)
        shared.requires_durable = settings.require_durable
        return Node(shared, address, database, replica, clock)
    if awaited is not None:
        database.delete_meta(AWAITED)
    if followed is not None:
        shown = read_address(followed).shown
        raise StoreError(
            f"This data directory is a replica of the log at {shown}. Leave --engine out to follow "
            "it, or bring the log here: signalbox migrate --to sqlite"
        )
    if settings.require_durable and wanted == "memory":
        raise StoreError("The engine memory is not durable, which --require-durable demands.")
    return None


def shared_log(address: Address) -> SharedLog:
    """The log at `address`, not connected yet. Raises `StoreError` where its client is missing."""
    module, name, extra = LOGS[address.scheme]
    try:
        made: Any = getattr(import_module(module), name)(address)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The engine {address.scheme}:// needs the package {error.name}, which is not "
            f"installed: pip install signalbox-app[{extra}]"
        ) from error
    log: SharedLog = made
    return log
