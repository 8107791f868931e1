"""Names of the store's files in a data directory. The command line imports this at every start."""

from typing import Final

STORE_FILE: Final = "signalbox.db"
"""The store's name in a data directory."""
MARKER_SUFFIX: Final = "-made"
"""Suffix of the name of the marker."""
ENDPOINT_FILE: Final = "endpoint.json"
"""Where the server of a data directory says how it is reached."""
