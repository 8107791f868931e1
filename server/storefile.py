"""Whether what lies in a store's place can be one: a file, and no other program's database."""

import stat
from pathlib import Path
from typing import Final

import apsw

from server import leftovers
from server.errors import StoreError

OURS: Final = {"meta", "transactions", "changes", "state"}
"""Tables that a store has had from the first schema on, before it was marked as ours."""


def check_kind(path: Path) -> None:
    """Raises `StoreError` for what is no file: who reads a pipe or a device may wait forever."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # there is none, or opening it says why
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise StoreError(f"{path} cannot be opened as a Signalbox store: it is {what}, no file.")


def check_owner(path: Path, connection: apsw.Connection) -> None:
    """Raises `StoreError` where the database is another program's, and leaves it as it is.

    A store whose tables are damaged is ours by its mark, and one whose mark is by its tables.
    """
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    mark = connection.pragma("application_id")
    if mark == leftovers.MARK or names >= OURS or not (names or mark):
        return
    if leftovers.has_log(path):  # which closing would bring to the file
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    raise StoreError(
        f"{path} is another program's database and no Signalbox store: nothing was changed; move "
        "it away, or choose another folder with --data-dir."
    )
