"""The server: commands are decided, logged and acknowledged; queries read what came of it.

The way through: http.guard (who) -> http.commands (parse) -> writer (decide -> engine.append ->
projection.apply -> acknowledge) -> feed -> http.streams, http.page. `app.compose` wires all of it.

Invariants: one writer; revisions without gaps; acknowledged means on disk; queries never write.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("signalbox-app")
except PackageNotFoundError:  # run from a folder without being installed
    __version__ = "0"
