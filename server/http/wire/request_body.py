"""Reads the body of a request, at once or while it arrives: checks media type, size and memory."""

from collections.abc import Iterator
from typing import Final

from signalbox.server.http.wire.body_framing import BLOCK
from signalbox.server.http.wire.request import Request
from signalbox.server.model.errors import (
    Busy,
    ContentCoding,
    IncompleteBody,
    MediaType,
    TooLarge,
)
from signalbox.server.runtime.scheduling import wait_until_idle

MAX_BODY: Final = 16 * 1024 * 1024
MAX_BODIES: Final = 4 * MAX_BODY
SMALL_BODY: Final = 64 * 1024


class BodyMemory:
    """The memory that all large bodies use, in bytes."""

    used = 0


class BodyReservation:
    """The part of `memory` that one body uses; small bodies use none. `limit` is in bytes."""

    def __init__(self, memory: BodyMemory, limit: int = MAX_BODY) -> None:
        self._memory, self._limit = memory, limit
        self._size = 0

    def reserve(self, size: int) -> None:
        """Reserve memory for so many bytes. Raises `TooLarge`, `Busy` where others use it."""
        if size > self._limit:
            message = f"The body has {size} bytes; allowed are {self._limit}."
            raise TooLarge(message, limit=self._limit)
        if size > SMALL_BODY:
            if (used := self._memory.used - self._size) + size > MAX_BODIES:
                raise Busy(f"Large bodies have {used} bytes already.", limit=MAX_BODIES)
            self._memory.used = used + size
            self._size = size

    def release(self) -> None:
        self._memory.used -= self._size


def read_body(request: Request, reservation: BodyReservation) -> bytes:
    """The request's body. Raises `MediaType`, `TooLarge`, `Busy` or `Malformed`."""
    check_media_type(request, "application/json")
    if (length := request.body_length) is not None:
        reservation.reserve(length)
    try:
        first = b"" if length is None else request.read_some(BLOCK)
        return first if request.is_read else first + b"".join(_rest(request, reservation))
    except OSError as error:
        request.close_connection()
        raise IncompleteBody from error


def _rest(request: Request, reservation: BodyReservation) -> Iterator[bytes]:
    """What arrives of the body; memory for a chunked one is reserved meanwhile."""
    size = 0
    while piece := request.read_some(BLOCK):
        size += len(piece)
        if request.body_length is None:
            reservation.reserve(size)
        yield piece


class IncomingBody:
    """The body of one request, of any size, read in blocks while it arrives."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def is_server_stopping(self) -> bool:
        return self._request.is_server_stopping

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the body as they arrive. Raises `OSError` where it ends early."""
        request = self._request
        while block := request.read_some(BLOCK):
            if not request.is_read:
                request.extend_deadline()
            yield block
            if not request.is_read:  # at the end, the last block is handed over at once
                wait_until_idle()  # a fast sender would keep this greenlet running

    def close_connection(self) -> None:
        """After the answer: the rest of the body was not read, so the next request is not found."""
        self._request.close_connection()


def check_media_type(request: Request, *wanted: str) -> str:
    """The media type of the body, one of `wanted`. Raises `MediaType` or `ContentCoding`."""
    given = request.headers.get("content-type", "")
    if given in wanted and "content-encoding" not in request.headers:
        return given
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if (kind := kind.strip().lower()) not in wanted or charset not in ("", "utf-8", "utf8"):
        are = "allowed is" if len(wanted) == 1 else "allowed are"
        raise MediaType(f"The Content-Type is {given[:80]!r}; {are} {', '.join(wanted)}.")
    coding = request.headers.get("content-encoding", "")
    if coding.strip().lower() not in ("", "identity"):
        raise ContentCoding(coding)
    return kind
