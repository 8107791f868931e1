"""`POST /commands`: one command in, its acknowledgement out.

Nothing here reads the state, but to say which keys would break a rule that is only tried.
"""

from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any, Final

from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.request_body import BodyMemory, BodyReservation, read_body
from signalbox.server.http.wire.responses import Response, json_answer, status_of
from signalbox.server.model import values
from signalbox.server.model.commands import Attempt, EncodedSet, read_attempt
from signalbox.server.model.decide import prepare_attempt
from signalbox.server.model.errors import Malformed
from signalbox.server.model.keys import RULES
from signalbox.server.model.outcomes import Outcome
from signalbox.server.runtime.scheduling import Pauses
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer

RANDOM_BYTES: Final = 4096
DEFAULT_ACTORS: Final = {"write": "script", "window": "window"}


class Commands:
    """The route. Large bodies share `MAX_BODIES` of memory until they are answered."""

    def __init__(self, writer: Writer, violations_of: Callable[[str, str], Any]) -> None:
        """The route of single commands, which `writer` decides and commits.

        `violations_of` tells which keys would break a rule, given with its name and JSON text.
        """
        self._writer, self._violations_of = writer, violations_of
        # Ascending, so that they are adjacent in an index; random, so that nobody can use one
        # before us.
        start = token_hex(4)
        self._ids = (f"{start}-{n:x}-{part}" for n, part in enumerate(_random_parts()))
        self._memory = BodyMemory()

    def __call__(self, request: Request, role: str) -> Response:
        """Answer a request with its command's acknowledgement; `role` is the sender's.

        Raises `SignalboxError` where there was no attempt: the body is no JSON object.
        """
        reservation = BodyReservation(self._memory)
        try:
            return self._answer(request, role, reservation)
        finally:
            reservation.release()

    def _answer(self, request: Request, role: str, reservation: BodyReservation) -> Response:
        """Read the body, and answer with the outcome of the command in it."""
        body = read_body(request, reservation)
        attempt = _attempt(body, DEFAULT_ACTORS[role], next(self._ids))
        outcome = _outcome(self._writer, attempt)
        if "datastar-request" in request.headers:
            return Response(204)  # the page's stream shows the outcome
        answer = outcome.reply()
        if attempt.dry_run and answer["status"] == "accepted" and not outcome.duplicate:
            request.end_with_client()
            answer |= self._violations(attempt)
        return json_answer(status_of(answer.get("code")), answer)

    def _violations(self, attempt: Attempt) -> dict[str, Any]:
        """The field `violations` of the answer to a dry run that would set a rule."""
        command = attempt.command
        if not isinstance(command, EncodedSet) or not command.key.startswith(RULES):
            return {}
        return {"violations": self._violations_of(command.key.removeprefix(RULES), command.raw)}


def _random_parts() -> Iterator[str]:
    """Eight random hexadecimal digits each; many are requested from the system at once."""
    while True:
        many = token_hex(RANDOM_BYTES)
        yield from (many[start : start + 8] for start in range(0, len(many), 8))


def _attempt(body: bytes, default_actor: str, new_id: str) -> Attempt:
    """The attempt in a body. Raises `Malformed` where that is no JSON object."""
    fields = values.decode(body)
    if not isinstance(fields, dict):
        raise Malformed("The body is JSON, but no object; a command is an object with a type.")
    pause = Pauses().pause if fields.get("type") == "batch" else None
    return prepare_attempt(read_attempt(fields, default_actor, new_id), pause)


def _outcome(writer: Writer, attempt: Attempt) -> Outcome:
    """The outcome of an attempt."""
    if attempt.refusal is not None and not attempt.refusal.remembered:
        waiting = PendingAttempt(attempt)
        writer.reject(waiting, attempt.refusal)
        return waiting.wait()
    return writer.submit(attempt)
