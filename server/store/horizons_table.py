"""The table of retention horizons, see `model.horizons`."""

import apsw

from signalbox.server.model.horizons import Horizon, Horizons


def read_horizons(connection: apsw.Connection) -> Horizons:
    """All horizons, sorted by prefix; that of the empty prefix, for all keys, is always there."""
    rows = connection.execute("SELECT prefix, revision, at FROM horizons ORDER BY prefix")
    return Horizons(Horizon(*row) for row in rows)
