"""One window process for each data directory: a second start brings the first one to the front."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from filelock import FileLock, Timeout

from signalbox import client
from signalbox.desktop import paths
from signalbox.desktop.server_process import ACTOR, ServerProcess

RAISE_KEY: Final = "_signalbox.window.raise"
"""Counts second starts: each of them adds 1."""
THEME_KEY: Final = "_signalbox.theme"
APP_KEYS: Final = "_signalbox.**"
"""The app's own keys; one stream for all of them."""
LOCK_FILE: Final = "window.lock"
PAUSE_SECONDS: Final = 0.05
TIMEOUT_SECONDS: Final = 20.0
"""For the first window to get its server running, or to end."""


class NoAnswer(Exception):
    """A window holds the data directory and its server does not answer."""


def lock_or_raise_window(
    data_dir: Path, timeout: float = TIMEOUT_SECONDS
) -> AbstractContextManager[object] | None:
    """The lock of the data directory's only window, or None after having raised that window.

    Raises `NoAnswer` where neither is possible within `timeout` seconds, `NotRunning` where
    something else is in the place of the lock.
    """
    paths.check_files(data_dir / LOCK_FILE)
    lock = FileLock(data_dir / LOCK_FILE, mode=0o600)
    deadline = monotonic() + timeout
    while monotonic() < deadline:
        try:
            return lock.acquire(timeout=PAUSE_SECONDS)
        except Timeout:
            if raise_open_window(data_dir):
                return None
    text = f"A window of {data_dir} is open, but its server does not answer"
    if pid := client.hanging_process(data_dir):
        text += f": end the process {pid}, and the window starts another one"
    raise NoAnswer(f"{text}.")


def has_open_window(data_dir: Path) -> bool:
    """Whether a window of the data directory is open."""
    if not (data_dir / LOCK_FILE).exists():
        return False
    try:
        with FileLock(data_dir / LOCK_FILE).acquire(timeout=0):
            return False
    except Timeout:
        return True


def raise_open_window(data_dir: Path) -> bool:
    """Ask the window that is open to come to the front; False where no server answers."""
    try:
        with client.connect(ACTOR, data_dir=data_dir, start=False) as box:
            box.add(RAISE_KEY)
    except client.NotRunning:
        return False
    return True


def watch_requests(
    server: ServerProcess,
    bring_to_front: Callable[[], None],
    set_theme: Callable[[str], None],
) -> None:
    """Call `bring_to_front` for every second start and `set_theme` with each theme, until the app
    ends; also across restarts of the server.
    """
    while not server.closed.wait(PAUSE_SECONDS):
        # `server` restarts the server, or reports that it cannot.
        with suppress(client.NotRunning, client.Rejected):
            for change in server.box.watch(APP_KEYS):
                if change.key == RAISE_KEY and not change.is_current:
                    bring_to_front()
                elif change.key == THEME_KEY:
                    set_theme("system" if change.deleted else change.value)
