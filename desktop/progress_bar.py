"""A progress bar on the terminal for work that takes a while."""

import sys
from collections.abc import Callable
from typing import Any, Self


class ProgressBar:
    """A progress bar on stderr where that is a terminal, nothing elsewhere."""

    def __init__(self, title: str) -> None:
        """A progress bar with this title; `update` takes what is done and the total."""
        self._title = title
        self._progress: Any = None
        self.update: Callable[[int, int], None] = lambda done, total: None  # noqa: ARG005

    def __enter__(self) -> Self:
        """Show the bar, if stderr is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - slow to import
            from rich.progress import Progress  # noqa: PLC0415 - slow to import

            progress = self._progress = Progress(console=Console(stderr=True), transient=True)
            task = progress.add_task(self._title)
            self.update = lambda done, total: progress.update(task, completed=done, total=total)
            progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar from the terminal."""
        if self._progress is not None:
            self._progress.stop()
