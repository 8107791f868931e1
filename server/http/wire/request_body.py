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
    """The bytes of all large bodies that are at work."""

    held = 0


class BodyReservation:
    """What one body takes of `bodies`; small ones take nothing."""

    def __init__(self, bodies: BodyMemory) -> None:
        self._bodies = bodies
        self._size = 0

    def grow(self, size: int) -> None:
        """The body has so many bytes. Raises `TooLarge`, or `Busy` where there is no room."""
        if size > MAX_BODY:
            raise TooLarge(f"The body has {size} bytes; allowed are {MAX_BODY}.", limit=MAX_BODY)
        if size > SMALL_BODY:
            if (held := self._bodies.held - self._size) + size > MAX_BODIES:
                raise Busy(f"Large bodies have {held} bytes already.", limit=MAX_BODIES)
            self._bodies.held = held + size
            self._size = size

    def give_back(self) -> None:
        self._bodies.held -= self._size


def read_body(environ: Environ, share: BodyReservation) -> bytes:
    """The request's body. Raises `MediaType`, `TooLarge`, `Busy` or `Malformed`."""
    check_media_type(environ, "application/json")
    try:
        length = environ.get("CONTENT_LENGTH")
        if length:
            share.grow(int(length))
            body: bytes = environ["wsgi.input"].read(int(length))
        else:
            body = b"".join(_pieces(environ["wsgi.input"], share))
    except OSError as error:
        raise IncompleteBody from error
    environ["signalbox.handler"].has_read()
    return body


def _pieces(body: Any, share: BodyReservation) -> Iterator[bytes]:
    """A body that is sent in chunks."""
    size = 0
    while piece := body.read(SMALL_BODY):
        size += len(piece)
        share.grow(size)
        yield piece


def check_media_type(environ: Environ, *wanted: str) -> str:
    """The media type of the body, one of `wanted`. Raises `MediaType`, also where it is coded."""
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
