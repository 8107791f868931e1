"""What a window shows: the empty page, its content after the login, and its stream.

`window_routes` loads this file, with all that renders, when the first page is asked for.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from signalbox.server import __version__
from signalbox.server.feed import Feed
from signalbox.server.formats.text_lines import ENCODINGS
from signalbox.server.http.window.page_stream import page
from signalbox.server.http.window.regions import Regions
from signalbox.server.http.window.window_query import WindowQuery
from signalbox.server.http.wire.request import Request
from signalbox.server.model import values
from signalbox.server.read.charts import ChartCache
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.scheduling import wait_until_idle, yield_to_hub
from signalbox.server.runtime.trusted_clock import Clock
from signalbox.server.settings import command_line
from signalbox.ui import views


class PageContent:
    """The pages of all windows."""

    def __init__(
        self,
        readmodel: ReadModel,
        feed: Feed,
        engine: Callable[[], dict[str, Any]],
        data_dir: Path,
        clock: Clock,
    ) -> None:
        """What the windows of this server show; `engine` reports the engine's status."""
        self._readmodel, self._feed, self._engine = readmodel, feed, engine
        self._data_dir, self._clock = data_dir, clock
        self._charts = ChartCache()
        self._is_prepared = False

    def prepare(self, pause: Callable[[], None] = wait_until_idle) -> None:
        """Compile the templates of a new page, if that has not been done; `pause` before each."""
        if not self._is_prepared:
            for _ in views.load_templates():
                pause()
            self._is_prepared = True

    def empty_page(self) -> str:
        """The page before its login, which everybody gets."""
        return views.login_page()

    def content(self, node: str, window: str, page: str) -> str:
        """The content of a new page, which `page` identifies, with the id of its window."""
        self.prepare(yield_to_hub)
        return views.shell(
            store=self._readmodel.store,
            version=__version__,
            theme=_theme(self._readmodel),
            shell_line=_example_command(self._data_dir),
            window=window,
            page=page,
            node=node,
            data_dir=str(self._data_dir),
            encodings=ENCODINGS,
            regions=self._initial_regions(),
            has_keys=self._readmodel.current.keys() > 0,
        )

    def frames(self, request: Request, signals: dict[str, Any]) -> Iterator[bytes]:
        """The stream of patches of one page. Raises `Invalid` where `signals` are no page's."""
        self.prepare(yield_to_hub)
        return page(
            request,
            self._readmodel,
            self._feed,
            self._engine,
            signals,
            self._charts,
            self._clock,
        )

    def _initial_regions(self) -> dict[str, str]:
        """Regions that a window shows before it has loaded its scripts and opened its stream."""
        regions = Regions(WindowQuery(), self._readmodel, self._feed, self._engine, self._charts)
        return regions.initial_html(int(self._clock() * 1000))


def _theme(readmodel: ReadModel) -> str:
    """The theme that the page begins with, as the setting says."""
    item = readmodel.current.get("_signalbox.theme")
    return str(values.decode(item.raw.encode())) if item else "system"


def _example_command(data_dir: Path) -> str:
    """A command that sets a key of this store, to be pasted into a shell."""
    return command_line(data_dir, "set", "hello", "world", program=_executable())


def _executable() -> list[str]:
    """The command that starts this installation."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    name = "signalbox.exe" if sys.platform == "win32" else "signalbox"
    beside = Path(sys.executable).with_name(name)
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "signalbox"]
