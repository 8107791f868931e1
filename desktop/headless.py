"""Without a window: say why, serve in the foreground, and tell where a browser finds the page."""

import signal
import sys

from desktop.child import Child


def serve(child: Child, why: str) -> int:
    """Until SIGTERM or Ctrl-C; the exit status. Raises `NotRunning`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        child.start()
        print(f"{why}\nSignalbox serves without a window.", file=sys.stderr)
        print(f"Open {child.box.login()}", flush=True)
        child.keep(back=lambda _: None)
    except KeyboardInterrupt:
        child.stop()
    return 0
