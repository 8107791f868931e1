"""Whether a Redis server decides on appends: a master with as many replicas as are asked for."""

from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any, Final

from signalbox.server.engines.redis.connection import server_setting
from signalbox.server.engines.shared_log import Partitioned
from signalbox.server.model.errors import StoreError, Unavailable

HEARD_SECONDS: Final = 3
"""Replicas answer their master once a second; one that is silent for longer is not counted."""
REPLICA_START_SECONDS: Final = 8.0
"""How long replicas that were just started need: `repl-diskless-sync-delay` is 5."""
POLL_SECONDS: Final = 0.1


def check_no_sentinel(server: Mapping[str, Any], where: str) -> None:
    """Raises `StoreError` if `INFO server` is that of a Sentinel, which holds no data."""
    if "sentinel" in (server.get("redis_mode"), server.get("server_mode")):
        raise StoreError(
            f"{where} is a Sentinel, which holds no data. Name the Redis servers that it watches "
            "instead, all of them: redis://HOST:PORT,HOST:PORT/DB?stream=NAME. Nodes find the "
            "master among them."
        )


def check_master(client: Any, wanted: int, where: str, seconds: float = 0.0) -> None:
    """Raises `Unavailable` if the master takes no writes, `Partitioned` if another may by now.

    `wanted` replicas must have answered lately, or as many as its own `min-replicas-to-write`.
    Missing ones are waited for, for so many `seconds`.
    """
    end = monotonic() + seconds
    while problem := _replica_problem(client, wanted, where):
        if monotonic() > end:
            raise Partitioned(problem)
        sleep(POLL_SECONDS)


def _replica_problem(client: Any, wanted: int, where: str) -> str:
    """Why a server's replicas are too few, or empty. Raises `Unavailable` if it is a replica."""
    info = client.info("replication")
    if info["role"] != "master":
        raise Unavailable(f"{where} is a replica, which takes no writes.")
    if "min_slaves_good_slaves" in info:
        wanted = max(wanted, int(server_setting(client, "min-replicas-to-write") or 0))
    connected = sum(_is_connected(replica) for name, replica in info.items() if _is_replica(name))
    if connected >= wanted:
        return ""
    return (
        f"{where} may be cut off: {connected} replicas have answered it within {HEARD_SECONDS} "
        f"seconds, and {wanted} must have what is accepted."
    )


def _is_replica(name: str) -> bool:
    """Whether a field of `INFO replication` is about a replica."""
    return name.removeprefix("slave").isdecimal()


def _is_connected(replica: Mapping[str, Any]) -> bool:
    """Whether the master has heard from this replica a moment ago."""
    return replica["state"] == "online" and int(replica["lag"]) <= HEARD_SECONDS
