"""The table of routes, each behind the guard, and errors as JSON."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import bottle

from signalbox.server.feed import Feed
from signalbox.server.http.api import exports, queries, rule_routes
from signalbox.server.http.api.openapi import describe
from signalbox.server.http.api.streams import Streams
from signalbox.server.http.commands.command_route import Commands
from signalbox.server.http.commands.compaction_route import compaction
from signalbox.server.http.commands.history_import import HistoryImport
from signalbox.server.http.commands.import_preview import BufferedFile, ImportPreviews
from signalbox.server.http.commands.import_route import ImportRoute, import_route
from signalbox.server.http.window.window_ids import WindowIds
from signalbox.server.http.window.window_routes import WindowRoutes
from signalbox.server.http.wire.guard import Guard
from signalbox.server.http.wire.http_server import Direct
from signalbox.server.http.wire.request import Request, request_of
from signalbox.server.http.wire.responses import (
    HEADERS,
    Response,
    StartResponse,
    error_answer,
    respond,
    status_of,
)
from signalbox.server.http.wire.wsgi import Application
from signalbox.server.model.errors import (
    Malformed,
    MethodNotAllowed,
    NotFound,
    SignalboxError,
    quoted,
)
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.trusted_clock import Clock
from signalbox.server.write.compactor import Compactor
from signalbox.server.write.writer import Writer

Environ = dict[str, Any]
Write = Callable[[Request, str], Response]
PAGE_PATH: Final = "/queries/state"
KEY_PATH: Final = f"{PAGE_PATH}/"


class Routes(NamedTuple):
    """Every route: small answers directly, streamed ones and bottle's by WSGI."""

    direct: Direct
    application: Application


