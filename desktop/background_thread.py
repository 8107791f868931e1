"""Threads for work that goes on as long as the process and does not keep it from ending."""

import threading
from collections.abc import Callable


def start_background_thread(work: Callable[..., object], *args: object) -> None:
    """Call `work` on a daemon thread of its own."""
    threading.Thread(target=work, args=args, daemon=True).start()
