"""What Redis does before it says that something is written, read off the server itself.

See https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/.
"""

from typing import Any, Final

from redis.exceptions import ResponseError

from server.errors import StoreError

_SYNCS: Final = {
    "always": ("on disk before acknowledged", True),
    "everysec": ("up to a second may be lost", False),
    "no": ("what the system has not flushed may be lost", False),
}


def told(client: Any, wait: tuple[int, int] | None, address: str) -> tuple[str, bool]:
    """One phrase, and whether it means a disk before the acknowledgement.

    `wait` are the servers that are to have it on disk: this one, and replicas. Raises `StoreError`
    where the server cannot do that.
    """
    has_file = str(client.info("persistence").get("aof_enabled")) == "1"
    if _evicts(client):
        return "the log may be evicted: maxmemory-policy is not noeviction", False
    if wait is not None and any(wait):
        return _awaited(client, wait, has_file, address)
    if not has_file:
        return "not durable: no append-only file", False
    sync = _setting(client, "appendfsync")
    return _SYNCS.get(sync, ("when it is on disk is not known", False))


def _awaited(client: Any, wait: tuple[int, int], has_file: bool, address: str) -> tuple[str, bool]:
    local, replicas = wait
    if not has_file and local:
        raise StoreError(f"wait={local},{replicas} needs appendonly yes at {address}.")
    try:
        client.execute_command("WAITAOF", 0, 0, 1)
    except ResponseError as error:
        raise StoreError(f"{address} cannot do wait=: {error}.") from error
    copies = [f"{replicas} replicas" if replicas > 1 else "a replica"] if replicas else []
    return " and ".join((["on disk"] if local else []) + copies) + " before acknowledged", True


def _evicts(client: Any) -> bool:
    memory = client.info("memory")
    return bool(memory.get("maxmemory")) and memory.get("maxmemory_policy") != "noeviction"


def _setting(client: Any, name: str) -> str:
    """Empty where the server does not tell, as many that are rented do not."""
    try:
        found: dict[Any, Any] = client.config_get(name)
    except ResponseError:
        return ""
    value = found.get(name, found.get(name.encode(), b""))
    return value.decode() if isinstance(value, bytes) else str(value)
