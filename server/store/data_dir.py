"""The data directory: its files, and the lock that makes one process its only server."""

import json
import os
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from signalbox.server.model.errors import StoreError, StoreInUse
from signalbox.server.runtime.error_messages import reason
from signalbox.server.store import plain_file
from signalbox.server.store.checks_before_opening import resolve_link
from signalbox.server.store.file_names import ENDPOINT_FILE, STORE_FILE

ENDING_SECONDS: Final = 3.0
"""For how long a server that is ending may still hold the lock; mostly it takes 0.05 s."""
_CLOCK_TOLERANCE_SECONDS: Final = 1.0
"""Between the system's time of a process and that of a file."""


def lock_file(data_dir: Path) -> Path:
    """The lock's file, beside the store's, also where a symbolic link leads there.

    It contains the name of the store's file where that is not `STORE_FILE`.
    """
    file = resolve_link(data_dir / STORE_FILE)
    return file.with_name("server.lock" if file.name == STORE_FILE else f"{file.name}-lock")


def lock_data_dir(data_dir: Path, seconds: float = ENDING_SECONDS) -> FileLock:
    """Make this process the only server of `data_dir`. Raises `StoreInUse`, `StoreError`.

    Waits at most `seconds` for another server: that of the command before may be about to end.
    """
    os.umask(0o077)
    try:
        file, endpoint = lock_file(data_dir), data_dir / ENDPOINT_FILE
        plain_file.check_regular(file, endpoint, endpoint.with_suffix(".new"))
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(file)
        lock.acquire(timeout=seconds)
    except Timeout:
        pid = _server_process(data_dir)
        which = "server" if pid is None else f"server (process {pid})"
        raise StoreInUse(
            f"Another Signalbox {which} is using {data_dir} already: end it first.", str(data_dir)
        ) from None
    except OSError as error:
        why = reason(error)
        raise StoreError(f"The data directory {data_dir} cannot be used: {why}.") from error
    return lock


def _server_process(data_dir: Path) -> int | None:
    """The process id in `endpoint.json` of `data_dir`; None where that process has ended."""
    import psutil  # noqa: PLC0415 - only for a message

    file = data_dir / ENDPOINT_FILE
    try:
        pid = int(json.loads(plain_file.read(file))["pid"])
        # A process that began after the file was written has reused the id.
        is_it = psutil.Process(pid).create_time() <= file.stat().st_mtime + _CLOCK_TOLERANCE_SECONDS
    except (OSError, ValueError, TypeError, LookupError, OverflowError, psutil.Error):
        return None
    return pid if is_it else None