def routes(
    guard: Guard,
    writer: Writer,
    readmodel: ReadModel,
    feed: Feed,
    streams: Streams,
    status: Callable[[], dict[str, Any]],
    engine: Callable[[], dict[str, Any]],
    url: Callable[[], str],
    data_dir: Path,
    clock: Clock,
    compactor: Compactor,
) -> Routes:
    """All routes, behind the guard."""
    imports, reads = _imports(writer, readmodel), _queries(readmodel, status, url)
    window_ids = WindowIds(readmodel, writer.run_between_commits)
    windows = WindowRoutes(guard, readmodel, feed, streams, engine, data_dir, clock, window_ids)
    windows.mount(reads)
    endless = {"/queries/stream": streams.route, "/queries/page": windows.page}
    writes: dict[str, Write] = {
        "/commands": Commands(writer, partial(rule_routes.violations_of, readmodel)),
        "/commands/compact": compaction(compactor),
        "/login": windows.login,
    }

    def serve(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = request_of(environ)
        try:
            role = guard.check(request)
            if request.path == "/commands/import":
                _check_method(request, "POST")
                guard.require_write(role)
                return imports(request, start_response, role or "")
            readmodel.turns.wait()
            if (stream := endless.get(request.path)) is not None:
                _check_method(request, "GET")
                return stream(request, start_response)
            if request.path.startswith("/queries/"):
                request.end_with_client()
            return _by_bottle(reads, environ, start_response)
        except SignalboxError as error:
            return respond(start_response, _refusal(request, error))

    return Routes(_direct(guard, writes, readmodel), serve)


def _direct(guard: Guard, writes: dict[str, Write], readmodel: ReadModel) -> Direct:
    """Answers commands and queries of the state, which programs send most, by the shortest way."""

    def answer(request: Request) -> Response | None:
        path = request.path
        write = writes.get(path)
        is_page = path == PAGE_PATH
        is_key = path.startswith(KEY_PATH) and path != KEY_PATH
        if write is None and not (is_page or is_key or path == "*"):
            return None
        try:
            role = guard.check(request)
            if path == "*":
                return Response(204, (("Allow", "GET, HEAD, POST, OPTIONS"), *HEADERS))
            if write is not None:
                _check_method(request, "POST")
                guard.require_write(role)
                return write(request, role or "")
            if is_page:
                _check_method(request, "GET")
                request.end_with_client()
                readmodel.turns.wait()
                return queries.answer_page(readmodel, request)
            key = _decoded(path).removeprefix(KEY_PATH)
            _check_method(request, "GET")
            if request.query:
                request.end_with_client()
            return queries.answer_key(readmodel, key, request)  # as short as a command
        except SignalboxError as error:
            return _refusal(request, error)

    return answer


def _imports(writer: Writer, readmodel: ReadModel) -> ImportRoute:
    """The route of imports, with what reads the store for histories and previews."""
    previews = ImportPreviews(writer, readmodel)
    return import_route(
        writer, partial(HistoryImport, writer, readmodel), BufferedFile, previews.run
    )


def _queries(
    readmodel: ReadModel, status: Callable[[], dict[str, Any]], url: Callable[[], str]
) -> bottle.Bottle:
    """The application of all queries, whose paths have parameters."""
    app = bottle.Bottle(catchall=False)
    app.router.add_filter("path", lambda _: (r"(?s:.+)", None, None))  # line ends are no key's, too
    app.default_error_handler = _bottle_error_as_json
    queries.mount(app, readmodel, status)
    rule_routes.mount(app, readmodel)
    exports.mount(app, readmodel)
    app.get(
        "/openapi.json",
        callback=lambda: (
            queries.request_parameters("/openapi.json")
            or queries.bottle_json_response(describe(url()))
        ),
    )
    return app


def _by_bottle(
    app: bottle.Bottle, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """The response of bottle's routes. Raises `Malformed` for a path that it would not refuse."""
    _check_path(environ)
    result: Iterable[bytes] = app(environ, start_response)
    return result


def _check_path(environ: Environ) -> None:
    """Check the path before bottle, which drops what is not UTF-8, and ignores a method's case.

    WSGI gives a path's bytes as Latin-1 (PEP 3333); methods are told apart by case (RFC 9110, 9.1).
    """
    method = environ["REQUEST_METHOD"]
    if method != method.upper():
        environ["REQUEST_METHOD"] = quoted(method)
    _decoded(environ["PATH_INFO"])


def _decoded(path: str) -> str:
    """A path whose bytes are given as Latin-1. Raises `Malformed` where they are not UTF-8."""
    try:
        return path if path.isascii() else path.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The path is not UTF-8: byte {error.start} is not.") from error


def _check_method(request: Request, wanted: str) -> None:
    """Raises `MethodNotAllowed` where the path has no route for this method."""
    if request.method != wanted and request.method not in (allowed := _with_head(wanted)):
        raise _method_error(request.method, _decoded(request.path), allowed)


def _with_head(wanted: str) -> list[str]:
    """The allowed methods; HEAD wherever GET is (RFC 9110, 9.3.2)."""
    return [*wanted.split(","), *(["HEAD"] if "GET" in wanted else [])]


def _method_error(method: str, path: str, allowed: list[str]) -> MethodNotAllowed:
    """The error of a path that is requested by a method which none of its routes has."""
    message = f"{path[:200]} is asked with {' or '.join(allowed)}, not {method[:20]}."
    return MethodNotAllowed(message, ", ".join(allowed))


def _bottle_error_as_json(error: bottle.HTTPError) -> bytes:
    """Bottle's own errors (no such route, other method) in the form of all others."""
    request, allowed = bottle.request, error.headers.get("Allow", "")
    method = request.environ["REQUEST_METHOD"]  # as it was given
    refusal: SignalboxError
    if allowed:
        refusal = _method_error(method, request.path, _with_head(allowed))
        error.headers["Allow"] = refusal.allowed
    else:
        refusal = NotFound(
            f"There is no {method[:20]} {request.path[:200]} here; see /openapi.json."
        )
    error.status = status_of(refusal.code)
    error.headers.update(dict(HEADERS))
    error.headers["Content-Type"] = "application/json"
    return queries.encode_json(refusal.fields())


def _refusal(request: Request, error: SignalboxError) -> Response:
    """The response to a request that is refused; that of a command is an acknowledgement."""
    if request.path.startswith("/commands"):
        return error_answer(error, id=None, status="rejected")
    return error_answer(error)
