"""Giving others a turn: greenlets share one thread."""

from typing import Final

import gevent

REST_SECONDS: Final = 0.005
"""The longest that anything waits for a hub that is never idle."""
HIGHEST: Final = 2


def yield_to_hub() -> None:
    """Give other greenlets and the sockets one turn.

    `sleep(0)` in a loop would starve the sockets, and the shortest other sleep is a millisecond.
    """
    gevent.idle(priority=HIGHEST)


def wait_until_idle() -> None:
    """Let everybody else go first: return once the hub is idle, after `REST_SECONDS` at the latest.

    Behind those who only breathe, such as a writer that is deciding: what rests runs while the disk
    is waited for.
    """
    gevent.with_timeout(REST_SECONDS, gevent.idle, timeout_value=None)
