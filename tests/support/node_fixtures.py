"""What tests of several nodes begin with, on NATS and on Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.brokers import new_log
from support.engine_stores import NodeStore
from support.nodes import KINDS, Broker, Site, address_at, broker
from support.silent_log import TIMEOUT, SilentLog


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A new log on the tests' common server."""
    with Site(tmp_path, request.param) as made:
        yield made


@pytest.fixture(params=KINDS)
def own_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A server that the test may stop, kill and empty."""
    with broker(request.param, tmp_path / "broker") as made:
        yield made


@pytest.fixture
def own_site(own_engine: Broker, tmp_path: Path) -> Iterator[Site]:
    """A log on it."""
    with Site(tmp_path, address=address_at(own_engine.url)) as made:
        yield made


@pytest.fixture(params=KINDS)
def log_address(request: pytest.FixtureRequest) -> str:
    """Where a new log is, on the tests' common server."""
    return new_log(request.param)


@pytest.fixture
def node_store(tmp_path: Path, log_address: str) -> Iterator[NodeStore]:
    """The store of a node of that log, in this process; soon it waits no longer for an answer."""
    with NodeStore(tmp_path / "signalbox.db", log_address, TIMEOUT) as made:
        yield made


@pytest.fixture
def silence(node_store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> SilentLog:
    """That log no longer answers."""
    return SilentLog(node_store, monkeypatch)
