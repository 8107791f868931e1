"""A query whose client has disconnected is ended, and its place is free for others."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event as NativeEvent
from threading import Semaphore
from urllib.parse import urlencode

import apsw
import gevent
import pytest

from signalbox.server.model.keys import RULES
from signalbox.server.store.reader_pool import THREADS
from support.harness import ROOT, SECONDS, Server
from support.local_store import Store
from support.raw_http import Client, head, plain_socket

ENDLESS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture(scope="module")
def endless_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its queries never end in their threads."""
    server = Server(
        tmp_path_factory.mktemp("endless"),
        program=("-m", "support.endless_server"),
        env={"PYTHONPATH": str(ROOT / "tests")},
    )
    with Client(server) as client:
        client.send("set", key="k", value="text")
    yield server
    server.kill()


@pytest.mark.parametrize(
    "path",
    [
        "state?search=x",
        "state?at=1",
        "state/k?at=1",
        "tree?at=1",
        "diff?from=0",
        "history/k",
        "violations",
        "violations?at=1",
        "describe/k?at=1",
        "attempts?actor=tester",
        "export",
        "export?format=env",
        "export?history=1",
        f"page?{urlencode({'datastar': json.dumps({'text': 'x'})})}",
        f"page?{urlencode({'datastar': json.dumps({'view': 'diff'})})}",
    ],
)
def test_a_query_ends_with_its_client(endless_server: Server, path: str) -> None:
    assert_ends_with_client(endless_server, head(endless_server, f"GET /queries/{path}"))


def test_a_dry_run_of_a_rule_ends_with_its_client(endless_server: Server) -> None:
    """It has been decided; which keys would break the rule is a query."""
    rule = {"match": "**", "schema": {"type": "string"}}
    command = {"type": "set", "key": f"{RULES}all", "value": rule, "dry_run": True}
    body = json.dumps(command).encode()
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    assert_ends_with_client(endless_server, head(endless_server, "POST /commands", *headers) + body)


def assert_ends_with_client(server: Server, request: bytes) -> None:
    said = server.process.stdout
    assert said is not None
    with plain_socket(server) as plain:
        plain.sendall(request)
        assert said.readline() == b"began\n"
    assert said.readline() == b"ended\n"


def acquired(semaphore: Semaphore) -> bool:
    """Wait for a semaphore of native threads, while greenlets run."""
    return bool(gevent.get_hub().threadpool.apply(semaphore.acquire, (True, SECONDS)))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "signalbox.db" if request.param == "sqlite" else None) as made:
        yield made


@pytest.mark.parametrize("statement", [ENDLESS, "SELECT 1"], ids=["long", "many"])
def test_a_query_whose_caller_is_killed_gives_its_thread_back(store: Store, statement: str) -> None:
    """There are more of them than threads."""
    began, ended = Semaphore(0), Semaphore(0)

    def never_end(connection: apsw.Connection) -> None:
        began.release()
        try:
            while True:
                connection.execute(statement).fetchall()
        finally:
            ended.release()

    callers = [gevent.spawn(store.readmodel.in_thread, never_end) for _ in range(THREADS + 2)]
    gevent.sleep(0)
    for _ in range(THREADS):
        assert acquired(began)
    gevent.killall(callers)
    for _ in range(THREADS):
        assert store.readmodel.in_thread(lambda connection: connection.execute("SELECT 1").get) == 1
    for _ in range(THREADS):
        assert acquired(ended)


def test_who_waits_for_a_thread_has_no_connection(store: Store) -> None:
    readers = store.readmodel._readers  # noqa: SLF001
    running, may_end = Semaphore(0), NativeEvent()

    def wait(_: apsw.Connection) -> None:
        running.release()
        may_end.wait(SECONDS)

    waiting = [gevent.spawn(readers.in_thread, wait) for _ in range(100)]
    with gevent.Timeout(SECONDS):
        for _ in range(THREADS):
            assert acquired(running)
        assert len(readers._opened) <= 1 + THREADS  # noqa: SLF001
        gevent.killall(waiting[THREADS:], block=True)
        may_end.set()
        gevent.joinall(waiting)
    assert readers.in_thread(lambda connection: connection.execute("SELECT 1").get) == 1
    assert len(readers._opened) <= 1 + THREADS  # noqa: SLF001
