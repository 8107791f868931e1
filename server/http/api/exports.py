"""`GET /queries/export`: streams the state of one revision as NDJSON, JSON, CSV or .env."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import quote

import bottle

from signalbox.server.http.api.parameters import Parameters
from signalbox.server.http.api.queries import (
    compacted_prefixes,
    request_parameters,
    requested_revision,
    revision_parameter,
)
from signalbox.server.http.wire.responses import HEADERS
from signalbox.server.model.app_settings import PORTABLE
from signalbox.server.model.errors import Conflict, Invalid, quoted
from signalbox.server.model.keys import RESERVED, compile_pattern, env_name
from signalbox.server.read import env_names, row_forms
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.row_forms import RowForm

_IN_HEADER: Final = "/:@=*"
"""What is not percent-encoded in the header: commas separate prefixes, headers are Latin-1."""


class Format(NamedTuple):
    """`around` makes the body of pages of items."""

    media_type: str
    form: RowForm
    around: Callable[[Iterator[bytes]], Iterator[bytes]] = iter


def mount(app: bottle.Bottle, readmodel: ReadModel) -> None:
    """Add the route of exports to `app`."""
    app.get("/queries/export", callback=lambda: _export(readmodel))


def _export(readmodel: ReadModel) -> Iterator[bytes]:
    """Answer `/queries/export`: the state of one revision, or the history up to it."""
    params = request_parameters("/queries/export")
    asked, name = requested_revision(readmodel, params), params.get("format", "ndjson")
    revision = readmodel.revision if asked is None else asked
    with_history = params.get("history") == "1"
    if with_history and name != "ndjson":
        raise Invalid(f"The parameter format is {name}; with history=1 ndjson is allowed.")
    if not with_history and "after" in params:
        raise Invalid("The parameter after is allowed with history=1 only.")
    after = revision_parameter(params.get("after"), "after") or 0
    needed = after if with_history else revision
    parts = {match: _left_out(readmodel, params, match, needed) for match in _patterns(params)}
    unknown = sorted({prefix for prefixes in parts.values() for prefix in prefixes})
    body = (
        readmodel.log_pages.history(after, revision, params.get("match"))
        if with_history
        else _state(readmodel, parts, name, revision)
    )
    headers = {
        "Content-Type": FORMATS[name].media_type,
        "Signalbox-Revision": str(revision),
    }
    if unknown:
        headers["Signalbox-Compacted"] = ", ".join(
            quote(prefix or "**", _IN_HEADER) for prefix in unknown
        )
    bottle.response.headers.update(dict(HEADERS) | headers)
    return _with_first_chunk(body)


def _patterns(params: Parameters) -> list[str]:
    """The patterns of what is exported. Raises `Invalid`.

    Settings come last: rules are not checked for what an import has set before.
    """
    match = params.get("match", "**")
    if params.get("settings") != "1":
        return [match]
    if params.get("history") == "1" or match.startswith(RESERVED):
        what = "history=1" if params.get("history") == "1" else f"match={quoted(match)}"
        raise Invalid(f"The parameter settings is 1; {what} has them already.", field="settings")
    return [match, *PORTABLE]


def _left_out(readmodel: ReadModel, params: Parameters, match: str, needed: int) -> list[str]:
    """The prefixes that are not complete at the revision `needed`. Raises `Compacted`."""
    pattern = compile_pattern(match)
    unknown = readmodel.log.horizons().incomplete_prefixes(needed, pattern.low, pattern.high)
    compacted_prefixes(params, unknown, needed)
    return unknown


def _state(
    readmodel: ReadModel, parts: Mapping[str, list[str]], name: str, revision: int
) -> Iterator[bytes]:
    """The body of an export of the state. Raises `Conflict`.

    `parts` are patterns, each with the prefixes that are left out.
    """

    def pages(form: RowForm) -> Iterator[bytes]:
        for match, unknown in parts.items():
            yield from readmodel.snapshots.pages(revision, match, form, unknown)

    if name == "env":
        names = pages(row_forms.ENV_NAMES)
        _refuse_collision(env_names.collision(names, readmodel.in_thread))
    found = FORMATS[name]
    return found.around(pages(found.form))


def _with_first_chunk(body: Iterator[bytes]) -> Iterator[bytes]:
    """`body` with its first chunk read: where that fails, the response is an error."""
    return chain((next(body, b""),), body)


def _object(pages: Iterator[bytes]) -> Iterator[bytes]:
    """The state as one JSON object, a member a line; the first has no comma before it."""
    first = next(pages, None)
    if first is None:
        yield b"{}\n"
        return
    yield b"{" + first[1:]
    yield from pages
    yield b"\n}\n"


def _csv(pages: Iterator[bytes]) -> Iterator[bytes]:
    """The state as CSV, for spreadsheets."""
    yield b"key,value,type,revision,at,actor\r\n" + next(pages, b"")
    yield from pages


def _refuse_collision(keys: list[str]) -> None:
    """Raises `Conflict` where two keys would be one variable of a `.env` file."""
    if keys:
        raise Conflict(
            f"{' and '.join(keys)} have one name as variables, {env_name(keys[0])}.", keys=keys
        )


FORMATS: Final = {
    "ndjson": Format("application/x-ndjson", row_forms.SET_LINES),
    "json": Format("application/json", row_forms.OBJECT_MEMBERS, _object),
    "csv": Format("text/csv; charset=utf-8", row_forms.CSV_LINES, _csv),
    "env": Format("text/plain; charset=utf-8", row_forms.ENV_LINES),
}
