"""`POST /commands/import`: chooses what imports a file, by its parameters and first row."""

import re
from collections.abc import Callable, Iterable, Iterator
from secrets import token_hex
from typing import Any, Final, Protocol

from signalbox.server.formats.import_file import MEDIA_TYPES, ImportFile
from signalbox.server.formats.text_lines import ENCODINGS
from signalbox.server.http.api.parameters import parse_parameters
from signalbox.server.http.commands.command_import import Import
from signalbox.server.http.commands.command_route import DEFAULT_ACTORS
from signalbox.server.http.commands.history_line import is_history_line
from signalbox.server.http.commands.import_row_reader import RowReader, body_error
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.request_body import check_media_type
from signalbox.server.http.wire.responses import HEADERS, StartResponse, error_response
from signalbox.server.model.commands import check_actor
from signalbox.server.model.errors import Invalid, SignalboxError
from signalbox.server.write.writer import Writer

ImportRoute = Callable[[Request, StartResponse, str], Iterable[bytes]]
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,48}")


class History(Protocol):
    """An import of transactions; see `history_import`."""

    def run(
        self, reader: RowReader, stopped: Callable[[], SignalboxError | None]
    ) -> Iterator[bytes]:
        """Import the transactions of `reader`; the lines of the response.

        `stopped` returns why the body was not read to its end.
        """


class Preview(Protocol):
    """A dry run of an import; see `signalbox.server.http.commands.import_preview`."""

    def __call__(
        self, reader: RowReader, buffered: Any, identity: str, actor: str, atomic: bool
    ) -> Iterator[bytes]:
        """Preview the import of the `buffered` file of `reader`; the lines of the response."""


def import_route(
    writer: Writer,
    history: Callable[[str, bool], History],
    buffered: type[ImportFile],
    preview: Preview,
) -> ImportRoute:
    """The route of imports; `buffered` is the class of the file for a `preview`."""

    def import_rows(reader: RowReader, identity: str, actor: str, atomic: bool) -> Iterator[bytes]:
        """Import or preview the rows of a body; the lines of the response."""
        try:
            if isinstance(reader.file, buffered):
                yield from preview(reader, reader.file, identity, actor, atomic)
            elif is_history_line(reader.first_row()):
                yield from history(identity, atomic).run(reader, lambda: body_error(reader))
            else:
                yield from Import(writer, identity, actor, atomic).run(reader)
        finally:
            reader.close()

    def route(request: Request, start_response: StartResponse, role: str) -> Iterable[bytes]:
        """Check the parameters of an import, then answer while its body arrives."""
        try:
            kind = check_media_type(request, *MEDIA_TYPES)
            parameters = parse_parameters(request.query, "/commands/import")
            identity, atomic = parameters.get("id") or token_hex(8), parameters.get("atomic", "0")
            actor = parameters.get("actor", DEFAULT_ACTORS[role])
            check_actor(actor)
            _check_import_id(identity)
        except SignalboxError as error:
            return error_response(start_response, error, id=None, status="rejected")
        start_response("200 OK", [("Content-Type", "application/x-ndjson"), *HEADERS])
        form, name = parameters.get("format") or MEDIA_TYPES[kind], parameters.get("name", "")
        file = (buffered if parameters.get("dry_run") == "1" else ImportFile)(
            form, name, parameters.get("encoding", ENCODINGS[0])
        )
        return import_rows(RowReader(request, file), identity, actor, atomic == "1")

    return route


def _check_import_id(identity: str) -> None:
    """Raises `Invalid` where the parameter is no id that an import can have."""
    if not _ID.fullmatch(identity):
        raise Invalid(
            f"The parameter id is {identity[:80]!r}; allowed are 1 to 48 of A-Z a-z 0-9 _ -."
        )
