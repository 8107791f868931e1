"""A program: makes the state from the log with apsw alone, as `rebuild` does.

Given {"path"}, prints {"changes", "seconds"}: reads every change in order and upserts it into the
same table with the same indexes, in one transaction. It keeps no counts of earlier moments, and
knows that nothing was deleted. The seconds are those before the commit, as those of `rebuilt.py`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from signalbox.server.store.database import Database, transaction


def main() -> None:
    database = Database(Path(json.loads(sys.argv[1])["path"]))
    connection = database.writer
    started, changes = perf_counter(), 0

    def read() -> Iterator[tuple[Any, ...]]:
        nonlocal changes
        rows = connection.execute("SELECT revision, key, value FROM changes ORDER BY revision, key")
        for changes, row in enumerate(rows, start=1):  # noqa: B007 - printed below
            yield row

    with transaction(connection):
        connection.execute("DELETE FROM state")
        connection.executemany(
            "INSERT INTO state (revision, born, key, value) VALUES (?1, ?1, ?2, ?3)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
            read(),
        )
        seconds = perf_counter() - started
    database.close()
    print(json.dumps({"changes": changes, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
