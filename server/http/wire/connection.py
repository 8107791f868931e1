"""Sends to the socket of a client, with a time limit."""

from typing import Any, Final

from gevent.socket import wait_write

SEND_SECONDS: Final = 60.0


def send_all(sock: Any, data: bytes | memoryview) -> None:
    """Send everything; raises `TimeoutError` where the client reads nothing for `SEND_SECONDS`.

    gevent's `sendall` has one time limit for all of it, which a slow reader would exceed.
    """
    if (sent := send_now(sock, data)) == len(data):
        return
    rest = memoryview(data)[sent:]
    while rest:
        wait_write(sock.fileno(), SEND_SECONDS, TimeoutError("The reader takes nothing."))
        rest = rest[send_now(sock, rest) :]


def send_now(sock: Any, data: bytes | memoryview) -> int:
    """How many bytes the connection took at once, without waiting; 0 where it is full."""
    try:
        return int(sock._sock.send(data))  # noqa: SLF001 - gevent's own would wait
    except (BlockingIOError, InterruptedError):
        return 0
