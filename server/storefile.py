"""Whether the database in a store's place is one, and no other program's."""

from pathlib import Path
from typing import Final

import apsw

from server import leftovers
from server.errors import StoreError

OURS: Final = {"meta", "transactions", "changes", "state"}
"""Tables that a store has had from the first schema on, before it was marked as ours."""


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
