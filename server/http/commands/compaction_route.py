"""`POST /commands/compact`: removes what is older than the retention settings say."""

from collections.abc import Callable, Iterable
from typing import Any

from signalbox.server.http.api.parameters import parse_parameters
from signalbox.server.http.wire.responses import StartResponse, json_response
from signalbox.server.write.compactor import Compactor

Route = Callable[[dict[str, Any], StartResponse, str], Iterable[bytes]]


def compaction(compactor: Compactor) -> Route:
    """The route; it takes no body."""

    def compact(environ: dict[str, Any], start_response: StartResponse, _: str) -> Iterable[bytes]:
        given = parse_parameters(environ, "/commands/compact")
        is_dry, is_confirmed = (given.get(name) == "1" for name in ("dry_run", "confirm"))
        return json_response(start_response, 200, compactor.compact(is_dry, is_confirmed))

    return compact
