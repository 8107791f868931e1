"""The server: commands are decided, logged and acknowledged; queries read what came of it.

The way through: http.wire.guard (who) -> http.commands (parse) -> write.writer (decide ->
engine.append -> projection.apply -> acknowledge) -> feed -> http.api.streams and
http.window.page_stream. `app.App` wires all of it.

Invariants: one writer; revisions without gaps; acknowledged means on disk; queries never write.
"""

__version__ = "0.1.0"
"""As in `pyproject.toml`: to ask for it how it is installed takes a tenth of the server's start."""
