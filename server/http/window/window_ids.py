"""Assigns each window an id: the one that its tab had, that of a closed window, or a new one."""

import re
from collections.abc import Callable
from secrets import token_hex
from typing import Final

import apsw

from signalbox.server.model.errors import SignalboxError
from signalbox.server.read.read_model import ReadModel
from signalbox.server.store import closed_windows

ACTOR: Final = re.compile(r"window\.([0-9a-f]{8})(@.*)?")
"""The actor of a window in a browser; windows of the app have other names."""
MAX_CLOSED: Final = 100
"""Closed windows that are remembered."""

RunInCommit = Callable[[Callable[[apsw.Connection], None]], None]
"""Runs a function within a commit of its own. Raises `Unavailable`."""


class WindowIds:
    """A window that is opened again gets its former id, so that it can undo what was done in it:
    also after a restart, when its page has another origin and cannot read what it has stored.

    No two windows have the same id: an id is reused only where its page has reported that it is
    closed. A hidden page has no stream, and may come back in any later run. `page` identifies one
    loading of a page.
    """

    def __init__(self, readmodel: ReadModel, run_in_commit: RunInCommit) -> None:
        """Read the ids of closed windows from the store; `run_in_commit` stores them again."""
        self._readmodel, self._run_in_commit = readmodel, run_in_commit
        with readmodel.snapshot() as connection:
            self._closed = dict.fromkeys(closed_windows.read(connection))
        self._page_of: dict[str, str] = {}
        """Which page has each actor, or had it last."""

    def assign(self, node: str, page: str, before: str) -> str:
        """The id of a page; `node` is empty where the store is not shared.

        `before` is the previous page of the same tab, empty where there was none.
        """
        suffix = f"@{node}" if node else ""
        wrote_last = self._readmodel.log.actors("window.") if self._closed else []
        actor = self._actor_of(before) or next(
            (
                candidate
                for candidate in wrote_last
                if candidate in self._closed and _suffix(candidate) == suffix
            ),
            None,
        )
        if actor is not None and self._claim(actor, page):
            return actor.removeprefix("window.").removesuffix(suffix)
        fresh = token_hex(4)
        self._page_of[f"window.{fresh}{suffix}"] = page
        return fresh

    def on_stream_opened(self, actor: str, page: str) -> None:
        """A page has opened a stream; it may have been loaded in an earlier run."""
        if ACTOR.fullmatch(actor):
            self._page_of.setdefault(actor, page)

    def on_page_closed(self, page: str) -> None:
        """A page was closed, and its window too unless that has loaded another page."""
        if actor := self._actor_of(page):
            self._closed[actor] = None
            if len(self._closed) > MAX_CLOSED:
                del self._closed[next(iter(self._closed))]
            self._save()

    def _actor_of(self, page: str) -> str | None:
        """The actor of the window that shows this page."""
        return next((actor for actor, shown in self._page_of.items() if shown == page), None)

    def _claim(self, actor: str, page: str) -> bool:
        """Whether the id is this page's now; not where the disk still lists it as closed."""
        self._page_of[actor] = page
        if actor not in self._closed:
            return True
        del self._closed[actor]
        return self._save()

    def _save(self) -> bool:
        """Store the ids of closed windows; whether that was possible."""
        try:
            self._run_in_commit(
                lambda connection: closed_windows.write(connection, list(self._closed))
            )
        except SignalboxError:
            return False
        return True


def _suffix(actor: str) -> str | None:
    """The part of a browser window's actor after its id; None for other actors."""
    parts = ACTOR.fullmatch(actor)
    return (parts[2] or "") if parts else None
