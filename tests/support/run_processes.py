"""Settings of a test run for the processes it starts: signals, order, end, forked servers."""

import atexit
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest

from support.forked_server import ForkedServer
from support.harness import Server
from support.run_reaper import RUN_MARKS_VARIABLE

REAPER: Final = Path(__file__).with_name("run_reaper.py")
IGNORED_BY_SOME: Final = ("SIGINT", "SIGHUP")
"""In the background of a shell, and below `nohup`."""


def pytest_configure(config: pytest.Config) -> None:
    _stop_ignoring_signals()
    _keep_bytecode(config.rootpath)
    start_run_reaper()
    Server.launch = ForkedServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, and the others in an order that is always the same and
    mixes those that wait with those that compute; within a file all stays as it is.
    """
    items.sort(
        key=lambda item: (item.get_closest_marker("long") is None, _file_order(item.path.name))
    )


def _file_order(name: str) -> int:
    return crc32(name.encode())


def _stop_ignoring_signals() -> None:
    """An ignored signal is ignored by every child as well; one that is handled is not."""
    for name in IGNORED_BY_SOME:
        number = getattr(signal, name, None)  # Windows has but one of them
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _keep_bytecode(root: Path) -> None:
    """Hundreds of processes are started, of which each would compile the program by itself."""
    folder = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(root / ".pytest_cache" / "bytecode"))
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""
    # and the next run need not compile the tests again, whose assertions pytest rewrites
    sys.dont_write_bytecode, sys.pycache_prefix = False, folder


def start_run_reaper() -> None:
    """From now on every process that is started carries this run's mark, and ends with the run."""
    mark = secrets.token_hex(8)
    reaper = subprocess.Popen(
        [sys.executable, str(REAPER), mark],
        stdin=subprocess.PIPE,
        start_new_session=True,  # what ends the run by its group or its terminal spares it
    )
    os.environ[RUN_MARKS_VARIABLE] = f"{os.environ.get(RUN_MARKS_VARIABLE, '')} {mark}".strip()
    atexit.register(
        reaper.communicate
    )  # after all other exit functions, which end what they have started
