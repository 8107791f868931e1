"""A program: writes an event log of many changes straight into a new store, as transactions do.

Given {"path", "keys", "changes"}, prints {"revisions", "seconds", "bytes"}. The keys come one after
another during the first half of the changes; whatever else a transaction changes is chosen at
random. There is no read model yet: rebuild makes it. The last transaction is an hour old.
"""

import json
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter, time
from typing import Final, NamedTuple

import apsw

from signalbox.server.store.database import Database

EACH: Final = 100
"""Changes in a transaction."""
GROUPS: Final = 100
"""What the root of the tree shows."""
EVERY_MS: Final = 5_000
HOUR_MS: Final = 3_600_000


class Made(NamedTuple):
    """A transaction: the changes with a new key, then the others, which sort anyhow."""

    revision: int
    new: list[str]
    old: list[str]


def key(number: int) -> str:
    """A hundred groups; neighbours in number are in different ones."""
    return f"group{number % GROUPS:02}.k{number // GROUPS:05}"


def transactions(keys: int, changes: int) -> Iterator[Made]:
    names = [key(number) for number in range(keys)]
    dice = random.Random(1)
    dice.shuffle(names)
    known, count = 0, changes // EACH
    for revision in range(1, count + 1):
        come = min(keys, revision * 2 * keys // count)
        others = dice.sample(range(known), min(known, EACH - (come - known)))
        yield Made(revision, names[known:come], [names[one] for one in others])
        known = come


def age(changes: int) -> int:
    """How many seconds ago the store was, in which so many changes were still to come."""
    return (HOUR_MS + changes // EACH * EVERY_MS) // 1000


def write(connection: apsw.Connection, made: Iterator[Made], started_at: int) -> int:
    """How many transactions there were."""
    count = 0
    while some := list(islice(made, 100)):
        count += len(some)
        connection.executemany(
            "INSERT INTO transactions VALUES (?, 1, ?, x'00', 'batch', ?, ?, ?, NULL)",
            [
                (
                    one.revision,
                    f"made-{one.revision}",
                    f"script{one.revision % 10}",
                    started_at + one.revision * EVERY_MS,
                    len(one.new) + len(one.old),
                )
                for one in some
            ],
        )
        connection.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, NULL)", _changes(some))
    return count


def _changes(some: list[Made]) -> Iterator[tuple[int, str, str, int]]:
    for revision, new, old in some:
        rows = [(revision, name, str(revision / 4), 1) for name in new]
        rows += [(revision, name, str(revision / 4), 0) for name in old]
        yield from sorted(rows)


def main() -> None:
    given = json.loads(sys.argv[1])
    keys, changes, path = given["keys"], given["changes"], Path(given["path"])
    database = Database(path)
    connection = database.writer
    started = perf_counter()
    started_at = int(time() - age(changes)) * 1000
    # Sorting the index once is much faster than keeping it sorted.
    index = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'changes_by_key'").get
    connection.execute("BEGIN; DROP INDEX changes_by_key")
    revisions = write(connection, transactions(keys, changes), started_at)
    connection.execute(index + "; COMMIT")
    database.close()
    result = {"revisions": revisions, "seconds": perf_counter() - started}
    print(json.dumps(result | {"bytes": path.stat().st_size}), flush=True)


if __name__ == "__main__":
    main()
