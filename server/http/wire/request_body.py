"""Reads the body of a request, at once or while it arrives: checks media type, size and memory."""

from collections.abc import Iterator
from typing import Any, Final

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
BLOCK: Final = 64 * 1024

Environ = dict[str, Any]


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


class IncomingBody:
    """The body of one request, of any size, read in blocks while it arrives."""

    def __init__(self, environ: Environ) -> None:
        self._input = environ["wsgi.input"]
        self._handler = environ["signalbox.handler"]

    @property
    def is_server_stopping(self) -> bool:
        return bool(self._handler.server.stopping)

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the body as they arrive. Raises `OSError` where it ends early."""
        while block := self._block():
            self._handler.extend_deadline()
            yield block
            if self._bytes_left() != 0:  # at the end, the last block is handed over at once
                wait_until_idle()  # a fast sender would keep this greenlet running

    def close_connection(self) -> None:
        """After the answer: the rest of the body was not read, so the next request is not found."""
        self._handler.close_connection = True

    def _bytes_left(self) -> int | None:
        """Bytes of the body that have not arrived; None where its length is unknown."""
        body = self._input
        return None if body.chunked_input else (body.content_length or 0) - body.position

    def _block(self) -> bytes:
        """The bytes of the body that have arrived, at least one; empty at its end.

        pywsgi's `read` waits until it has all that it was asked for, which a slow sender may never
        send; its `readline` is slow. A body of known length is read past them.
        """
        body = self._input
        if body.chunked_input:
            line: bytes = body.readline(BLOCK)
            return line
        body.read(0)  # sends "100 Continue" where the sender waits for it
        left = self._bytes_left()
        data: bytes = body.rfile.read1(min(BLOCK, left)) if left else b""
        body.position += len(data)
        if left and not data:
            raise ConnectionError(f"{left} bytes of the body are missing")
        return data


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
