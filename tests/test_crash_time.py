"""kill -9 while the past is thinned out or replayed: what is left is whole, and goes on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Thread
from typing import IO, Any, Final

import apsw
import pytest

from conftest import StartServer
from signalbox.server.store.file_names import STORE_FILE
from support.harness import ROOT, SECONDS, Server
from support.raw_http import CONNECTION_LOST, Client, assert_sound, lines

KEYS: Final = 1_000
KEPT: Final = 10
TIMES: Final = 20
KILLS: Final = 4
DERIVED: Final = ("state", "lives", "key_counts", "horizons", "reversals")
SETTING: Final = "_signalbox.retention.old"

REBUILD: Final = """
import sys
from pathlib import Path
from server import maintenance

def told(done, total):
    print(done, total, flush=True)
    sys.stdin.readline()

maintenance.rebuild(Path(sys.argv[1]), told)
"""
"""As `signalbox rebuild` runs it, but each step waits until it may go on."""


def fill(server: Server, keys: int, times: int) -> None:
    """Below `old.` and below `kept.` each key changes so often, an import each time."""
    with Client(server) as client:
        for turn in range(times):
            for prefix in ("old", "kept"):
                sets = (
                    {"type": "set", "key": f"{prefix}.k{number}", "value": [turn, number]}
                    for number in range(keys if prefix == "old" else KEPT)
                )
                assert client.load(lines(*sets))[-1]["rejected"] == 0
        for number in (98, 99):
            assert client.send("delete", key=f"old.k{number}").status == 200
        assert client.send("set", key="old.k99", value="again").status == 200


@contextmanager
def held_rebuild(folder: Path, share: float) -> Iterator[bool]:
    """One that has done such a share of its work and waits; was that all? Killed afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", REBUILD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        done, total = _two_numbers(program.stdout)
        while done < share * total:
            program.stdin.write(b"\n")
            program.stdin.flush()
            done, total = _two_numbers(program.stdout)
        yield done == total
        program.kill()


def _two_numbers(output: IO[bytes]) -> tuple[int, int]:
    one, other = output.readline().split()
    return int(one), int(other)


@contextmanager
def reading(folder: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(folder / STORE_FILE), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        yield connection
    finally:
        connection.close()


def changes(connection: apsw.Connection, prefix: str) -> int:
    """How many the log has below a prefix."""
    bound = (prefix + ".", prefix + "/")
    counted = "SELECT count(*) FROM changes WHERE key >= ? AND key < ?"
    return int(connection.execute(counted, bound).get)


def ask_for_compaction(server: Server) -> Thread:
    """Its answer never comes."""

    def ask() -> None:
        with Client(server) as client, pytest.raises(CONNECTION_LOST):
            client.ask("POST", "/commands/compact")

    asking = Thread(target=ask, daemon=True)
    asking.start()
    return asking


def write_until(server: Server, folder: Path, left: int, written: dict[str, int]) -> int:
    """Set keys until so few old changes are left; adds what was acknowledged to `written`."""
    with Client(server) as client, reading(folder) as connection:
        while (found := changes(connection, "old")) > left:
            key = f"live.k{len(written)}"
            assert client.send("set", key=key, value=found).status == 200
            written[key] = found
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_compaction_that_is_killed_loses_nothing_and_is_finished_later(
    server: StartServer, tmp_path: Path, seed: int
) -> None:
    folder, written = tmp_path / "store", dict[str, int]()
    running = server(data_dir=folder)
    fill(running, KEYS, TIMES)
    with Client(running) as client:
        before = client.state("*.k*")
        client.send("set", key=SETTING, value={"max_age": "0s"})
    stops = sorted(Random(seed).sample(range(KEYS * TIMES // 4, KEYS * TIMES), KILLS), reverse=True)
    found = []
    for stop in stops:
        asking = ask_for_compaction(running)
        found.append(write_until(running, folder, stop, written))
        running.kill()
        asking.join(SECONDS)
        assert_sound(folder)
        running = server(data_dir=folder)
    assert found[0] > KEYS  # it was indeed in the middle
    with Client(running) as client:
        assert client.ask("POST", "/commands/compact").status == 200
        assert client.state("live.*") == written
        assert client.state("*.k*") == before | written
        assert len(client.get("history/old.k1").json()["items"]) == 1
        assert len(client.get("history/kept.k1").json()["items"]) == TIMES
    running.stop()
    assert_sound(folder)
    with reading(folder) as connection:
        assert changes(connection, "old") == KEYS
        assert changes(connection, "kept") == TIMES * KEPT


def tables(folder: Path) -> dict[str, list[Any]]:
    """Every row of what is derived from the log, and what these tables are."""
    with reading(folder) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for name in (*DERIVED, "sqlite_schema")
        }


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_rebuild_that_is_killed_leaves_the_store_as_it_was(
    server: StartServer, tmp_path: Path, share: float
) -> None:
    folder = tmp_path / "store"
    running = server(data_dir=folder)
    fill(running, 9_000, 6)
    running.stop()
    before = tables(folder)
    with held_rebuild(folder, share) as is_done:
        assert is_done == (share == 1)
    assert tables(folder) == before
    assert_sound(folder)
    with Client(server(data_dir=folder)) as client:
        assert client.send("set", key="kept.k1", value="on").status == 200
        assert client.value("kept.k2") == [5, 2]
