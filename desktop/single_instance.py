"""One window for each data directory: who comes second raises the first."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from filelock import FileLock, Timeout

from signalbox import client
from signalbox.desktop import paths
from signalbox.desktop.server_process import ACTOR, ServerProcess

RAISE: Final = "_signalbox.window.raise"
THEME: Final = "_signalbox.theme"
OWN: Final = "_signalbox.**"
"""What the app keeps for itself; one stream for all of it."""
LOCK_FILE: Final = "window.lock"
PAUSE_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 20.0
"""For the first window to get its server running, or to go."""


class NoAnswer(Exception):
    """A window holds the data directory and its server does not answer."""


def claim(
    data_dir: Path, seconds: float = PATIENCE_SECONDS
) -> AbstractContextManager[object] | None:
    """The lock of the data directory's only window, or None after having raised that window.

    Raises `NoAnswer` where neither is possible for so many seconds, `NotRunning` where something
    else is in the place of the lock.
    """
    paths.check_files(data_dir / LOCK_FILE)
    lock = FileLock(data_dir / LOCK_FILE, mode=0o600)
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        try:
            return lock.acquire(timeout=PAUSE_SECONDS)
        except Timeout:
            if wish(data_dir):
                return None
    text = f"A window of {data_dir} is open, but its server does not answer"
    if pid := client.hanging_process(data_dir):
        text += f": end the process {pid}, and the window starts another one"
    raise NoAnswer(f"{text}.")


def is_open(data_dir: Path) -> bool:
    """Whether there is a window of the data directory."""
    if not (data_dir / LOCK_FILE).exists():
        return False
    try:
        with FileLock(data_dir / LOCK_FILE).acquire(timeout=0):
            return False
    except Timeout:
        return True


def wish(data_dir: Path) -> bool:
    """Ask the window that is open to come to the front; False where no server answers."""
    try:
        with client.connect(ACTOR, data_dir=data_dir, start=False) as box:
            box.add(RAISE)
    except client.NotRunning:
        return False
    return True


def heed(server: ServerProcess, come: Callable[[], None], set_theme: Callable[[str], None]) -> None:
    """Call `come` for every wish of another start, `set_theme` with each theme, by any server."""
    while not server.closed.wait(PAUSE_SECONDS):
        # `server` brings the server back, or says that it does not come.
        with suppress(client.NotRunning, client.Rejected):
            for change in server.box.watch(OWN):
                if change.key == RAISE and not change.is_current:
                    come()
                elif change.key == THEME:
                    set_theme("system" if change.deleted else change.value)
