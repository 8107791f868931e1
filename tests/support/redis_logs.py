"""Logs on a real Redis as tests use them, and what comes of them in the background."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Condition, Thread
from typing import Any, Final, Generic, Self, TypeVar

import redis

from signalbox.server.engines.address import read_address
from signalbox.server.engines.redis.log import RedisLog
from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.model.events import Change, Transaction
from support.redis_server import RedisServer

T = TypeVar("T")

SECONDS: Final = 20.0
OURS: Final = LogMetadata("a-store")


def transaction(revision: int, value: str = "1") -> Transaction:
    change = Change("k", value)
    return Transaction(
        revision, f"id-{revision}", "actor", 1_000 + revision, "set", b"f" * 16, [change]
    )


def transactions(first: int, last: int, value: str = "1") -> list[Transaction]:
    return [transaction(number, value) for number in range(first, last + 1)]


def log_at(url: str, stream: str = "log", options: str = "") -> RedisLog:
    """Not connected yet; whoever makes it closes it."""
    return RedisLog(read_address(f"{url}/0?stream={stream}{options}"))


@contextmanager
def joined(url: str, stream: str = "log", options: str = "") -> Iterator[RedisLog]:
    with closing(log_at(url, stream, options)) as log:
        log.connect(OURS)
        yield log


@contextmanager
def admin(server: RedisServer) -> Iterator[Any]:
    """Somebody at the server's own prompt."""
    with redis.Redis(port=server.port) as client:
        yield client


class Background(Generic[T]):
    """Takes what `items` yields in a thread; knows how that ended."""

    def __init__(self, items: Iterator[T]) -> None:
        self.items: list[T] = []
        self._source = items
        self._error: Exception | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def until(self, is_enough: Callable[[list[T]], object]) -> list[T]:
        with self._changed:
            assert self._changed.wait_for(lambda: is_enough(self.items), SECONDS), self._error
            return list(self.items)

    def error(self) -> Exception:
        """What ended it; waits for that."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "it still goes on"
        assert self._error is not None, "it ended without saying why"
        return self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(SECONDS)

    def _run(self) -> None:
        try:
            for item in self._source:
                with self._changed:
                    self.items.append(item)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - `error` returns it
            self._error = error


def once(call: Callable[[], T]) -> Background[T]:
    """One call in the background."""

    def items() -> Iterator[T]:
        yield call()

    return Background(items())


def flat(pieces: list[list[Transaction]]) -> list[int]:
    return [one.revision for piece in pieces for one in piece]
