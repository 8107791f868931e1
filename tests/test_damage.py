"""A damaged page that a running server reads: reported in one sentence, and nothing is written."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from conftest import StartServer
from support.harness import Server
from support.local_store import Store
from support.nodes import until
from support.raw_http import Client

FILE: Final = "signalbox.db"
QUESTIONS: Final = (
    *("state?limit=9", "state?search=x", "state?at=100", "state/k.5", "state/k.5?at=100", "tree"),
    *("history/k.7", "diff?from=1&to=200", "attempts", "attempts/id-7", "metrics"),
    *("export", "export?format=env", "export?history=1", "export?at=100", "openapi.json"),
)
COMMANDS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "set", "key": "k.9", "value": 1},
    {"type": "set", "key": "k.8", "value": 2, "id": "id-7"},
    {"type": "undo", "of": "id-290"},
    {"type": "restore", "to_revision": 100},
    {"type": "delete_prefix", "prefix": "k."},
)
MET: Final = (
    *("changes", "changes_by_key", "attempts", "lives", "lives_by_died"),
    *("reversals_by_target", "state_by_revision", "state_by_born", "horizons"),
)
"""Tables and indexes that a start reads nothing of, or not all."""


@pytest.fixture(scope="module")
def mature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with some pages for each of its tables."""
    folder = tmp_path_factory.mktemp("mature")
    with Store(folder / FILE) as store:
        for number in range(300):
            value = {"n": number, "text": "x" * (number * 37 % 900)}
            store.run(type="set", key=f"k.{number % 60}", value=value, id=f"id-{number}")
        for number in range(40):
            store.run(type="delete", key=f"k.{number}")
            store.run(type="set", key=f"k.{number}", value=number)
            store.run(type="undo")
    return folder


@pytest.fixture
def folder(mature: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mature, tmp_path / "store"))


def pages(folder: Path, name: str) -> list[int]:
    """The numbers of all pages of a table or index, but its root."""
    with closing(apsw.Connection(str(folder / FILE), apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.pragma("cache_size", 10)
        found = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = ? ORDER BY path", (name,)
        ).fetchall()
    return [int(str(number)) for (number,) in found]


def damage(folder: Path, *numbers: int) -> None:
    with (folder / FILE).open("r+b") as file:
        for number in numbers:
            file.seek((number - 1) * 4096)
            file.write(b"\xa5" * 4096)


def failed_queries(client: Client) -> Iterator[tuple[int, dict[str, Any]]]:
    """The answers of all queries that fail."""
    for question in QUESTIONS:
        answer = client.ask("GET", f"/queries/{question}".replace("/queries/openapi", "/openapi"))
        if answer.status not in (200, 404):
            yield answer.status, answer.json()
    for command in COMMANDS:
        answer = client.send(**command)
        if answer.status not in (200, 409):
            yield answer.status, answer.json()


def assert_damage_is_reported(server: Server, client: Client) -> None:
    refused = list(failed_queries(client))
    assert refused
    for status, body in refused:
        assert (status, body["code"]) == (503, "unavailable"), body
        assert f"The store {server.data_dir / FILE} is damaged." in body["message"]
        assert "`signalbox verify`" in body["message"]
    keys = client.get("status").json()["keys"]
    problem = client.get("status").json()["problem"]
    assert f"{FILE} is damaged" in problem
    outcome = client.send("set", key="new", value=1)
    assert (outcome.status, outcome.json()["message"]) == (503, f"{problem} Nothing was changed.")
    assert client.get("status").json()["keys"] == keys
    until(lambda: f"{FILE} is damaged" in server.stderr.read_text())


@pytest.mark.parametrize("name", MET)
def test_a_damaged_page_that_is_read_is_reported_and_nothing_is_written(
    server: StartServer, folder: Path, name: str
) -> None:
    damage(folder, pages(folder, name)[-1])
    started = server(data_dir=folder)
    with Client(started) as client:
        assert_damage_is_reported(started, client)
    assert started.stop() == 0
    assert "Traceback" not in started.stderr.read_text()


def test_a_page_that_is_damaged_while_the_server_runs_is_reported(
    server: StartServer, folder: Path
) -> None:
    started = server(data_dir=folder)
    with Client(started) as client:
        assert list(failed_queries(client)) == []
        damage(folder, *pages(folder, "changes"), *pages(folder, "changes_by_key"))
        assert_damage_is_reported(started, client)
    assert started.stop() == 0


def page_lines(server: Server) -> Iterator[str]:
    """The lines of a window's stream."""
    connection = server.connect(timeout=10)
    connection.request("GET", "/queries/page", headers=server.authorization("read"))
    with closing(connection), connection.getresponse() as response:
        assert response.status == 200
        for line in iter(response.readline, b""):
            yield line.decode()


@pytest.mark.parametrize("names", [("state",), ("changes", "changes_by_key"), ("transactions",)])
def test_a_window_stays_connected_and_its_status_bar_says_why(
    server: StartServer, folder: Path, names: tuple[str, ...]
) -> None:
    started = server(data_dir=folder)
    with Client(started) as client:
        damage(folder, *(page for name in names for page in pages(folder, name)))
        client.send("set", key="new", value=1)  # readers drop what they had in memory
    stream = page_lines(started)
    assert any(f"{FILE} is damaged" in line for line in stream), "The stream ended."
    assert "Traceback" not in started.stderr.read_text()


def test_the_status_answers_also_where_its_own_tables_are_damaged(
    server: StartServer, folder: Path
) -> None:
    started = server(data_dir=folder)
    with Client(started) as client:
        before = client.get("status").json()
        damage(folder, *(page for name in ("horizons", "state") for page in pages(folder, name)))
        client.send("set", key="new", value=1)  # readers drop what they had in memory
        after = client.get("status")
        assert after.status == 200
        assert after.json()["retention"] == before["retention"]
        assert f"{FILE} is damaged" in after.json()["problem"]
        assert client.get("metrics").status == 200


def test_a_start_that_meets_damage_ends_with_the_same_sentence(folder: Path) -> None:
    damage(folder, *pages(folder, "state"))
    with pytest.raises(AssertionError, match=rf"{FILE} is damaged.*signalbox verify"):
        Server(folder)


def test_queries_of_what_is_whole_go_on(folder: Path) -> None:
    with Store(folder / FILE) as store:
        message = str(store.database.open_files.unreadable(apsw.CorruptError("malformed")))
        assert store.database.open_files.problem() == message
        assert store.readmodel.current.keys() == 20
        answer = store.run(type="set", key="k.1", value=1).answer()
        assert answer["code"] == "unavailable"
        assert answer["message"] == f"{message} Nothing was changed."
