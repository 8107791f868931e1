"""Exit statuses of `signalbox`. 2, for a wrong option or argument, is click's."""

from typing import Final

from signalbox import client

REJECTED: Final = 1
"""The command was refused, something is damaged, or not all could be printed."""
NO_SUCH_KEY: Final = 3
CANNOT_OPEN: Final = client.CANNOT_OPEN
"""No server, no store or no window could be opened."""
TIMED_OUT: Final = 5
"""The time of `watch --timeout` was over before `--until` or `--count` was reached."""
INTERRUPTED: Final = 130
"""By Ctrl-C, as a shell says it."""
