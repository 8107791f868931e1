"""A query that fails: damage and failed reads make the store unavailable, our mistakes do not."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from conftest import StartServer
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.decide import Changes, State
from signalbox.server.model.errors import Unavailable
from signalbox.server.read.state_query import Filter
from signalbox.server.store.read_errors import READING_ROOMS
from signalbox.server.store.recent_items import LONGEST
from support.local_store import Store
from support.raw_http import Client
from support.source_files import module_of, python_files

FILE: Final = "signalbox.db"
Query = Callable[[apsw.Connection], Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / FILE) as opened:
        opened.set(lamp="on" * LONGEST)  # so long that it is read from the file each time
        yield opened


def careless(_: object) -> Any:
    return b"\xff".decode()


def in_snapshot(store: Store, query: Query) -> Any:
    with store.readmodel.snapshot() as connection:
        return query(connection)


def in_thread(store: Store, query: Query) -> Any:
    return store.readmodel.in_thread(query)


def raising(error: Exception) -> Query:
    def query(connection: apsw.Connection) -> None:
        connection.execute("ROLLBACK")  # as SQLite does after some errors
        raise error

    return query


@pytest.mark.parametrize("run", [in_snapshot, in_thread])
@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (lambda connection: connection.execute("SELECT nope"), apsw.SQLError),
        (lambda connection: connection.execute("SELECT ?"), apsw.BindingsError),
        (lambda _: int("nope"), ValueError),
        (careless, UnicodeDecodeError),
    ],
)
def test_a_mistake_in_a_query_is_raised_as_it_is(
    store: Store, run: Callable[[Store, Query], Any], query: Query, kind: type[Exception]
) -> None:
    for _ in range(3):  # no connection is lost
        with pytest.raises(kind):
            run(store, query)
    assert store.database.open_files.problem() is None
    assert run(store, lambda connection: connection.execute("SELECT 1").get) == 1


@pytest.mark.parametrize("run", [in_snapshot, in_thread])
@pytest.mark.parametrize(
    "error",
    [
        *(apsw.IOError(), apsw.FullError(), apsw.CantOpenError(), apsw.BusyError()),
        *(apsw.ReadOnlyError(), apsw.NoMemError(), apsw.ProtocolError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_store_that_cannot_be_read_is_unavailable_for_now(
    store: Store, run: Callable[[Store, Query], Any], error: Exception
) -> None:
    with pytest.raises(Unavailable, match=r"^The store cannot be read: (?!.*damaged)"):
        run(store, raising(error))
    assert store.database.open_files.problem() is None


@pytest.mark.parametrize("run", [in_snapshot, in_thread])
@pytest.mark.parametrize("kind", [apsw.CorruptError, apsw.NotADBError])
def test_after_damage_nothing_is_written(
    store: Store, run: Callable[[Store, Query], Any], kind: type[Exception]
) -> None:
    with pytest.raises(Unavailable, match="is damaged"):
        run(store, raising(kind()))
    assert "is damaged" in (store.database.open_files.problem() or "")


QUERIES: Final[dict[str, Callable[[Store], Any]]] = {
    "a value": lambda store: store.readmodel.current.get("lamp"),
    "a history": lambda store: store.readmodel.log.history("lamp"),
    "a search": lambda store: store.readmodel.current.page(Filter(search="é")),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_text_that_is_not_utf_8_is_damage(store: Store, name: str) -> None:
    for table in ("state", "changes"):
        store.database.writer.execute(f"UPDATE {table} SET value = CAST(x'22c3a9ff22' AS TEXT)")
    with pytest.raises(Unavailable, match="is damaged"):
        QUERIES[name](store)
    assert store.run(type="set", key="lamp", value=2).answer()["code"] == "unavailable"


def test_a_text_that_is_not_utf_8_is_damage_where_a_command_reads_it(store: Store) -> None:
    store.database.writer.execute("UPDATE state SET value = CAST(x'22c3a9ff22' AS TEXT)")
    answer = store.run(type="add", key="lamp").answer()
    assert (answer["code"], "is damaged" in answer["message"]) == ("unavailable", True)


def test_a_mistake_of_a_decider_does_not_stop_writing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(state: State) -> Changes:
        state.get("lamp")
        return {"lamp": careless(state)}

    attempt = read_attempt({"type": "add", "key": "n"}, "tester", "x")._replace(decide=decide)
    answer = store.writer.submit(attempt).answer()
    assert answer["code"] == "internal"
    assert "damaged" not in answer["message"]
    assert "UnicodeDecodeError" in caplog.text
    assert store.run(type="set", key="lamp", value=2).error is None


def test_what_reads_rows_decodes_no_other_bytes() -> None:
    """So that a `UnicodeDecodeError` from there is about a text of the store."""
    harmless = r"msgspec\.json(\.encode\(.*\))?|b64encode\(.*\)|KeyIndex|_BUCKETS"
    before_opening = {"signalbox.server.store.integrity", "signalbox.server.store.store_marker"}
    found = [
        f"{path}:{node.lineno}"
        for path in python_files()
        if module_of(path).startswith(READING_ROOMS) and module_of(path) not in before_opening
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "decode"
        if not re.fullmatch(harmless, ast.unparse(node.value))
    ]
    assert not found


def test_a_mistake_in_a_query_is_internal_and_logged(server: StartServer, tmp_path: Path) -> None:
    started = server(data_dir=tmp_path)
    connection = apsw.Connection(str(tmp_path / FILE))
    connection.set_busy_timeout(5_000)
    connection.execute("ALTER TABLE reversals RENAME TO elsewhere")  # our SQL names what is not
    connection.close()
    with Client(started) as client:
        client.send("set", key="a", value=1, id="x")
        answer = client.send("undo", of="x")
        assert (answer.status, answer.json()["code"]) == (500, "internal")
        assert client.get("status").json()["problem"] is None
        assert client.get("state/a").json()["value"] == 1
    assert "SQLError" in started.stderr.read_text()
