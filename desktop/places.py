"""Where things live on this computer, installed or frozen into one executable."""

import os
import sys
from pathlib import Path

import platformdirs


def data_dir(given: str | None = None) -> Path:
    """The store's folder: as given, else `SIGNALBOX_DATA_DIR`, else the user's. Made, for its
    owner only.
    """
    chosen = given or os.environ.get("SIGNALBOX_DATA_DIR")
    folder = Path(chosen).expanduser().absolute() if chosen else _default()
    return _private(folder)


def log_file(data_dir: Path) -> Path:
    """Where the server of `data_dir` writes what went wrong; beside any store but the default."""
    own = data_dir != _default()
    folder = data_dir / "log" if own else Path(platformdirs.user_log_dir("signalbox", False))
    return _private(folder) / "server.log"


def executable() -> list[str]:
    """The beginning of a command that runs this very installation."""
    return [sys.executable] if is_frozen() else [sys.executable, "-m", "desktop"]


def is_frozen() -> bool:
    """Whether this is a single executable that brings its own Python."""
    return bool(getattr(sys, "frozen", False))


def _default() -> Path:
    return Path(platformdirs.user_data_dir("signalbox", appauthor=False))


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
