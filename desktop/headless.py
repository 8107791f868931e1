"""Where no window can be shown: say why, serve in the foreground, open the page in a browser."""

import html
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from signalbox.desktop import display, file_viewer, stdio
from signalbox.desktop.exit_status import CANNOT_OPEN
from signalbox.desktop.server_process import ServerProcess
from signalbox.server.login_address import address_lines

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
REDIRECT: Final = """\
<!doctype html>
<title>Signalbox</title>
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<a href="{url}">Signalbox</a>
"""


def serve(server: ServerProcess, why: str, show_alert: Callable[[str], bool]) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status. Raises `NotRunning`.

    It ends at once where no browser shows the page and `show_alert` has shown the reason: then
    there is no terminal either in which somebody could read an address.
    """
    # No exception: one that is raised within a finalizer is lost, and nothing would end.
    results: SimpleQueue[BaseException | int] = SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda *_: results.put(0))
    threading.Thread(
        target=_run_server, args=(server, why, show_alert, results.put), daemon=True
    ).start()
    result = results.get()
    server.stop()
    with suppress(OSError):  # it never was ours
        _redirect_file(server).unlink(missing_ok=True)
    if isinstance(result, BaseException):
        raise result
    return result


def _run_server(
    server: ServerProcess,
    why: str,
    show_alert: Callable[[str], bool],
    end: Callable[[BaseException | int], None],
) -> None:
    """Serve without a window until the process ends; `end` gets the error or the exit status."""
    try:
        server.start()
        print(why, file=sys.stderr)
        in_browser = display.has_display() and _open_browser(server)
        if not in_browser and show_alert(why):
            end(CANNOT_OPEN)
        else:
            _print_address(server, in_browser)
            server.keep_running(on_restart=lambda _: None)
    except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
        end(error)


def _print_address(server: ServerProcess, in_browser: bool) -> None:
    """Print the address that opens the page in a browser."""
    print("Signalbox serves without a window.", file=sys.stderr)
    if in_browser:
        print("The page opens in the browser; the address below opens another.", file=sys.stderr)
    try:
        print(f"Open {address_lines(server.box.login())}", flush=True)
    except BrokenPipeError:  # nobody reads it, and `signalbox token --login` prints another
        stdio.discard_stdout()


def _open_browser(server: ServerProcess) -> bool:
    """Show the page in the default browser; False where there is none.

    By a file that only its owner may read: everybody here sees the arguments of a program, and a
    one-time address among them.
    """
    file = _redirect_file(server)
    try:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        *_, url = address_lines(server.box.login()).split()  # the last one is any browser's
        file.write_text(REDIRECT.format(url=html.escape(url)), encoding="utf-8")
        file_viewer.open_in_viewer(file)
    except (OSError, file_viewer.NoViewer):
        return False
    return True


def _redirect_file(server: ServerProcess) -> Path:
    """The file that leads a browser to the page, without a secret on a command line."""
    return server.data_dir / "open.html"
