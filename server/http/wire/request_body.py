"""Reads the body of a request: its media type is checked, its size and memory are limited."""

from collections.abc import Iterator
from typing import Any, Final

from signalbox.server.model.errors import (
    Busy,
    ContentCoding,
    IncompleteBody,
    MediaType,
    TooLarge,
)

MAX_BODY: Final = 16 * 1024 * 1024
MAX_BODIES: Final = 4 * MAX_BODY
SMALL_BODY: Final = 64 * 1024

Environ = dict[str, Any]


class BodyMemory:
    """The memory that all large bodies use, in bytes."""

    used = 0


class BodyReservation:
    """The part of `memory` that one body uses; small bodies use none."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._size = 0

    def reserve(self, size: int) -> None:
        """Reserve memory for so many bytes. Raises `TooLarge`, `Busy` where others use it."""
        if size > MAX_BODY:
            raise TooLarge(f"The body has {size} bytes; allowed are {MAX_BODY}.", limit=MAX_BODY)
        if size > SMALL_BODY:
            if (used := self._memory.used - self._size) + size > MAX_BODIES:
                raise Busy(f"Large bodies have {used} bytes already.", limit=MAX_BODIES)
            self._memory.used = used + size
            self._size = size

    def release(self) -> None:
        self._memory.used -= self._size


def read_body(environ: Environ, reservation: BodyReservation) -> bytes:
    """The request's body. Raises `MediaType`, `TooLarge`, `Busy` or `Malformed`."""
    check_media_type(environ, "application/json")
    try:
        length = environ.get("CONTENT_LENGTH")
        if length:
            reservation.reserve(int(length))
            body: bytes = environ["wsgi.input"].read(int(length))
        else:
            body = b"".join(_chunks(environ["wsgi.input"], reservation))
    except OSError as error:
        raise IncompleteBody from error
    environ["signalbox.handler"].clear_deadline()
    return body


def _chunks(body: Any, reservation: BodyReservation) -> Iterator[bytes]:
    """The chunks of a body without a length."""
    size = 0
    while piece := body.read(SMALL_BODY):
        size += len(piece)
        reservation.reserve(size)
        yield piece


def check_media_type(environ: Environ, *wanted: str) -> str:
    """The media type of the body, one of `wanted`. Raises `MediaType` or `ContentCoding`."""
    given = environ.get("CONTENT_TYPE") or ""
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if (kind := kind.strip().lower()) not in wanted or charset not in ("", "utf-8", "utf8"):
        are = "allowed is" if len(wanted) == 1 else "allowed are"
        raise MediaType(f"The Content-Type is {given[:80]!r}; {are} {', '.join(wanted)}.")
    coding = environ.get("HTTP_CONTENT_ENCODING", "")
    if coding.strip().lower() not in ("", "identity"):
        raise ContentCoding(coding)
    return kind
