"""`POST /commands/compact`: removes what is older than the retention settings say."""

from collections.abc import Callable

from signalbox.server.http.api.parameters import parse_parameters
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.responses import Response, json_answer
from signalbox.server.model.errors import Invalid
from signalbox.server.write.compactor import Compactor

Route = Callable[[Request, str], Response]


def compaction(compactor: Compactor) -> Route:
    """The route of compaction; its request has no body."""

    def compact(request: Request, _: str) -> Response:
        """Compact the log, or report what that would remove. Raises `Invalid` for a body."""
        if not request.is_read and request.read_some(1):
            raise Invalid("This command has no body; dry_run=1 and confirm=1 are parameters of it.")
        parameters = parse_parameters(request.query, "/commands/compact")
        is_dry, is_confirmed = (parameters.get(name) == "1" for name in ("dry_run", "confirm"))
        return json_answer(200, compactor.compact(is_dry, is_confirmed))

    return compact
