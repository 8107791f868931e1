"""The app put together: the windows, their server, and what a second start asks of them."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from signalbox.client import NotRunning, Rejected
from signalbox.desktop import (
    alert,
    display,
    engine_options,
    headless,
    paths,
    single_instance,
    stdio,
    window_log,
)
from signalbox.desktop.background_thread import start_background_thread
from signalbox.desktop.exit_status import CANNOT_OPEN, REJECTED
from signalbox.desktop.server_process import ServerProcess

if TYPE_CHECKING:
    from signalbox.desktop.window.open_windows import OpenWindows

log: Final = logging.getLogger(__name__)


def run(data_dir_option: str | None) -> int:
    """Open the window of a data directory, or raise the one that is open; the exit status.

    Where no window can be shown the server runs in the foreground, for a browser.
    """
    window_log.log_to_stderr()
    try:
        return _run_app(paths.make_data_dir(data_dir_option))
    except (NotRunning, Rejected, single_instance.NoAnswer) as error:
        why = str(error)
    except OSError as error:
        if sentence := stdio.stdout_error(error):
            stdio.discard_stdout()
            print(f"signalbox: {sentence}", file=sys.stderr)
            return REJECTED
        why = paths.data_dir_error(error)
    print(f"signalbox: {why}", file=sys.stderr)
    _show_alert(why)
    return CANNOT_OPEN


def _run_app(data_dir: Path) -> int:
    """Run the app on its data directory, without a window where none can be shown."""
    engine_options.check_running_server(data_dir)
    server = ServerProcess(data_dir)
    try:
        display.require_display()
        lock = single_instance.lock_or_raise_window(data_dir)
        if lock is None:
            print(f"The window of {data_dir} is open already; it was brought to the front.")
        else:
            with lock:
                window_log.log_to_file(server.log.with_name("window.log"))
                App(server).open()
    except display.CannotShow as error:
        return headless.serve(server, str(error), _show_alert_with_advice)
    finally:
        server.close()
    return 0


def _show_alert(text: str) -> bool:
    """Show an alert if there is a display but no terminal; whether it was shown."""
    return not stdio.has_terminal() and display.has_display() and alert.show_alert(text)


def _show_alert_with_advice(why: str) -> bool:
    """Show why there is no window, and what can be done without one."""
    return _show_alert(
        f"{why}\n\nUntil then `signalbox serve` in a terminal shows it in a browser."
    )


class App:
    """What belongs to the windows; all but `open` runs on threads of its own."""

    def __init__(self, server: ServerProcess) -> None:
        """The windows of the app, which show the pages of `server`."""
        self._server = server
        self._windows: OpenWindows | None = None  # until Qt is loaded

    def open(self) -> None:
        """Show a window, until the user has closed it and all others. On the main thread."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            started = pool.submit(self._start_server)  # takes as long as loading Qt does
            warning = display.disable_sandbox_for_root()
            display.silence_engine_log()
            display.require_web_engine()
            from signalbox.desktop.window import open_windows, webview_window  # noqa: PLC0415 - they can be loaded only now

            engine, _ = webview_window.prepare_web_engine(), webview_window.screens()
            started.result()
        if warning:
            log.warning("%s", warning)
        self._windows = open_windows.OpenWindows(self._server)
        self._windows.run()
        del engine

    def _start_server(self) -> None:
        """Start the server, and at once keep it running: one that we found may be about to end."""
        self._server.start()
        start_background_thread(
            single_instance.watch_requests, self._server, self._bring_to_front, self._set_theme
        )
        start_background_thread(self._keep_server_running)

    def _bring_to_front(self) -> None:
        """A second start of the app asks for its windows: bring them to the front."""
        if self._windows is not None:
            self._windows.bring_to_front()

    def _set_theme(self, theme: str) -> None:
        """The setting of the theme has changed: the app's windows follow."""
        if self._windows is not None:
            self._windows.set_theme(theme)

    def _keep_server_running(self) -> None:
        """Restart the server whenever it ends; the titles say it where that fails."""
        try:
            self._server.keep_running(self._on_restart)
        except NotRunning as error:
            if self._windows is not None:
                self._windows.show_in_titles(str(error))

    def _on_restart(self, is_same_address: bool) -> None:
        """The server was restarted, perhaps at another address."""
        # The page does not find another address by itself, and must log in there.
        if not is_same_address and self._windows is not None:
            self._windows.log_in_again()
