"""kill -9 at any moment: what was acknowledged is there, once; streams and senders just go on."""

from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

import pytest

from conftest import StartServer
from support.harness import SECONDS, Server
from support.raw_http import CONNECTION_LOST, Client, assert_sound, folded, lines

WRITERS = 6
MEMBERS = 25


class Writer(Thread):
    """Sends command after command, again where it got no answer, and records the answers."""

    def __init__(self, life: "Life", number: int) -> None:
        super().__init__(daemon=True)
        self.life, self.number = life, number
        self.told: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        while not self.life.over.is_set():
            server = self.life.running()
            try:
                with Client(server) as client:
                    self._write(client)
            except CONNECTION_LOST:
                self.life.miss(server)

    def _write(self, client: Client) -> None:
        while not self.life.over.is_set():
            turn = len(self.told)
            command = self.wish(turn) | {"id": f"w{self.number}-{turn}"}
            self.sent[command["id"]] = command
            outcome = client.send(**command).json()
            self.told[outcome["id"]] = outcome
            self.life.count()

    def wish(self, turn: int) -> dict[str, Any]:
        """Each turn adds one; every third also sets many keys in the same transaction."""
        add = {"type": "add", "key": f"count.{self.number}"}
        if turn % 3:
            return add
        sets = [
            {"type": "set", "key": f"pair.{self.number}.{part}", "value": turn}
            for part in range(MEMBERS)
        ]
        return {"type": "batch", "commands": [*sets, add]}


class Reader(Thread):
    """Follows the stream and resumes with Last-Event-ID wherever it was cut off."""

    def __init__(self, life: "Life") -> None:
        super().__init__(daemon=True)
        self.life = life
        self.seen: list[dict[str, Any]] = []
        self.others: set[str] = set()
        self.connections = 0

    def run(self) -> None:
        position: str | None = None
        while not self.life.finished.is_set():
            server = self.life.running()
            try:
                with server.stream(after=0, last_event_id=position) as stream:
                    self.connections += 1
                    for event in stream:
                        position = event.id or position
                        self.note(event.name, event.data)
            except CONNECTION_LOST:
                self.life.miss(server)

    def note(self, name: str, data: dict[str, Any]) -> None:
        if name != "change":
            self.others.add(name)
            return
        self.seen.append(data)
        if data["actor"] == "the-end":
            self.life.finished.set()


class Life:
    """A server that is killed and started again, and what its clients wait for."""

    def __init__(self, start: StartServer, folder: Path) -> None:
        self.start, self.folder = start, folder
        self.over, self.finished = Event(), Event()
        self._changed = Condition()
        self._answers = 0
        self._server: Server | None = start(data_dir=folder)
        self.port = self._server.port

    def running(self) -> Server:
        """The server, once there is one."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._server is not None, SECONDS)
            assert self._server is not None
            return self._server

    def miss(self, server: Server) -> None:
        """The connection to `server` was lost: wait until it has been replaced."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._server is not server, SECONDS)

    def count(self) -> None:
        with self._changed:
            self._answers += 1
            self._changed.notify_all()

    def crash_after(self, answers: int) -> None:
        """Kill the server once so many more answers were given, look at the file, start again."""
        with self._changed:
            wanted, server = self._answers + answers, self._server
            assert server is not None
            assert self._changed.wait_for(lambda: self._answers >= wanted, SECONDS)
            server.kill()
            self._server = None
        assert_sound(self.folder)
        again = self.start(data_dir=self.folder)
        assert again.port == self.port
        with self._changed:
            self._server = again
            self._changed.notify_all()


def assert_told_is_true(server: Server, writers: list[Writer]) -> None:
    """Every outcome that a sender got is the store's, and sending it again changes nothing."""
    with Client(server) as client:
        before = client.get("status").json()["revision"]
        for writer in writers:
            for identity, outcome in writer.told.items():
                again = client.send(**writer.sent[identity]).json()
                assert again == outcome | {"duplicate": True}
                record = client.get(f"attempts/{identity}").json()
                assert record["revision"] == outcome["revision"]
        assert client.get("status").json()["revision"] == before


def assert_done_once(server: Server, writers: list[Writer], seen: list[dict[str, Any]]) -> None:
    """Each command that was acknowledged is in the log once; each transaction is whole."""
    ids = [change["id"] for change in seen]
    assert len(ids) == len(set(ids))
    with Client(server) as client:
        state = client.state()
    for writer in writers:
        mine = [identity for identity in ids if identity.startswith(f"w{writer.number}-")]
        assert set(writer.told) <= set(mine)
        assert state[f"count.{writer.number}"] == len(mine)
        pairs = {state[f"pair.{writer.number}.{part}"] for part in range(MEMBERS)}
        assert len(pairs) == 1
    assert folded(seen) == state


def test_whatever_was_acknowledged_survives_kill_9_and_streams_go_on(
    server: StartServer, tmp_path: Path
) -> None:
    life = Life(server, tmp_path / "store")
    reader = Reader(life)
    writers = [Writer(life, number) for number in range(WRITERS)]
    for thread in (reader, *writers):
        thread.start()
    for answers in (3, 40, 200, 500):
        life.crash_after(answers)
    life.over.set()
    for writer in writers:
        writer.join(SECONDS)
    last = life.running()
    last.set("the.end", value=1, actor="the-end")
    assert life.finished.wait(SECONDS)
    last.stop()
    reader.join(SECONDS)
    assert [change["revision"] for change in reader.seen] == list(range(1, len(reader.seen) + 1))
    assert reader.others == {"caught-up"}
    assert reader.connections >= 5
    again = server(data_dir=tmp_path / "store")
    assert_told_is_true(again, writers)
    assert_done_once(again, writers, reader.seen)
    again.stop()
    assert again.stderr.read_text() == ""
    assert_sound(tmp_path / "store")


LINES = 50_000


def adding() -> Iterator[bytes]:
    """An import whose effect shows each line that was done twice or not at all."""
    for start in range(0, LINES, 500):
        numbers = range(start, start + 500)
        yield lines(*({"type": "add", "key": f"sum.{n % 100}", "by": n} for n in numbers))


@pytest.mark.parametrize("batches", [1, 3])
def test_an_import_that_was_cut_off_is_sent_again_and_done_once(
    server: StartServer, tmp_path: Path, batches: int
) -> None:
    first = server(data_dir=tmp_path / "store")
    killed = Event()

    def kill_after_batches() -> None:
        with first.stream(after=0) as stream:
            seen = (event for event in stream if event.name == "change")
            for _ in range(batches):
                next(seen)
        first.kill()
        killed.set()

    watcher = Thread(target=kill_after_batches, daemon=True)
    watcher.start()
    with Client(first) as client, pytest.raises(CONNECTION_LOST):
        client.load(held_back(killed), id="load")
    watcher.join(SECONDS)
    assert assert_sound(tmp_path / "store") >= batches
    with Client(server(data_dir=tmp_path / "store")) as client:
        summary = client.load(b"".join(adding()), id="load")[-1]
        assert (summary["status"], summary["lines"]) == ("accepted", LINES)
        assert summary["accepted"] + summary["duplicates"] == LINES
        assert summary["duplicates"]
        assert sum(client.state("sum.*").values()) == sum(range(LINES))


def held_back(killed: Event) -> Iterator[bytes]:
    """All but the last piece, which waits until the server has ended; so the import fails."""
    *most, last = adding()
    yield from most
    assert killed.wait(SECONDS)
    yield last
