"""`GET /queries/export`: streams the state of one revision as NDJSON, JSON, CSV or .env."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final
from urllib.parse import quote

import bottle
import msgspec

from signalbox.server.formats.csv_rows import escape_formula
from signalbox.server.formats.env_file import shell_word
from signalbox.server.http.api import history_export
from signalbox.server.http.api.queries import (
    compacted_prefixes,
    request_parameters,
    requested_revision,
    revision_parameter,
)
from signalbox.server.http.wire.responses import HEADERS
from signalbox.server.model.errors import Conflict, Invalid
from signalbox.server.model.keys import compile_pattern, env_name
from signalbox.server.model.times import iso
from signalbox.server.model.values import type_of
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import (
    Item,
)

_IN_HEADER: Final = "/:@=*"
"""What is not percent-encoded in the header: commas separate prefixes, headers are Latin-1."""

Format = Callable[[Iterator[list[Item]]], Iterator[bytes]]


def mount(app: bottle.Bottle, readmodel: ReadModel) -> None:
    """Add the route of exports to `app`."""
    app.get("/queries/export", callback=lambda: _export(readmodel))


def _export(readmodel: ReadModel) -> Iterator[bytes]:
    """Answer `/queries/export`: the state of one revision, or the history up to it."""
    params = request_parameters("/queries/export")
    match, name = params.get("match", "**"), params.get("format", "ndjson")
    pattern = compile_pattern(match)
    view = readmodel.at(requested_revision(readmodel, params))
    revision = view.revision
    media_type, encode = FORMATS[name]
    if params.get("history") == "1":
        if name != "ndjson":
            raise Invalid(f"The parameter format is {name}; with history=1 ndjson is allowed.")
        needed = revision_parameter(params.get("after"), "after") or 0
        wanted = (
            pattern if "match" in params else None
        )  # without a pattern, no revision is left out
        body = history_export.lines(readmodel, needed, revision, wanted)
    elif "after" in params:
        raise Invalid("The parameter after is allowed with history=1 only.")
    else:
        if name == "env":
            _refuse_collision(view.env_collision(match))
        revision, pages = view.pages(match)
        needed, body = revision, encode(pages)
    unknown = readmodel.log.horizons().incomplete_prefixes(needed, pattern.low, pattern.high)
    compacted_prefixes(params, unknown, needed)
    headers = {"Content-Type": media_type, "Signalbox-Revision": str(revision)}
    if unknown:
        headers["Signalbox-Compacted"] = ", ".join(
            quote(prefix or "**", _IN_HEADER) for prefix in unknown
        )
    bottle.response.headers.update(dict(HEADERS) | headers)
    return _with_first_chunk(body)


def _with_first_chunk(body: Iterator[bytes]) -> Iterator[bytes]:
    """`body` with its first chunk read: where that fails, the response is an error."""
    return chain((next(body, b""),), body)


def _ndjson(pages: Iterator[list[Item]]) -> Iterator[bytes]:
    """The state as NDJSON: a `set` command a line, as an import takes them."""
    for items in pages:
        yield b"".join(
            msgspec.json.encode({"type": "set", "key": item.key, "value": _raw(item)}) + b"\n"
            for item in items
        )


def _json_object(pages: Iterator[list[Item]]) -> Iterator[bytes]:
    """The state as one JSON object, a member a line."""
    before = b"{\n"
    for items in pages:
        lines = [json.dumps(item.key).encode() + b": " + item.raw.encode() for item in items]
        yield before + b",\n".join(lines)
        before = b",\n"
    yield b"{}\n" if before == b"{\n" else b"\n}\n"


def _csv(pages: Iterator[list[Item]]) -> Iterator[bytes]:
    """The state as CSV, for spreadsheets."""
    yield b"key,value,type,revision,at,actor\r\n"
    for items in pages:
        text = io.StringIO()
        rows = csv.writer(text)
        for item in items:
            rows.writerow(
                [
                    escape_formula(item.key),
                    item.raw,
                    type_of(item.raw),
                    item.revision,
                    iso(item.at),
                    escape_formula(item.actor),
                ]
            )
        yield text.getvalue().encode()


def _env(pages: Iterator[list[Item]]) -> Iterator[bytes]:
    """The state as a `.env` file."""
    for items in pages:
        yield "".join(f"{env_name(item.key)}={shell_word(item.raw)}\n" for item in items).encode()


def _refuse_collision(keys: list[str]) -> None:
    """Raises `Conflict` where two keys would be one variable of a `.env` file."""
    if keys:
        raise Conflict(
            f"{' and '.join(keys)} have one name as variables, {env_name(keys[0])}.", keys=keys
        )


def _raw(item: Item) -> msgspec.Raw:
    """An item's value, which is JSON already."""
    return msgspec.Raw(item.raw.encode())


FORMATS: Final[dict[str, tuple[str, Format]]] = {
    "ndjson": ("application/x-ndjson", _ndjson),
    "json": ("application/json", _json_object),
    "csv": ("text/csv; charset=utf-8", _csv),
    "env": ("text/plain; charset=utf-8", _env),
}
