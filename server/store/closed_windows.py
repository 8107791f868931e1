"""The actors of closed windows, stored in `meta`: their ids are given to new windows."""

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from signalbox.server.store.database import PUT_META

CLOSED_WINDOWS: Final = "closed_windows"


def read(connection: apsw.Connection) -> list[str]:
    """The stored actors of closed windows; the one that was closed last comes last."""
    query = "SELECT value FROM meta WHERE name = ?"
    ids = connection.execute(query, (CLOSED_WINDOWS,)).get
    return msgspec.json.decode(ids or "[]", type=list[str])


def write(connection: apsw.Connection, actors: Sequence[str]) -> None:
    """Store the actors of closed windows, within the open transaction."""
    connection.execute(PUT_META, (CLOSED_WINDOWS, msgspec.json.encode(actors).decode()))
