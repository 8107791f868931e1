"""A store without HTTP: engine, read model and writer in this process, on a real file or memory."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from signalbox.server.engines.engine_interface import Engine
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.feed import Feed
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.row_forms import RowForm
from signalbox.server.read.state_query import Item
from signalbox.server.store.database import Database
from signalbox.server.store.log_table import last_time
from signalbox.server.store.projection import Projection
from signalbox.server.write.writer import Writer

_ITEMS: Final = RowForm(
    """
    json_array(key, value, i.revision,
        (SELECT at FROM transactions t WHERE t.revision = i.revision),
        (SELECT actor FROM transactions t WHERE t.revision = i.revision))
    """,
    ",",
    "[%(rows)s]",
)
"""The fields of `Item`."""


class Ticks:
    """A clock that shows what it is set to; each reading advances it by a millisecond."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        self.seconds += 0.001
        return self.seconds


class Store:
    """`path` None keeps all in memory."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] | None = None) -> None:
        self.database = Database(path)
        self.engine: Engine = SqliteEngine(self.database)
        self.projection = Projection(self.database)
        self.readmodel = ReadModel(self.database, self.projection)
        self.clock = clock or Ticks()
        self.feed = Feed(self.clock)
        self.writer = Writer(
            self.engine, self.projection, self.feed, self.clock, last_time(self.database.writer)
        )

    def run(self, **command: Any) -> Outcome:
        """One command through the writer; `actor` and `id` may be among its fields."""
        return self.writer.submit(read_attempt(command, "tester", token_hex(8)))

    def run_all(self, commands: Iterable[dict[str, Any]]) -> list[Outcome]:
        """Commands that wait together, so that they share commits."""
        waiting = [
            self.writer.enqueue(read_attempt(command, "tester", token_hex(8)))
            for command in commands
        ]
        return [one.wait() for one in waiting]

    def set(self, **values: Any) -> None:
        """One key for each name, as one transaction; `__` in a name is a dot."""
        members = [
            {"type": "set", "key": name.replace("__", "."), "value": value}
            for name, value in values.items()
        ]
        assert self.run(type="batch", commands=members).error is None

    def snapshot(self, match: str, limit: int) -> Iterator[list[Item]]:
        """All items that match as they are now, page by page."""
        for page in self.readmodel.snapshots.pages(
            self.readmodel.revision, match, _ITEMS, limit=limit
        ):
            yield [Item(*fields) for fields in json.loads(page)]

    def close(self) -> None:
        self.writer.close()
        self.readmodel.close()
        self.projection.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
