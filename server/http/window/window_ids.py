"""Which id a window gets: the one its tab has, that of a closed window, or a new one."""

import re
from collections.abc import Callable
from secrets import token_hex
from typing import Final

import apsw

from signalbox.server.model.errors import SignalboxError
from signalbox.server.read.read_model import ReadModel
from signalbox.server.store import closed_windows

ACTOR: Final = re.compile(r"window\.([0-9a-f]{8})(@.*)?")
"""Of a browser's window; those of the app have names of their own."""
MOST: Final = 100
"""Closed windows that are remembered."""

Between = Callable[[Callable[[apsw.Connection], None]], None]
"""Does a job in a commit of its own. Raises `Unavailable`."""


class WindowIds:
    """So that a window undoes what was done in it before it was closed, or before a restart, after
    which its page has another origin and finds nothing that it kept.

    No two windows have the same id: one is given again only where the page that had it has said
    that it is closed. A page that is out of sight has no stream, and may come back in any later
    run. `page` is another one each time that a page is loaded.
    """

    def __init__(self, readmodel: ReadModel, between: Between) -> None:
        self._readmodel, self._between = readmodel, between
        with readmodel.snapshot() as connection:
            self._closed = dict.fromkeys(closed_windows.read(connection))
        self._page_of: dict[str, str] = {}
        """Which page has each actor, or had it last."""

    def give(self, node: str, page: str, before: str) -> str:
        """An id for a page of this node, empty where nobody shares the store.

        `before` is the page that was loaded in the same tab before, empty where none was.
        """
        suffix = f"@{node}" if node else ""
        wrote_last = self._readmodel.log.actors("window.") if self._closed else []
        actor = self._actor_of(before) or next(
            (one for one in wrote_last if one in self._closed and _suffix(one) == suffix), None
        )
        if actor is not None and self._take(actor, page):
            return actor.removeprefix("window.").removesuffix(suffix)
        fresh = token_hex(4)
        self._page_of[f"window.{fresh}{suffix}"] = page
        return fresh

    def opened(self, actor: str, page: str) -> None:
        """A page has a stream, perhaps one of an earlier run."""
        if ACTOR.fullmatch(actor):
            self._page_of.setdefault(actor, page)

    def closed(self, page: str) -> None:
        """A page has gone, and with it its window unless that has loaded another one."""
        if actor := self._actor_of(page):
            self._closed[actor] = None
            if len(self._closed) > MOST:
                del self._closed[next(iter(self._closed))]
            self._save()

    def _actor_of(self, page: str) -> str | None:
        return next((actor for actor, one in self._page_of.items() if one == page), None)

    def _take(self, actor: str, page: str) -> bool:
        """Whether it is this page's now; not while the disk says that nobody has it."""
        self._page_of[actor] = page
        if actor not in self._closed:
            return True
        del self._closed[actor]
        return self._save()

    def _save(self) -> bool:
        try:
            self._between(lambda connection: closed_windows.write(connection, list(self._closed)))
        except SignalboxError:
            return False
        return True


def _suffix(actor: str) -> str | None:
    """Behind a browser window's id; None of other actors."""
    found = ACTOR.fullmatch(actor)
    return (found[2] or "") if found else None
