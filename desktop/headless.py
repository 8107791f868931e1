"""Without a window: say why, serve in the foreground, and tell where a browser finds the page."""

import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from signalbox.desktop import streams
from signalbox.desktop.child import Child

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def serve(child: Child, why: str) -> int:
    """Until SIGTERM or Ctrl-C; the exit status. Raises `NotRunning`."""
    # No exception: one that is raised within a finalizer is lost, and nothing would end.
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda *_: ended.put(None))
    threading.Thread(target=_keep, args=(child, why, ended.put), daemon=True).start()
    error = ended.get()
    child.stop()
    if error is not None:
        raise error
    return 0


def _keep(child: Child, why: str, end: Callable[[BaseException], None]) -> None:
    try:
        child.start()
        print(f"{why}\nSignalbox serves without a window.", file=sys.stderr)
        try:
            print(f"Open {child.box.login()}", flush=True)
        except BrokenPipeError:  # nobody reads it, and `signalbox token --login` tells another
            streams.forget_output()
        child.keep(back=lambda _: None)
    except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
        end(error)
