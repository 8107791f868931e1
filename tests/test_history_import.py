"""An export of the history, imported: the same log again, or one refusal that names the line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from support import brokers
from support.command_line import Shell
from support.harness import Server
from support.migrations import write_varied_history
from support.raw_http import Client, assert_sound, lines, memory

Record = dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, Record]]:
    """A history, and the state that it ends with."""
    server = Server(tmp_path_factory.mktemp("told") / "store")
    with Client(server) as client:
        write_varied_history(client)
        yield client.get("export", history=1).body, client.state()
    server.kill()


def records(history: bytes) -> list[Record]:
    return [json.loads(line) for line in history.splitlines()]


def summary(client: Client, body: bytes, **query: Any) -> Record:
    found: Record = client.load(body, **query)[-1]
    assert found["type"] == "summary"
    return found


def test_every_engine_makes_the_same_log_of_it(
    server: StartServer, engine: brokers.Options, told: tuple[bytes, Record]
) -> None:
    history, state = told
    copy = server(*engine())
    with Client(copy) as client:
        done = summary(client, history)
        assert (done["status"], done["accepted"], done["revision"]) == ("accepted", 9, 9), done
        assert client.get("export", history=1).body == history
        assert client.state() == state
        assert client.get("diff", **{"from": 3, "to": 4}).json()["total"] == 3000
        again = client.send("set", key="b", value="told", id="first", actor="tester").json()
        assert again["code"] == "id_reused"
        undone = client.send("undo", of="many", actor="tester").json()
        assert (undone["code"], len(undone["keys"])) == ("conflict", 100)
        assert client.send("redo", of="first", actor="tester").json()["revision"] == 10
        assert client.get("attempts/many-1").json()["revision"] == 4
    assert copy.stop() == 0
    assert assert_sound(copy.data_dir) == 10


def test_a_command_of_the_history_is_known_when_it_comes_again(server: StartServer) -> None:
    command = {"key": "a", "value": {"b": 1.5}, "id": "once"}
    with Client(server()) as first, Client(server()) as copy:
        acked = first.send("set", **command).json()
        summary(copy, first.get("export", history=1).body)
        assert copy.send("set", **command).json() == acked | {"duplicate": True}


def test_it_goes_on_where_it_broke_off(server: StartServer, told: tuple[bytes, Record]) -> None:
    history, state = told
    parts = history.splitlines(keepends=True)
    with Client(server()) as client:
        assert summary(client, b"".join(parts[:4]))["accepted"] == 4
        assert client.send("set", key="z", value=1, dry_run=True).status == 200
        done = summary(client, history)
        assert (done["duplicates"], done["accepted"]) == (4, 5)
        again = summary(client, history)
        assert (again["duplicates"], again["accepted"], again["status"]) == (9, 0, "accepted")
        assert client.get("export", history=1).body == history
        assert client.state() == state


def gap(found: list[Record]) -> int:
    del found[4]
    return 5


def backward(found: list[Record]) -> int:
    found[2], found[3] = found[3], found[2]
    return 3


def late(found: list[Record]) -> int:
    del found[0]
    return 1


def changed(number: int, **fields: Any) -> Callable[[list[Record]], int]:
    def change(found: list[Record]) -> int:
        found[number - 1] |= fields
        return number

    return change


WRONG = {
    "a gap": (gap, "migrate"),
    "out of order": (backward, "follows 2"),
    "without its beginning": (late, "follows nothing"),
    "of a later form": (changed(4, shape=2), "shape"),
    "thinned out": (changed(2, compacted=1), "migrate"),
    "of what retention has removed, with changes": (changed(3, type="compacted"), "no export"),
    "of what retention has removed": (changed(3, type="compacted", changes=[]), "no export"),
    "back in time": (changed(3, at="2001-01-01T00:00:00.000Z"), "older"),
    "no time": (changed(3, at="yesterday"), "yesterday"),
    "no id": (changed(3, id="a b"), "id"),
    "the same id": (changed(3, id="first"), "first"),
    "no actor": (changed(3, actor=""), "actor"),
    "no key": (changed(3, changes=[{"key": "a..b", "value": 1}]), "key"),
    "neither value nor deleted": (changed(3, changes=[{"key": "a"}]), "deleted"),
    "twice a key": (changed(3, changes=[{"key": "a", "value": 1}] * 2), "once"),
    "no setting": (changed(3, changes=[{"key": "_signalbox.x", "value": 1}]), "setting"),
    "a useless setting": (
        changed(3, changes=[{"key": "_signalbox.retention", "value": 1}]),
        "max_age",
    ),
    "too large a value": (changed(3, changes=[{"key": "a", "value": "x" * 300_000}]), "bytes"),
    "reversing what comes later": (changed(5, reverses=[7]), "reverses"),
    "reversing by a set": (changed(3, reverses=[1]), "reverses"),
    "spaces in a fingerprint": (changed(3, fingerprint="aa bb"), "hexadecimal"),
    "a checksum as Python writes one": (changed(3, checksum="0x1_f"), "hexadecimal"),
    "no fingerprint": (changed(3, fingerprint="xyz"), "hexadecimal"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_reported_by_its_line_and_what_is_before_it_stays(
    server: StartServer, told: tuple[bytes, Record], name: str
) -> None:
    found = records(told[0])
    number = WRONG[name][0](found)
    copy = server()
    with Client(copy) as client:
        done = summary(client, lines(*found))
        assert done["status"] == "rejected"
        assert done["message"].startswith(f"Line {number}: "), done["message"]
        assert WRONG[name][1] in done["message"]
        kept = client.get("export", history=1).body
        assert told[0].startswith(kept)
        assert done["revision"] == len(kept.splitlines())
        assert summary(client, told[0])["revision"] == 9
    assert copy.stop() == 0
    assert_sound(copy.data_dir)


def test_a_store_of_its_own_takes_no_other_history(
    server: StartServer, told: tuple[bytes, Record]
) -> None:
    with Client(server()) as client:
        client.send("set", key="mine", value=1)
        done = summary(client, told[0])
        assert (done["code"], done["revision"]) == ("conflict", 1)
        assert "replay" in done["message"]
        assert client.state() == {"mine": 1}


def test_what_retention_has_removed_since_is_not_missed(server: StartServer) -> None:
    made = [
        {
            "revision": number,
            "id": f"old-{number}",
            "actor": "tester",
            "at": "2001-01-01T00:00:00.000Z",
            "type": "batch",
            "changes": [{"key": "a", "value": number}, {"key": f"b.{number % 3}", "value": number}],
        }
        for number in range(1, 7)
    ]
    with Client(server()) as client:
        assert summary(client, lines(*made))["accepted"] == 6
        assert client.ask("POST", "/commands/compact").status == 200
        # The server may have begun by itself: what is gone counts, not who has removed it.
        assert len(client.get("export", history=1).body.splitlines()) == 3
        assert "Signalbox-Compacted" not in client.get("export", history=1, after=6).headers
        made.append(made[0] | {"revision": 7, "id": "new"})
        done = summary(client, lines(*made))
        assert (done["duplicates"], done["accepted"], done["status"]) == (6, 1, "accepted")
        thin = client.get("export", history=1).body
    with Client(server()) as client:
        done = summary(client, thin)
        assert (done["status"], done["revision"]) == ("rejected", 0)
        assert "migrate" in done["message"]


def test_a_history_is_never_one_transaction(
    server: StartServer, told: tuple[bytes, Record]
) -> None:
    with Client(server()) as client:
        done = summary(client, told[0], atomic=1)
        assert (done["code"], done["revision"]) == ("invalid", 0)
        assert "atomic=1" in done["message"]


def test_the_largest_transaction_is_one_line(server: StartServer) -> None:
    value = "x" * 250_000
    with Client(server()) as first, Client(copy := server()) as client:
        body = lines(*({"type": "set", "key": f"k.{n}", "value": value} for n in range(60)))
        assert first.load(body, atomic=1)[-1]["status"] == "accepted"
        history = first.get("export", history=1).body
        assert len(history) > 15_000_000
        before = memory(copy)
        assert summary(client, history)["accepted"] == 1
        assert client.get("export", history=1).body == history
        assert memory(copy) - before < 400_000_000
        too_much = history.replace(b'"changes":[', b'"changes":[' + b" " * 12_000_000)
        assert summary(client, too_much)["code"] == "too_large"


def test_the_command_line_sees_what_it_is(tmp_path: Path, told: tuple[bytes, Record]) -> None:
    file, copy = tmp_path / "history.ndjson", Shell(tmp_path / "copy")
    file.write_bytes(told[0])
    assert copy.ok("import", str(file)).startswith("9 transactions taken, 0 were there")
    assert copy.ok("export", "--history").encode() != b""
    assert copy("import", str(file), "--json").json()["duplicates"] == 9
    copy.ok("set", "more", "1")
    assert copy("import", str(file), "--json").json() == {
        "accepted": 0,
        "duplicates": 9,
        "changes": 0,
        "revision": 10,
    }
    other = Shell(tmp_path / "other")
    other.ok("set", "mine", "1")
    done = other("import", str(file))
    assert (done.status, done.err.count("line 1") + done.err.count("Line 1")) == (1, 1)
