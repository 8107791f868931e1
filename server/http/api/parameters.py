"""Query parameters of all routes: schema and meaning in one table, and their validation."""

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from signalbox.server.formats.import_file import READERS
from signalbox.server.formats.text_lines import ENCODINGS
from signalbox.server.model.errors import Invalid, quoted
from signalbox.server.model.keys import MATCH_SCHEMA, PREFIX_SCHEMA
from signalbox.server.model.numbers import is_whole
from signalbox.server.model.values import TYPES
from signalbox.server.read.state_query import MAX_SEARCH, SORTS

MAX_PARAMETERS: Final = 50
MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 100
STATUSES: Final = ("accepted", "rejected")
EXPORT_FORMATS: Final = ("ndjson", "json", "csv", "env")

ID: Final = "^[A-Za-z0-9_-]{1,64}$"
ACTOR: Final = "^[A-Za-z0-9_.@-]{1,64}$"

Parameters = dict[str, str]


class Parameter(NamedTuple):
    """`schema` is JSON Schema; `help` one sentence."""

    schema: dict[str, Any]
    help: str


def _text_schema(**more: Any) -> dict[str, Any]:
    """The JSON Schema of a parameter that is a text, with further rules."""
    return {"type": "string"} | more


_REVISION: Final = _text_schema(pattern="^[0-9]{1,18}$")
_MOMENT: Final = _text_schema(pattern="^([0-9]{1,18}|[0-9]{4}-?W?[0-9]{2}.*)$")


PARAMETERS: Final[dict[str, Parameter]] = {
    "match": Parameter(
        MATCH_SCHEMA | {"default": "**"},
        "Pattern of keys: * within a segment, ** across segments.",
    ),
    "type": Parameter(_text_schema(enum=list(TYPES)), "Only values of this JSON type."),
    "search": Parameter(
        _text_schema(maxLength=MAX_SEARCH),
        "Only where this text is in key or value, without regard to case.",
    ),
    "sort": Parameter(
        _text_schema(enum=list(SORTS), default="key"), "By key, or last change first."
    ),
    "after": Parameter(
        _text_schema(),
        "Continue behind this: the next of an earlier page; of a stream a position; of an export "
        "of the history a revision.",
    ),
    "limit": Parameter(
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "Items at most.",
    ),
    "prefix": Parameter(
        PREFIX_SCHEMA | {"default": ""},
        "Whole segments with a dot at the end; empty for the root.",
    ),
    "actor": Parameter(
        _text_schema(pattern=ACTOR), "Attempts of this actor; of an import, who sends it."
    ),
    "status": Parameter(_text_schema(enum=list(STATUSES)), "Attempts with this outcome."),
    "before": Parameter(_text_schema(), "Continue behind this: the next of an earlier page."),
    "format": Parameter(
        _text_schema(enum=list(EXPORT_FORMATS), default="ndjson"), "How the export is written."
    ),
    "acks": Parameter(
        _text_schema(enum=["0", "1"], default="0"), "1: every attempt's acknowledgement, too."
    ),
    "at": Parameter(
        _MOMENT, "As it was at a revision, or at an ISO 8601 time: the last revision not later."
    ),
    "strict": Parameter(
        _text_schema(enum=["0", "1"], default="0"),
        "1: refused with 410 where retention has removed what the moment needs.",
    ),
    "value": Parameter(_text_schema(), "JSON: whether the key may have this value."),
    "rule": Parameter(_text_schema(), "Only what breaks the rule with this name."),
    "from": Parameter(_MOMENT, "One moment: a revision or an ISO 8601 time."),
    "to": Parameter(_MOMENT, "The other moment, before or behind the first; by default now."),
    "history": Parameter(
        _text_schema(enum=["0", "1"], default="0"), "1: every transaction instead of the state."
    ),
    "settings": Parameter(
        _text_schema(enum=["0", "1"], default="0"),
        "1: then the app's own settings as well, such as rules.",
    ),
    "dry_run": Parameter(
        _text_schema(enum=["0", "1"], default="0"), "1: only say what would be done."
    ),
    "confirm": Parameter(
        _text_schema(enum=["0", "1"], default="0"),
        "1: the computer's clock is right from now on, however far it has leapt.",
    ),
    "encoding": Parameter(
        _text_schema(enum=list(ENCODINGS), default=ENCODINGS[0]), "Of the file; nothing is guessed."
    ),
    "name": Parameter(
        _text_schema(), "The file's name: its ending tells the format where nothing else does."
    ),
    "id": Parameter(_text_schema(pattern=ID), "The import's id; the same again continues it."),
    "atomic": Parameter(
        _text_schema(enum=["0", "1"], default="0"), "1: one transaction, or nothing."
    ),
    "nonce": Parameter(
        _text_schema(pattern="^[A-Za-z0-9_-]{16,128}$"),
        "Random, never used before; the proofs are of it.",
    ),
}

