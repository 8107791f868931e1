"""Fixtures: a real server for all tests of a file, on every engine or attacked by sockets."""

from collections.abc import Iterator

import pytest

from support.brokers import Options
from support.harness import Server
from support.raw_http import Client, serving


@pytest.fixture(scope="module")
def engine_server(tmp_path_factory: pytest.TempPathFactory, engine: Options) -> Iterator[Server]:
    """One server on each engine."""
    with serving(tmp_path_factory.mktemp("engine") / "store", *engine()) as server:
        yield server


@pytest.fixture
def engine_client(engine_server: Server) -> Iterator[Client]:
    """A client of `engine_server`."""
    with Client(engine_server) as client:
        yield client


@pytest.fixture(scope="module")
def attacked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may be left in any state."""
    with serving(tmp_path_factory.mktemp("attacked") / "store") as server:
        yield server


@pytest.fixture
def answering_server(attacked_server: Server) -> Iterator[Server]:
    """The same, which must answer after whatever a test did to it."""
    yield attacked_server
    with Client(attacked_server) as client:
        assert client.get("status").status == 200
        assert client.send("set", key="alive", value=1).status == 200
