"""Which id a window gets that logs in: of one that was there before this run, else a new one."""

import re
from functools import cached_property
from secrets import token_hex
from typing import Final

from signalbox.server.read.read_model import ReadModel

ACTOR: Final = re.compile(r"window\.([0-9a-f]{8})(@.*)?")
"""Of a browser's window; those of the app have names of their own."""


class WindowNames:
    """So that a window undoes what was done in it before a restart, though its page has another
    origin then and finds nothing that it kept. Each id is given once.
    """

    def __init__(self, readmodel: ReadModel) -> None:
        self._readmodel = readmodel

    def give(self, node: str) -> str:
        """An id for a window of this node, empty where nobody shares the store."""
        suffix = f"@{node}" if node else None
        for actor in list(self._earlier):
            found = ACTOR.fullmatch(actor)
            if found and found[2] == suffix:
                self.take(actor)
                return found[1]
        return token_hex(4)

    def take(self, actor: str) -> None:
        """This one is open: it was before this run and goes on."""
        self._earlier.pop(actor, None)

    @cached_property
    def _earlier(self) -> dict[str, None]:
        """Those that wrote, the last one first."""
        return dict.fromkeys(self._readmodel.actors("window."))
