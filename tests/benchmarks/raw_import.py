"""A program: writes the rows of an import with apsw alone, without reading or checking anything.

Given {"path", "count"}, prints {"seconds"}: the same tables, the same durability, as many rows in a
commit as the server takes lines, and those in key order, which is a quarter faster.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

from ndjson import key, value
from signalbox.server.http.commands.import_batches import BATCH_LINES
from signalbox.server.store.database import Database


def main() -> None:
    given = json.loads(sys.argv[1])
    connection = Database(Path(given["path"])).writer
    rows = [
        (number // BATCH_LINES + 1, key(number), json.dumps(value(number)))
        for number in range(given["count"])
    ]
    started = perf_counter()
    for first in range(0, len(rows), BATCH_LINES):
        batch = sorted(rows[first : first + BATCH_LINES])
        with connection:
            connection.execute(
                "INSERT INTO transactions VALUES (?, 1, ?, x'00', 'import', 'script', 0, ?, NULL)",
                (batch[0][0], f"raw-{batch[0][0]}", len(batch)),
            )
            connection.executemany("INSERT INTO changes VALUES (?, ?, ?, 1, NULL)", batch)
            connection.executemany(
                "INSERT INTO state (revision, born, key, value) VALUES (?1, ?1, ?2, ?3)"
                " ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value, revision = excluded.revision",
                batch,
            )
    print(json.dumps({"seconds": perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
