"""`POST /commands`: one command in, its acknowledgement out. Nothing here reads the state."""

from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Any, Final

from signalbox.server.http.wire.responses import StartResponse, answer, refuse, status_of
from signalbox.server.model import values
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.decide import prepare_attempt
from signalbox.server.model.errors import (
    Busy,
    ContentCoding,
    IncompleteBody,
    Malformed,
    MediaType,
    SignalboxError,
    TooLarge,
)
from signalbox.server.model.outcomes import Outcome
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer

MAX_BODY: Final = 16 * 1024 * 1024
MAX_BODIES: Final = 4 * MAX_BODY
SMALL_BODY: Final = 64 * 1024
RANDOM_BYTES: Final = 4096
DEFAULT_ACTORS: Final = {"write": "script", "window": "window"}

Environ = dict[str, Any]


class Commands:
    """The route. Large bodies share `MAX_BODIES` until they are answered."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        # In order, so that they lie together in an index; not to be guessed, so that nobody takes
        # one before us.
        start = token_hex(4)
        self._ids = (f"{start}-{n:x}-{part}" for n, part in enumerate(_random_parts()))
        self._bodies = Bodies()

    def __call__(
        self, environ: Environ, start_response: StartResponse, role: str
    ) -> Iterable[bytes]:
        """`role` is the sender's."""
        share = Share(self._bodies)
        try:
            return self._answer(environ, start_response, role, share)
        finally:
            share.give_back()

    def _answer(
        self, environ: Environ, start_response: StartResponse, role: str, share: "Share"
    ) -> Iterable[bytes]:
        try:
            body = read_body(environ, share)
        except SignalboxError as error:
            return refuse(start_response, error, id=None, status="rejected")
        outcome = _outcome(self._writer, body, DEFAULT_ACTORS[role], next(self._ids))
        if isinstance(outcome, SignalboxError):
            return refuse(start_response, outcome, id=None, status="rejected")
        return acknowledge(environ, start_response, outcome)


def acknowledge(
    environ: Environ, start_response: StartResponse, outcome: Outcome
) -> Iterable[bytes]:
    """The outcome as an answer; none for the window's page, whose stream shows it."""
    if "HTTP_DATASTAR_REQUEST" in environ:
        start_response("204 No Content", [])
        return []
    body = outcome.reply()
    return answer(start_response, status_of(body.get("code")), body)


def _random_parts() -> Iterator[str]:
    """Eight random hexadecimal digits, again and again: one question to the system gives many."""
    while True:
        many = token_hex(RANDOM_BYTES)
        yield from (many[start : start + 8] for start in range(0, len(many), 8))


class Bodies:
    """The bytes of all large bodies that are at work."""

    held = 0


class Share:
    """What one body takes of `bodies`; small ones take nothing."""

    def __init__(self, bodies: Bodies) -> None:
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


def read_body(environ: Environ, share: Share) -> bytes:
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


def _pieces(body: Any, share: Share) -> Iterator[bytes]:
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


def _outcome(
    writer: Writer, body: bytes, default_actor: str, new_id: str
) -> Outcome | SignalboxError:
    """The outcome of one attempt; an error where the body was no JSON object (then it is none)."""
    try:
        fields = values.decode(body)
    except SignalboxError as error:
        return error
    if not isinstance(fields, dict):
        return Malformed("The body is JSON, but no object; a command is an object with a type.")
    attempt = prepare_attempt(read_attempt(fields, default_actor, new_id))
    if attempt.refusal is not None and not attempt.refusal.remembered:
        waiting = PendingAttempt(attempt)
        writer.reject(waiting, attempt.refusal)
        return waiting.wait()
    return writer.submit(attempt)