ROUTE_PARAMETERS: Final[dict[tuple[str, str], Parameter]] = {
    ("/queries/stream", "after"): Parameter(
        _text_schema(pattern="^([^:]*:)?[0-9]{1,18}$"),
        "A position: a revision, or store:revision; exclusive.",
    ),
    ("/queries/export", "after"): Parameter(_REVISION, "With history=1: only what came after."),
    ("/commands/import", "format"): Parameter(
        _text_schema(enum=list(READERS)),
        "How the file is written; by default as its media type, name or beginning says.",
    ),
    ("/queries/describe/{key}", "actor"): Parameter(
        _text_schema(pattern=ACTOR, default="script"), "Whether this actor may set it."
    ),
    ("/queries/history/{key}", "before"): Parameter(_REVISION, "Continue behind this revision."),
}
"""Parameters with a schema of their own for one route."""

ROUTES: Final[dict[str, tuple[str, ...]]] = {
    "/commands/import": ("format", "encoding", "name", "dry_run", "id", "atomic", "actor"),
    "/commands/compact": ("dry_run", "confirm"),
    "/queries/state/{key}": ("at",),
    "/queries/state": (
        *("match", "type", "search", "sort", "after", "limit"),
        *("at", "strict"),
    ),
    "/queries/tree": ("prefix", "after", "limit", "at", "strict"),
    "/queries/history/{key}": ("before", "limit", "strict"),
    "/queries/diff": ("from", "to", "match", "after", "limit", "strict"),
    "/queries/describe/{key}": ("at", "actor", "value"),
    "/queries/violations": ("match", "rule", "after", "limit", "at"),
    "/queries/attempts": ("actor", "status", "before", "limit"),
    "/queries/attempts/{id}": (),
    "/queries/export": ("format", "match", "settings", "history", "after", "at", "strict"),
    "/queries/status": (),
    "/queries/metrics": (),
    "/queries/stream": ("match", "after", "acks"),
    "/openapi.json": (),
    "/hello": ("nonce",),
}


def parse_parameters(query: str, route: str) -> Parameters:
    """The parameters of a query by name.

    Raises `Invalid` for one that is unknown, repeated, not UTF-8 or outside its schema.
    """
    allowed = ROUTES[route]
    parameters: Parameters = {}
    for name, value in _pairs(query) if query else ():
        if name not in allowed:
            names = ", ".join(allowed) or "none"
            raise Invalid(f"The parameter {quoted(name)} is unknown here; allowed are {names}.")
        if name in parameters:
            raise Invalid(f"The parameter {name} is given twice.")
        _check_parameter(
            name, value, (ROUTE_PARAMETERS.get((route, name)) or PARAMETERS[name]).schema
        )
        parameters[name] = value
    return parameters


def limit_of(params: Parameters) -> int:
    """The parameter `limit`, or its default."""
    return int(params.get("limit", DEFAULT_LIMIT))


def _pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a URL's query. Raises `Invalid`."""
    if (count := query.count("&") + 1) > MAX_PARAMETERS:
        raise Invalid(f"The query has {count} parameters; allowed are {MAX_PARAMETERS}.")
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise Invalid(f"The query is not percent-encoded UTF-8: a byte is {byte:#04x}.") from error


def _check_parameter(name: str, value: str, schema: dict[str, Any]) -> None:
    """Raises `Invalid` where a parameter is none of its choices, or out of range."""
    if "enum" in schema and value not in schema["enum"]:
        raise Invalid(
            f"The parameter {name} is {quoted(value)}; allowed are {', '.join(schema['enum'])}."
        )
    if schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        if not (is_whole(value) and low <= int(value[:9]) <= high):
            raise Invalid(f"The parameter {name} is {quoted(value)}; allowed are {low} to {high}.")
