"""A progress bar on the terminal for work that takes a while."""

import sys
from collections.abc import Callable
from typing import Any, Self


class ProgressBar:
    """A progress bar on stderr where that is a terminal, nothing elsewhere.

    Without an update it only shows that something goes on.
    """

    def __init__(self, title: str) -> None:
        """A progress bar with this title; `update` takes what is done and the total."""
        self._title = title
        self._progress: Any = None
        self.update: Callable[[int, int], None] = _ignore

    def __enter__(self) -> Self:
        """Show the bar, if stderr is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - slow to import
            from rich.progress import Progress  # noqa: PLC0415 - slow to import

            progress = self._progress = Progress(
                console=Console(stderr=True), transient=True, redirect_stdout=False
            )
            task = progress.add_task(self._title, total=None)
            self.update = lambda done, total: progress.update(task, completed=done, total=total)
            progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar from the terminal."""
        self.hide()

    @property
    def is_shown(self) -> bool:
        """Whether there is a bar on the terminal."""
        return self._progress is not None

    def hide(self) -> None:
        """Remove the bar from the terminal for good."""
        if self._progress is not None:
            self._progress.stop()
            self._progress, self.update = None, _ignore

    def hide_before_output(self) -> None:
        """Remove the bar where what is printed from now on is shown on a terminal as well."""
        if sys.stdout.isatty():
            self.hide()


def _ignore(done: int, total: int) -> None:
    """Show nothing."""
