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
MEANINGS: Final = {
    0: "Accepted, done.",
    REJECTED: (
        "The command or a line of an import was rejected, a question answered with no, or a value "
        "breaks a rule (check)."
    ),
    2: "Wrong usage.",
    NO_SUCH_KEY: "No such key.",
    CANNOT_OPEN: "The store cannot be reached or opened.",
    TIMED_OUT: "The time of watch --timeout was over before what it waited for.",
}
"""As the manual page lists them."""
