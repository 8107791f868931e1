"""The app put together: the windows, their server, and who calls them."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.client import NotRunning, Rejected
from signalbox.desktop import (
    alert,
    engine_options,
    headless,
    paths,
    server_log,
    single_instance,
    stdio,
)
from signalbox.desktop.exit_status import CANNOT_OPEN, REJECTED
from signalbox.desktop.server_process import ServerProcess
from signalbox.desktop.window import display

if TYPE_CHECKING:
    from signalbox.desktop.window.open_windows import OpenWindows


def run(given: str | None) -> int:
    """Open the window of a data directory, or raise the one that is open; the exit status.

    Where no window can be shown the server runs in the foreground, for a browser.
    """
    try:
        return _run(paths.data_dir(given))
    except (NotRunning, Rejected, single_instance.NoAnswer) as error:
        why = str(error)
    except OSError as error:
        if sentence := stdio.stdout_error(error):
            stdio.discard_stdout()
            print(f"signalbox: {sentence}", file=sys.stderr)
            return REJECTED
        why = paths.unusable(error)
    print(f"signalbox: {why}", file=sys.stderr)
    _show(why)
    return CANNOT_OPEN


def _run(data_dir: Path) -> int:
    engine_options.check_running_server(data_dir)
    server = ServerProcess(data_dir)
    try:
        display.require_display()
        lock = single_instance.claim(data_dir)
        if lock is not None:
            with lock:
                App(server).open()
    except display.CannotShow as error:
        return headless.serve(server, str(error), _show_until_then)
    finally:
        server.close()
    return 0


def _show(why: str) -> bool:
    """Show it to whoever has a display and no terminal; whether somebody has seen it."""
    return not alert.has_terminal() and display.is_there() and alert.show(why)


def _show_until_then(why: str) -> bool:
    return _show(f"{why}\n\nUntil then `signalbox serve` in a terminal shows it in a browser.")


class App:
    """What belongs to the windows; all but `open` runs on threads of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._windows: OpenWindows | None = None  # until Qt is loaded

    def open(self) -> None:
        """Show a window, until the user has closed it and all others. On the main thread."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            started = pool.submit(self._serve)  # takes as long as loading Qt does
            said = display.without_sandbox()
            display.without_noise()
            display.require_libraries()
            from signalbox.desktop.window import open_windows, window  # noqa: PLC0415 - they can be loaded only now

            engine, _ = window.prepare(), window.screens()
            started.result()
        if said:
            print(f"signalbox: {said}", file=sys.stderr)
        self._windows = open_windows.OpenWindows(self._server)
        self._windows.run()
        del engine

    def _serve(self) -> None:
        """Start the server, and at once keep it: one that we found may be about to end."""
        self._server.start()
        _beside(single_instance.heed, self._server, self._come, self._set_theme)
        _beside(self._keep_server)
        _beside(server_log.bound, self._server.log, self._server.closed)

    def _come(self) -> None:
        if self._windows is not None:
            self._windows.come()

    def _set_theme(self, theme: str) -> None:
        if self._windows is not None:
            self._windows.set_theme(theme)

    def _keep_server(self) -> None:
        try:
            self._server.keep(self._back)
        except NotRunning as error:
            if self._windows is not None:
                self._windows.say(str(error))

    def _back(self, as_before: bool) -> None:
        # The page finds another server only if it is told, and must log in there.
        if not as_before and self._windows is not None:
            self._windows.show_again()


def _beside(work: Callable[..., None], *args: object) -> None:
    """Run on a thread of its own for as long as the process."""
    threading.Thread(target=work, args=args, daemon=True).start()
