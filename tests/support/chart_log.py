"""An event log in memory or in a file, for charts and sparklines."""

import json
from pathlib import Path
from typing import Any, Final

from signalbox.server.read.charts import Chart, ChartQuery, read_chart
from signalbox.server.read.state_query import Item
from signalbox.server.store.database import Database

NOW: Final = 1_780_000_000_000
_TRANSACTION = "INSERT INTO transactions VALUES (?, 1, ?, x'', 'set', 'test', ?, 1, NULL)"
_CHANGE = "INSERT INTO changes (revision, key, value) VALUES (?, ?, ?)"
_ITEM = """
SELECT value, revision FROM changes WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT 1
"""


class ChartLog:
    """An event log in memory to which changes of single keys are added at given times."""

    def __init__(self, path: Path | None = None) -> None:
        self.database = Database(path)
        self.writer = self.database.writer
        self.reader = self.database.reader()
        self.revision = 0

    def add(self, key: str, *changes: tuple[int, Any]) -> None:
        """When (ms) and the value; ... deletes."""
        with self.writer:
            for at, value in changes:
                self.revision += 1
                raw = None if value is ... else json.dumps(value)
                made = (self.revision, f"c{self.revision}", at)
                self.writer.execute(_TRANSACTION, made)
                self.writer.execute(_CHANGE, (self.revision, key, raw))

    def chart(
        self, span: str = "1h", until: int = NOW, at: int | None = None, cached: Chart | None = None
    ) -> Chart:
        wanted = ChartQuery("k", span, until, self.revision if at is None else at)
        return read_chart(self.reader, wanted, cached)

    def item(self, key: str, at: int | None = None) -> Item:
        raw, revision = self.reader.execute(_ITEM, (key, at or self.revision)).get
        return Item(key, raw, revision, 0, "test")

    def close(self) -> None:
        self.reader.close()
        self.database.close()
