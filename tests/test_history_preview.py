"""A preview of a history: refused where the import is, and by the same words."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Shell
from support.raw_http import Client, lines, serving

Record = dict[str, Any]
TOLD = ("status", "code", "message", "format", "rejected", "accepted", "duplicates", "changes")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Record]]:
    """Five transactions."""
    with serving(tmp_path_factory.mktemp("told") / "store") as server, Client(server) as client:
        client.send("set", key="a", value=1, id="first")
        client.send("set", key="b.x", value="told")
        client.send("set", key="b.y", value=[1, None])
        client.send("delete_prefix", prefix="b.")
        client.send("undo", of="first")
        yield [json.loads(line) for line in client.get("export", history=1).body.splitlines()]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An empty store."""
    with serving(tmp_path / "store") as server, Client(server) as made:
        yield made


def summary(client: Client, body: bytes, **query: Any) -> Record:
    found: Record = client.load(body, **query)[-1]
    assert found["type"] == "summary"
    return found


def previewed(client: Client, records: list[Record], **query: Any) -> Record:
    """The summary of a preview, which the import's must be, but for its revision."""
    before = client.get("status").json()["revision"]
    foretold = summary(client, lines(*records), dry_run=1, **query)
    assert (foretold["dry_run"], foretold["revision"]) == (True, before)
    assert client.get("status").json()["revision"] == before
    done = summary(client, lines(*records), **query)
    for name in TOLD:
        assert foretold.get(name) == done.get(name), name
    return foretold


def test_an_empty_store_would_take_it_all(client: Client, history: list[Record]) -> None:
    found = previewed(client, history)
    assert (found["status"], found["accepted"], found["changes"]) == ("accepted", 5, 6)
    again = previewed(client, history)
    assert (again["accepted"], again["duplicates"], again["changes"]) == (0, 5, 0)


def test_a_store_that_has_its_beginning_would_take_the_rest(
    client: Client, history: list[Record]
) -> None:
    assert summary(client, lines(*history[:2]))["accepted"] == 2
    found = previewed(client, history)
    assert (found["accepted"], found["duplicates"]) == (3, 2)
    assert (found["new"], found["changed"], found["deleted"]) == (0, 0, 2)


def test_a_store_that_has_another_would_not(client: Client, history: list[Record]) -> None:
    client.send("set", key="mine", value=1)
    found = previewed(client, history)
    assert (found["status"], found["code"], found["accepted"]) == ("rejected", "conflict", 0)
    assert found["message"].startswith("Line 1: This store has another transaction")


Alter = Callable[[list[Record]], list[Record]]


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda it: [it[0], *it[2:]], "Line 2: Revision 3 follows 1."),
        (lambda it: it[1:], "Line 1: Revision 2 follows nothing."),
        (lambda it: [it[0], it[1] | {"at": "2001-01-01T00:00:00.000Z"}], "Line 2: Revision 2 is o"),
        (lambda it: [it[0], it[1] | {"id": it[0]["id"]}], "Line 2: The id first is used twice"),
        (lambda it: [it[0], it[1] | {"actor": "forger"}], "Line 2: Revision 2 is not as it was ex"),
        (lambda it: [it[0], {"revision": 2, "changes": 7}], "Line 2: This is no transaction"),
    ],
)
def test_what_an_import_refuses_it_refuses(
    client: Client, history: list[Record], alter: Alter, why: str
) -> None:
    found = previewed(client, alter(history))
    assert (found["status"], found["message"][: len(why)]) == ("rejected", why)


def test_an_id_that_the_store_has_is_refused(client: Client, history: list[Record]) -> None:
    assert summary(client, lines(*history[:2]))["accepted"] == 2
    found = previewed(client, [*history[:2], history[2] | {"id": "first", "checksum": None}])
    assert found["message"] == "Line 3: The id first is used twice."


def test_a_history_is_never_one_transaction(client: Client, history: list[Record]) -> None:
    found = previewed(client, history, atomic=1)
    assert found["message"] == "A history keeps its transactions; import it without atomic=1."


def test_the_command_line_says_would(tmp_path: Path, history: list[Record]) -> None:
    file, shell = tmp_path / "history.ndjson", Shell(tmp_path / "store")
    file.write_bytes(lines(*history))
    said = shell.ok("import", "--dry-run", str(file))
    assert said == "5 transactions would be taken, 0 are there, 6 changes\n"
    shell.ok("set", "mine", "1")
    done = shell("import", "--dry-run", str(file))
    assert (done.status, "another transaction at revision 1" in done.err) == (1, True)
    assert done.out == "0 transactions would be taken, 0 are there, 0 changes\n"
