"""`POST /commands`: one command in, its acknowledgement out. Nothing here reads the state."""

from collections.abc import Iterable
from itertools import count
from secrets import token_hex
from typing import Any, Final

from server import values
from server.commands import read_attempt
from server.errors import Busy, Malformed, MediaType, SignalboxError, TooLarge
from server.http.answers import StartResponse, answer, refuse
from server.outcomes import Outcome
from server.writer import Waiting, Writer

MAX_BODY: Final = 16 * 1024 * 1024
MAX_BODIES: Final = 4 * MAX_BODY
SMALL_BODY: Final = 64 * 1024
DEFAULT_ACTORS: Final = {"write": "script", "window": "window"}

Environ = dict[str, Any]


class Commands:
    """The route. Large bodies share `MAX_BODIES` bytes until they are answered."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._ids = (f"{start}-{number:x}" for start in [token_hex(6)] for number in count())
        self._held = 0

    def __call__(
        self, environ: Environ, start_response: StartResponse, role: str
    ) -> Iterable[bytes]:
        """`role` is the sender's."""
        size = _announced(environ)
        if size <= SMALL_BODY:
            return self._answer(environ, start_response, role)
        if self._held + size > MAX_BODIES:
            busy = Busy(f"Bodies of {self._held} bytes are at work already.", limit=MAX_BODIES)
            return refuse(start_response, busy, id=None, status="rejected")
        self._held += size
        try:
            return self._answer(environ, start_response, role)
        finally:
            self._held -= size

    def _answer(
        self, environ: Environ, start_response: StartResponse, role: str
    ) -> Iterable[bytes]:
        try:
            body = read_body(environ)
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
    status = outcome.http_status
    if status in (429, 503):
        return answer(start_response, status, outcome.answer(), ("Retry-After", "1"))
    return answer(start_response, status, outcome.answer())


def read_body(environ: Environ) -> bytes:
    """The request's body. Raises `MediaType`, `TooLarge` or `Malformed`."""
    check_media_type(environ, "application/json")
    length = environ.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > MAX_BODY:
        raise TooLarge(f"The body has {length} bytes; allowed are {MAX_BODY}.", limit=MAX_BODY)
    try:
        body: bytes = environ["wsgi.input"].read(MAX_BODY + 1)
    except OSError as error:
        raise Malformed(f"The body ended early: {error}.") from error
    if len(body) > MAX_BODY:
        raise TooLarge(f"The body has more than {MAX_BODY} bytes.", limit=MAX_BODY)
    return body


def _announced(environ: Environ) -> int:
    """The bytes that a body may have by its headers, at most `MAX_BODY`."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return MAX_BODY
    length = environ.get("CONTENT_LENGTH") or "0"
    return min(int(length), MAX_BODY) if length.isdigit() else 0


def check_media_type(environ: Environ, wanted: str) -> None:
    given = environ.get("CONTENT_TYPE") or ""
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != wanted or charset not in ("", "utf-8", "utf8"):
        raise MediaType(f"The Content-Type is {given[:80]!r}; allowed is {wanted}.")


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
    attempt = read_attempt(fields, default_actor, new_id)
    if attempt.refusal is not None and not attempt.refusal.remembered:
        waiting = Waiting(attempt)
        writer.refuse(waiting, attempt.refusal)
        return waiting.wait()
    return writer.submit(attempt)
