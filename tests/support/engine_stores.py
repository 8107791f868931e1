"""A writer on any engine in the test's own process: real files, real NATS, real Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from signalbox.server.cluster.shared_log_commit import SharedLogCommit
from signalbox.server.engines.address import read_address
from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.engines.shared_log import LogMetadata, SharedLog, shared_log
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.store.log_table import last_time
from signalbox.server.write.writer import Writer
from support.brokers import new_log
from support.local_store import Store

ENGINES: Final = ("sqlite", "nats", "redis")


class NodeStore(Store):
    """As `Store`, with its log at `address`; `log` is a connection to that."""

    def __init__(self, path: Path, address: str, timeout: float = 10.0) -> None:
        super().__init__(path)
        self.writer.close()
        self.log: SharedLog = shared_log(read_address(address))
        self.log.connect(LogMetadata(self.readmodel.store))
        engine = ReplicatedEngine(self.log, SqliteEngine(self.database), lambda: None)
        self.strategy = SharedLogCommit(engine, self.projection, self.feed, timeout)
        last_at = last_time(self.database.writer)
        self.writer = Writer(engine, self.projection, self.feed, self.clock, last_at, self.strategy)

    def close(self) -> None:
        super().close()
        self.log.close()


@contextmanager
def engine_store(kind: str, path: Path) -> Iterator[Store]:
    """A new store at `path`; with an engine elsewhere it is the replica of a new log."""
    with Store(path) if kind == "sqlite" else NodeStore(path, new_log(kind)) as made:
        yield made


@contextmanager
def full_database(store: Store) -> Iterator[None]:
    """Meanwhile the file cannot grow, as on a full disk: SQLite says so at the commit's write."""
    connection = store.database.writer
    before = connection.pragma("max_page_count")
    connection.pragma("max_page_count", connection.pragma("page_count"))
    try:
        yield
    finally:
        connection.pragma("max_page_count", before)
