"""What every process that the tests start has in common: it heeds signals and ends with the run."""

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

from support.forked import Forked
from support.harness import Server
from support.watchman import VARIABLE

WATCHMAN: Final = Path(__file__).with_name("watchman.py")
IGNORED_BY_SOME: Final = ("SIGINT", "SIGHUP")
"""In the background of a shell, and below `nohup`."""


def pytest_configure(config: pytest.Config) -> None:
    _let_children_heed_signals()
    _keep_bytecode(config.rootpath)
    be_watched()
    Server.launch = Forked


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, and the others in an order that is always the same and
    mixes those that wait with those that compute; within a file all stays as it is.
    """
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, _mixed(item.path.name)))


def _mixed(name: str) -> int:
    return crc32(name.encode())


def _let_children_heed_signals() -> None:
    """An ignored signal is ignored by every child as well; one that is handled is not."""
    for name in IGNORED_BY_SOME:
        number = getattr(signal, name, None)  # Windows has but one of them
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _keep_bytecode(root: Path) -> None:
    """Hundreds of processes are started, of which each would compile the program by itself."""
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(root / ".pytest_cache" / "bytecode"))
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""


def be_watched() -> None:
    """From now on whatever is started carries this run's mark, and ends with the run."""
    mark = secrets.token_hex(8)
    watchman = subprocess.Popen(
        [sys.executable, str(WATCHMAN), mark],
        stdin=subprocess.PIPE,
        start_new_session=True,  # what ends the run by its group or its terminal spares it
    )
    os.environ[VARIABLE] = f"{os.environ.get(VARIABLE, '')} {mark}".strip()
    atexit.register(watchman.communicate)  # behind all others, which end what they have started
