"""Without a window: say why, serve in the foreground, and tell where a browser finds the page."""

import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from signalbox.client import NotRunning
from signalbox.desktop.child import Child

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def serve(child: Child, why: str) -> int:
    """Until SIGTERM or Ctrl-C; the exit status. Raises `NotRunning`."""
    # No exception: one that is raised within a finalizer is lost, and nothing would end.
    ended: SimpleQueue[NotRunning | None] = SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda *_: ended.put(None))
    threading.Thread(target=_keep, args=(child, why, ended.put), daemon=True).start()
    error = ended.get()
    child.stop()
    if error is not None:
        raise error
    return 0


def _keep(child: Child, why: str, end: Callable[[NotRunning | None], None]) -> None:
    try:
        child.start()
        print(f"{why}\nSignalbox serves without a window.", file=sys.stderr)
        print(f"Open {child.box.login()}", flush=True)
        child.keep(back=lambda _: None)
    except NotRunning as error:
        end(error)
