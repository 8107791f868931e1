"""Looking for many keys at once: those that exist, and what that costs beside large values."""

from pathlib import Path

import apsw

from signalbox.server.store import state_table
from support.local_store import Store


def test_those_of_many_keys_that_exist_are_found() -> None:
    with Store() as store:
        store.set(**{"a": 1, "b.x": 2, "b.y": 3, "d": 4})
        reader = store.database.writer
        cases: list[tuple[list[str], set[str]]] = [
            ([], set()),
            (["A", "Z"], set()),
            (["c", "ca"], set()),
            (["a"], {"a"}),
            (["b.w", "b.x", "b.z"], {"b.x"}),
            (["d", "zz", "a", "c"], {"a", "d"}),
        ]
        for keys, there in cases:
            assert (
                state_table.existing(reader, keys)
                == set(state_table.entries_of(reader, keys))
                == there
            )


def test_new_keys_beside_large_values_are_looked_for_without_reading_those(tmp_path: Path) -> None:
    """If each key were looked up separately, each would read the values of pages on the way."""
    with Store(tmp_path / "signalbox.db") as store:
        for number in range(50):
            store.set(**{f"large.{number:02}": "x" * 100_000})
        connection = store.database.writer
        one, many = (pages_read(connection, number) for number in (1, 500))
        assert 0 < many < one * 5


def pages_read(connection: apsw.Connection, number: int) -> int:
    """How many pages are read to look up so many new keys."""
    before = page_reads(connection)
    assert state_table.entries_of(connection, [f"new.{n:04}" for n in range(number)]) == {}
    return page_reads(connection) - before


def page_reads(connection: apsw.Connection) -> int:
    kinds = apsw.SQLITE_DBSTATUS_CACHE_HIT, apsw.SQLITE_DBSTATUS_CACHE_MISS
    return sum(connection.status(kind)[0] for kind in kinds)
