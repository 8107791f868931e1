"""Ports for programs that cannot choose a free one themselves and print it."""

import secrets
import socket
from contextlib import suppress
from typing import Final

OURS: Final = range(10_000, 32_000)
"""Below those that Linux gives to whoever asks for any: nobody is given one of these meanwhile."""


def free_port() -> int:
    """One of this computer that nobody listens on."""
    while True:
        port = secrets.choice(OURS)  # not `random`: Hypothesis gives all workers the same seed
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
