"""The engines' real servers, one of each for all tests, and fresh logs on them."""

import atexit
import shutil
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from support.nats_server import NatsServer
    from support.redis_server import RedisServer

_NUMBERS: Final = count(1)

Options = Callable[[], list[str]]
"""The options of a server that has a new store."""


def _folder() -> Path:
    folder = Path(mkdtemp(prefix="signalbox-broker-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def nats() -> "NatsServer":
    from support.nats_server import NatsServer

    server = NatsServer(_folder())
    atexit.register(server.stop)
    return server


@cache
def redis() -> "RedisServer":
    from support.redis_server import DURABLE, RedisServer

    server = RedisServer(_folder(), *DURABLE)
    atexit.register(server.stop)
    return server


def new_log(kind: str) -> str:
    """The address of a log that nobody has founded yet, on a server that runs."""
    name = f"store-{next(_NUMBERS)}"
    return f"{nats().url}/{name}" if kind == "nats" else f"{redis().url}/0?stream={name}"


def options(kind: str) -> list[str]:
    """What a server with a new store of that engine is started with."""
    return ["--engine", kind if kind in ("memory", "sqlite") else new_log(kind)]
