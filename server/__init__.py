"""The server: commands are decided, logged and acknowledged; queries read what came of it.

The way through: http.wire.guard (who) -> http.commands (parse) -> write.writer (decide ->
engine.append -> projection.apply -> acknowledge) -> feed -> http.api.streams and
http.window.page_stream. `app.App` wires all of it.

Invariants: one writer; revisions without gaps; acknowledged means on disk; queries never write.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("signalbox-app")
except PackageNotFoundError:  # run from a folder without being installed
    __version__ = "0"
