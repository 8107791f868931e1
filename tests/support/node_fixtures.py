"""What tests of several nodes begin with, on NATS and on Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nodes import KINDS, Broker, Site, address_at, broker


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
