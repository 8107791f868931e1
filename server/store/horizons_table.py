"""The table of retention horizons, see `model.horizons`."""

import apsw

from signalbox.server.model.horizons import Horizon


def read_horizons(connection: apsw.Connection) -> list[Horizon]:
    """All horizons, sorted by prefix; that of the empty prefix, for all keys, is always there."""
    rows = connection.execute("SELECT prefix, revision, at FROM horizons ORDER BY prefix")
    return [Horizon(*row) for row in rows]
