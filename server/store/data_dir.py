"""The data directory: what its store is called, and which process owns it."""

import os
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from signalbox.server.model.errors import StoreError, StoreInUse
from signalbox.server.runtime.error_messages import reason
from signalbox.server.store import lost_store
from signalbox.server.store.store_file import resolve_link

STORE_FILE: Final = lost_store.STORE_FILE
ENDING_SECONDS: Final = 3.0
"""A server that nobody uses any more takes a twentieth of a second to end, but not always."""


def lock_file(data_dir: Path) -> Path:
    """It lies beside the store's file, also where a symbolic link leads there, and has its name
    where that is another.
    """
    file = resolve_link(data_dir / STORE_FILE)
    return file.with_name("server.lock" if file.name == STORE_FILE else f"{file.name}-lock")


def lock_data_dir(data_dir: Path, seconds: float = ENDING_SECONDS) -> FileLock:
    """Make this process the only server of `data_dir`. Raises `StoreInUse`, `StoreError`.

    For so long another one may still hold it: that of a command just typed is about to end.
    """
    os.umask(0o077)
    try:
        file = lock_file(data_dir)
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(file)
        lock.acquire(timeout=seconds)
    except Timeout:
        raise StoreInUse(f"Another Signalbox server is using {data_dir} already.") from None
    except OSError as error:
        why = reason(error)
        raise StoreError(f"The data directory {data_dir} cannot be used: {why}.") from error
    return lock
