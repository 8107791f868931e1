"""Cooperative scheduling: greenlets share one thread, so long work yields to the others."""

from typing import Final

import gevent

IDLE_SECONDS: Final = 0.005
"""The longest wait for a hub that is never idle."""
HIGHEST_PRIORITY: Final = 2


def yield_to_hub() -> None:
    """Let other greenlets and the sockets run once.

    `sleep(0)` in a loop would starve the sockets, and the shortest other sleep is a millisecond.
    """
    gevent.idle(priority=HIGHEST_PRIORITY)


def wait_until_idle() -> None:
    """Let all others run first: return once the hub is idle, after `IDLE_SECONDS` at the latest.

    Greenlets that call `yield_to_hub`, such as a writer that is deciding, go on before: the caller
    runs while they wait for the disk.
    """
    gevent.with_timeout(IDLE_SECONDS, gevent.idle, timeout_value=None)
