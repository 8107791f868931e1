"""The table of horizons: what retention has left of the log, see `model.horizons`."""

import apsw

from signalbox.server.model.horizons import Horizon


def read_horizons(connection: apsw.Connection) -> list[Horizon]:
    """All of them, in the order of their prefixes; that of the root is always there."""
    rows = connection.execute("SELECT prefix, revision, at FROM horizons ORDER BY prefix")
    return [Horizon(*row) for row in rows]
