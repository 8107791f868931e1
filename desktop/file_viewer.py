"""Open a file or a folder with the program that the system has for it."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from signalbox.desktop import child_env

FAILURE_SECONDS: Final = 5.0
"""A program that has not failed by then shows something."""
OPENERS: Final = {"darwin": "open", "win32": "explorer"}


class NoViewer(Exception):
    """No program here can show it; the message names the path."""


def open_in_viewer(path: Path) -> None:
    """Open a file or folder with the system's program for it. Raises `NoViewer`."""
    opener = OPENERS.get(sys.platform, "xdg-open")
    try:
        process = subprocess.Popen(
            [opener, str(path)],
            env=child_env.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        status = process.wait(FAILURE_SECONDS)
    except subprocess.TimeoutExpired:
        return
    except OSError as error:
        raise NoViewer(f"There is no {opener} here. Look at {path}") from error
    if status != 0 and opener != "explorer":  # which ends with 1 whenever it has shown something
        raise NoViewer(f"No program here shows it. Look at {path}")
