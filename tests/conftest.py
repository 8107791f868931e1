"""What all tests share: the real server, and no silent skipping in CI."""

import gc
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from support import brokers
from support.harness import Server

pytest_plugins = [
    "support.run_processes",
    "support.server_fixtures",
    "support.node_fixtures",
    "support.page_window",
    "support.desktop_window",
]
StartServer = Callable[..., Server]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_configure() -> None:
    # Tests and CI run as root, where Chromium's sandbox cannot; machines for tests have no GPU.
    os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--no-sandbox --disable-gpu")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # thousands of collected tests, which no later collection of garbage looks at again


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, and CI allows no skipped test: {report.longrepr}"
    return report


@pytest.fixture(params=["sqlite", "nats", "redis"], scope="module")
def engine(request: pytest.FixtureRequest) -> brokers.Options:
    """Every test that uses it is tried on every engine: the options of a new store's server."""
    kind: str = request.param
    return lambda: brokers.options(kind)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts real servers: `server(*options, data_dir=…, env=…, limits=…)`; all end after the test.

    Each call without `data_dir` makes a store of its own.
    """
    started: list[Server] = []
    numbers = itertools.count(1)

    def start(
        *options: str,
        data_dir: Path | None = None,
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> Server:
        folder = data_dir or tmp_path / f"store-{next(numbers)}"
        started.append(Server(folder, *options, env=env, limits=limits))
        return started[-1]

    yield start
    for one in started:
        one.kill()
