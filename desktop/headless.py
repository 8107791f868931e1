"""Without a window: say why, serve in the foreground, and show the page in a browser."""

import html
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from signalbox.desktop import display, streams, viewer
from signalbox.desktop.child import Child
from signalbox.server.settings import address_lines

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
FAILED: Final = 4
REDIRECT: Final = """\
<!doctype html>
<title>Signalbox</title>
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<a href="{url}">Signalbox</a>
"""


def serve(child: Child, why: str, show: Callable[[str], bool]) -> int:
    """Until SIGTERM or Ctrl-C; the exit status. Raises `NotRunning`.

    Where no browser shows the page, and `show` has shown the reason to somebody who has no terminal
    to read an address in, it ends.
    """
    # No exception: one that is raised within a finalizer is lost, and nothing would end.
    ended: SimpleQueue[BaseException | int] = SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda *_: ended.put(0))
    threading.Thread(target=_keep, args=(child, why, show, ended.put), daemon=True).start()
    result = ended.get()
    child.stop()
    _file(child).unlink(missing_ok=True)
    if isinstance(result, BaseException):
        raise result
    return result


def _keep(
    child: Child,
    why: str,
    show: Callable[[str], bool],
    end: Callable[[BaseException | int], None],
) -> None:
    try:
        child.start()
        print(why, file=sys.stderr)
        in_browser = display.is_there() and _open(child)
        if not in_browser and show(why):
            end(FAILED)
        else:
            _tell(child, in_browser)
            child.keep(back=lambda _: None)
    except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
        end(error)


def _tell(child: Child, in_browser: bool) -> None:
    print("Signalbox serves without a window.", file=sys.stderr)
    if in_browser:
        print("The page opens in the browser; the address below opens another.", file=sys.stderr)
    try:
        print(f"Open {address_lines(child.box.login())}", flush=True)
    except BrokenPipeError:  # nobody reads it, and `signalbox token --login` tells another
        streams.forget_output()


def _open(child: Child) -> bool:
    """Show the page in the default browser; False where there is none.

    By a file that only its owner may read: everybody here sees the arguments of a program, and a
    one-time address among them.
    """
    file = _file(child)
    try:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        *_, url = address_lines(child.box.login()).split()  # the last one is any browser's
        file.write_text(REDIRECT.format(url=html.escape(url)), encoding="utf-8")
        viewer.show(file)
    except (OSError, viewer.NoViewer):
        return False
    return True


def _file(child: Child) -> Path:
    return child.data_dir / "open.html"
