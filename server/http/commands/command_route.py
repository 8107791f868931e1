"""`POST /commands`: one command in, its acknowledgement out. Nothing here reads the state."""

from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Final

from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.request_body import BodyMemory, BodyReservation, read_body
from signalbox.server.http.wire.responses import (
    StartResponse,
    error_response,
    json_response,
    status_of,
)
from signalbox.server.model import values
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.decide import prepare_attempt
from signalbox.server.model.errors import (
    Malformed,
    SignalboxError,
)
from signalbox.server.model.outcomes import Outcome
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer

RANDOM_BYTES: Final = 4096
DEFAULT_ACTORS: Final = {"write": "script", "window": "window"}


class Commands:
    """The route. Large bodies share `MAX_BODIES` of memory until they are answered."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        # Ascending, so that they are adjacent in an index; random, so that nobody can use one
        # before us.
        start = token_hex(4)
        self._ids = (f"{start}-{n:x}-{part}" for n, part in enumerate(_random_parts()))
        self._memory = BodyMemory()

    def __call__(
        self, request: Request, start_response: StartResponse, role: str
    ) -> Iterable[bytes]:
        """`role` is the sender's."""
        reservation = BodyReservation(self._memory)
        try:
            return self._answer(request, start_response, role, reservation)
        finally:
            reservation.release()

    def _answer(
        self,
        request: Request,
        start_response: StartResponse,
        role: str,
        reservation: "BodyReservation",
    ) -> Iterable[bytes]:
        """Read the body, and answer with the outcome of the command in it."""
        try:
            body = read_body(request, reservation)
        except SignalboxError as error:
            return error_response(start_response, error, id=None, status="rejected")
        outcome = _outcome(self._writer, body, DEFAULT_ACTORS[role], next(self._ids))
        if isinstance(outcome, SignalboxError):
            return error_response(start_response, outcome, id=None, status="rejected")
        return outcome_response(request, start_response, outcome)


def outcome_response(
    request: Request, start_response: StartResponse, outcome: Outcome
) -> Iterable[bytes]:
    """The outcome as a response; without a body for the window's page, whose stream shows it."""
    if "datastar-request" in request.headers:
        start_response("204 No Content", [])
        return []
    body = outcome.reply()
    return json_response(start_response, status_of(body.get("code")), body)


def _random_parts() -> Iterator[str]:
    """Eight random hexadecimal digits each; many are requested from the system at once."""
    while True:
        many = token_hex(RANDOM_BYTES)
        yield from (many[start : start + 8] for start in range(0, len(many), 8))


def _outcome(
    writer: Writer, body: bytes, default_actor: str, new_id: str
) -> Outcome | SignalboxError:
    """The outcome of one attempt; an error where the body is no JSON object, so no attempt."""
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
