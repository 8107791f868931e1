"""Another program that holds the store's file locked delays commands, and nobody else."""

import json
import select
from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw

from conftest import StartServer
from signalbox.server.store.file_names import STORE_FILE
from support.harness import Server

LIMIT = "signalbox.server.engines.sqlite.LOCKED_SECONDS"
FORGOTTEN = "signalbox.server.engines.sqlite.FORGOTTEN_SECONDS"
SET = {"type": "set", "key": "lamp.on", "value": True}


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """As long as this lasts nobody else can write to the store."""
    with closing(apsw.Connection(str(server.data_dir / STORE_FILE))) as other:
        other.set_busy_timeout(20_000)  # the server may be writing something of its own
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_queries_go_on_and_the_command_is_accepted_once_the_lock_is_given_up(
    server: StartServer,
) -> None:
    one = server(limits={LIMIT: 3600.0})
    with closing(one.connect()) as sender:
        with locked(one):
            body = json.dumps(SET)
            sender.request(
                "POST",
                "/commands",
                body,
                one.authorization() | {"Content-Type": "application/json"},
            )
            for _ in range(3):
                assert one.get("/queries/state/lamp.on").status == 404
            assert select.select([sender.sock], [], [], 0)[0] == []
        response = sender.getresponse()
        assert (response.status, json.loads(response.read())["status"]) == (200, "accepted")
    assert one.get("/queries/state/lamp.on").json()["value"] is True


def test_a_command_is_refused_where_the_lock_is_kept(server: StartServer) -> None:
    one = server(limits={LIMIT: 0.0})
    with locked(one):
        answer = one.post(SET)
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert "another program holds it locked" in answer.json()["message"]
    assert one.post(SET).json()["revision"] == 1
