"""How durable a Redis log is: by the server's settings for its append-only file, and by `wait=`.

See https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/.
"""

from typing import Any, Final

from redis.exceptions import ResponseError

from signalbox.server.engines.redis.connection import server_setting
from signalbox.server.engines.redis.errors import redis_reason
from signalbox.server.model.errors import StoreError

_FSYNC_POLICIES: Final = {
    "always": ("on disk before acknowledged", True),
    "everysec": ("up to a second may be lost", False),
    "no": ("what the system has not flushed may be lost", False),
}
_UNKNOWN: Final = ("when it is on disk is not known", False)


def durability(client: Any, wait: tuple[int, int], address: str) -> tuple[str, bool]:
    """The durability of a Redis server: a phrase, and whether `accepted` means a disk.

    `wait` is how many of this server and of its replicas must have it on disk. Raises `StoreError`
    where the server cannot wait for that.
    """
    has_append_file = str(client.info("persistence").get("aof_enabled")) == "1"
    fsync = server_setting(client, "appendfsync") if has_append_file else ""
    if any(wait):
        _check_can_wait(client, wait, fsync, address)
    if policy := _eviction_policy(client):
        return f"the log may be evicted: maxmemory-policy is {policy}", False
    if any(wait):
        return _wait_phrase(*wait), True
    if not has_append_file:
        return "not durable: no append-only file", False
    if fsync == "always" and server_setting(client, "no-appendfsync-on-rewrite") == "yes":
        return "may be lost while the server rewrites its file", False
    return _FSYNC_POLICIES.get(fsync, _UNKNOWN)


def _check_can_wait(client: Any, wait: tuple[int, int], fsync: str, address: str) -> None:
    """Raises `StoreError` where the server cannot wait for disks as `wait=` asks."""
    local, replicas = wait
    try:
        client.execute_command("WAITAOF", local, 0, 1)
    except ResponseError as error:
        is_old = "unknown command" in str(error)
        raise StoreError(
            f"{address} cannot do wait={local},{replicas}: "
            + ("that takes Redis 7.2 or Valkey." if is_old else f"{redis_reason(error)}.")
        ) from error
    if local and fsync == "no":
        raise StoreError(
            f"{address} cannot do wait={local},{replicas}: it has appendfsync no, and so never "
            "knows what is on disk."
        )


def _wait_phrase(local: int, replicas: int) -> str:
    """What Redis waits for before a transaction is acknowledged (WAITAOF), for people."""
    copies = [f"{replicas} replicas" if replicas > 1 else "a replica"] if replicas else []
    return " and ".join((["on disk"] if local else []) + copies) + " before acknowledged"


def _eviction_policy(client: Any) -> str | None:
    """The policy, where it may evict the log. Those named volatile-... evict only what expires."""
    memory = client.info("memory")
    policy = str(memory.get("maxmemory_policy"))
    return policy if memory.get("maxmemory") and policy.startswith("allkeys") else None
