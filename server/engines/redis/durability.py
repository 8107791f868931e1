"""What Redis does before it says that something is written, read off the server itself.

See https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/.
"""

from typing import Any, Final

from redis.exceptions import ResponseError

from signalbox.server.engines.redis.connection import said, setting
from signalbox.server.model.errors import StoreError

_SYNCS: Final = {
    "always": ("on disk before acknowledged", True),
    "everysec": ("up to a second may be lost", False),
    "no": ("what the system has not flushed may be lost", False),
}
_UNKNOWN: Final = ("when it is on disk is not known", False)


def told(client: Any, wait: tuple[int, int], address: str) -> tuple[str, bool]:
    """One phrase, and whether it means a disk before the acknowledgement.

    `wait` are the servers that are to have it on disk: this one, and replicas. Raises `StoreError`
    where the server cannot do that.
    """
    has_file = str(client.info("persistence").get("aof_enabled")) == "1"
    sync = setting(client, "appendfsync") if has_file else ""
    if any(wait):
        _check_can_wait(client, wait, sync, address)
    if policy := _evicting(client):
        return f"the log may be evicted: maxmemory-policy is {policy}", False
    if any(wait):
        return _awaited(*wait), True
    if not has_file:
        return "not durable: no append-only file", False
    if sync == "always" and setting(client, "no-appendfsync-on-rewrite") == "yes":
        return "may be lost while the server rewrites its file", False
    return _SYNCS.get(sync, _UNKNOWN)


def _check_can_wait(client: Any, wait: tuple[int, int], sync: str, address: str) -> None:
    local, replicas = wait
    try:
        client.execute_command("WAITAOF", local, 0, 1)
    except ResponseError as error:
        is_old = "unknown command" in str(error)
        raise StoreError(
            f"{address} cannot do wait={local},{replicas}: "
            + ("that takes Redis 7.2 or Valkey." if is_old else f"{said(error)}.")
        ) from error
    if local and sync == "no":
        raise StoreError(
            f"{address} cannot do wait={local},{replicas}: it has appendfsync no, and so never "
            "knows what is on disk."
        )


def _awaited(local: int, replicas: int) -> str:
    copies = [f"{replicas} replicas" if replicas > 1 else "a replica"] if replicas else []
    return " and ".join((["on disk"] if local else []) + copies) + " before acknowledged"


def _evicting(client: Any) -> str | None:
    """The policy, where it may take the log. Those named volatile-... take only what expires."""
    memory = client.info("memory")
    policy = str(memory.get("maxmemory_policy"))
    return policy if memory.get("maxmemory") and policy.startswith("allkeys") else None
