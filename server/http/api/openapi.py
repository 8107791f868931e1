"""`/openapi.json`: the contract as OpenAPI 3.1, generated from the types that the server uses."""

import re
from inspect import isclass
from typing import Any, Final, NamedTuple, get_args

import msgspec

from signalbox.server import __version__
from signalbox.server.formats.import_file import MEDIA_TYPES
from signalbox.server.http.api import login_schemas, rule_schemas, schemas
from signalbox.server.http.api.login_schemas import (
    Admission,
    Farewell,
    Goodbye,
    Hello,
    LoginAddress,
    Redemption,
)
from signalbox.server.http.api.parameters import (
    ACTOR,
    ID,
    PARAMETERS,
    ROUTE_PARAMETERS,
    ROUTES,
)
from signalbox.server.http.api.rule_schemas import Description, Violations
from signalbox.server.http.api.schemas import (
    EVENTS,
    Accepted,
    AcceptedAttempt,
    Attempts,
    Compaction,
    Diff,
    History,
    Item,
    Page,
    Progress,
    Recorded,
    Refusal,
    Rejected,
    RejectedAttempt,
    RejectedLine,
    Status,
    Summary,
    Tree,
    Unknown,
)
from signalbox.server.model.commands import DEFAULT_EFFECTS, MAX_EFFECTS, TYPES, Command
from signalbox.server.model.keys import KEY_SCHEMA

Schema = dict[str, Any]

_SCHEMAS: Final = "#/components/schemas/"
_TEXT: Final = {"type": "string"}
_FILE: Final = {"type": "string", "format": "binary"}
_ANY_OBJECT: Final = {"type": "object", "additionalProperties": True}
_ID: Final = {"type": "string", "pattern": ID}
_ENVELOPE: Final[Schema] = {
    "id": _ID,
    "actor": {"type": "string", "pattern": ACTOR},
    "dry_run": {"type": "boolean", "default": False},
    "effects": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_EFFECTS,
        "default": DEFAULT_EFFECTS,
    },
}
_TOKENS: Final = {
    "read": {"type": "http", "scheme": "bearer", "description": "Opens queries."},
    "write": {"type": "http", "scheme": "bearer", "description": "Opens everything."},
    "window": {
        "type": "http",
        "scheme": "bearer",
        "description": "What `POST /redeem` gives a browser. Opens everything.",
    },
}
_WRITERS: Final = ("write", "window")
_NONE: Final[Schema] = {}
_IN_PATH: Final[Schema] = {
    "key": KEY_SCHEMA,
    "id": _ID,
    "file": {"type": "string", "pattern": "^[^/]+$"},
}
_TAGS: Final = {
    "commands": ("/commands", "What changes the state."),
    "queries": ("/queries", "What changes nothing."),
    "window": ("/", "The window's page, and this description."),
}
"""The groups of operations, with the beginning of their paths."""


class Route(NamedTuple):
    """One operation: `name` is its id, `content` that of the response 200; `more` are other
    responses that are no errors. `links` say which part of the response is a parameter of another
    operation.

    `query_texts` are parameters beside those in `parameters.py`, `request_headers` and
    `response_headers` are headers, each with its meaning.
    """

    name: str
    summary: str
    content: Schema
    more: Schema = _NONE
    body: Schema | None = None
    tokens: tuple[str, ...] = ("read", *_WRITERS)
    query_texts: Schema = _NONE
    request_headers: Schema = _NONE
    response_headers: Schema = _NONE
    links: Schema = _NONE


def describe(url: str = "http://127.0.0.1") -> dict[str, Any]:
    """The whole document; `url` is where the server listens."""
    paths: dict[str, Schema] = {}
    for name, route in _ROUTES.items():
        method, path = name.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(path, route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signalbox",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "tags": [{"name": name, "description": text} for name, (_, text) in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _TOKENS},
    }


def _as_booleans(node: Any) -> Any:
    """`Literal[True]` as generators of clients support it: no `enum` of booleans."""
    if isinstance(node, list):
        return [_as_booleans(member) for member in node]
    if node == {"enum": [True]}:
        return {"type": "boolean", "const": True}
    return {k: _as_booleans(v) for k, v in node.items()} if isinstance(node, dict) else node


def _schemas() -> Schema:
    """The schemas of all commands and responses, by their names."""
    named = vars(schemas) | vars(rule_schemas) | vars(login_schemas)
    kinds = [kind for kind in named.values() if isclass(kind)]
    answers = [kind for kind in kinds if issubclass(kind, schemas.Shape) and kind != schemas.Shape]
    _, components = msgspec.json.schema_components(
        [Command, *answers], ref_template=_SCHEMAS + "{name}"
    )
    components["ExpectRevision"] |= {"minProperties": 1, "maxProperties": 1}
    for kind in TYPES.values():
        properties = components[kind.__name__]["properties"] | _ENVELOPE
        name = f"{kind.__name__}Command"
        components[name] = components[kind.__name__] | {"title": name, "properties": properties}
    del components[schemas.Counts.__name__]  # only what others have in common
    described: Schema = _as_booleans(components)
    return described


def _operation(path: str, route: Route) -> Schema:
    """The description of one route."""
    queries = [_query_parameter(name, path) for name in ROUTES.get(path, ())]
    operation: Schema = {
        "operationId": route.name,
        "tags": [next(tag for tag, (start, _) in _TAGS.items() if path.startswith(start))],
        "summary": route.summary,
        "security": [{token: []} for token in route.tokens],
        "parameters": [
            *_path_parameters(path),
            *queries,
            *_text_parameters("query", route.query_texts),
            *_text_parameters("header", route.request_headers),
        ],
        "responses": _responses(route),
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": route.body}
    return operation


def _path_parameters(path: str) -> list[Schema]:
    """The parameters in a path, as OpenAPI describes them."""
    names = re.findall(r"{(\w+)}", path)
    return [
        {"name": name, "in": "path", "required": True, "schema": _IN_PATH[name]} for name in names
    ]


def _query_parameter(name: str, path: str) -> Schema:
    """A query parameter of a path, from the table of parameters."""
    parameter = ROUTE_PARAMETERS.get((path, name)) or PARAMETERS[name]
    return {"name": name, "in": "query", "description": parameter.help, "schema": parameter.schema}


def _text_parameters(location: str, texts: Schema) -> list[Schema]:
    """Parameters or headers that are any text, with what they mean."""
    return [
        {"name": name, "in": location, "description": text, "schema": _TEXT}
        for name, text in texts.items()
    ]


def _responses(route: Route) -> Schema:
    """The responses of a route, with the links from them to other queries."""
    done: Schema = {"description": "Done.", "content": route.content}
    if route.response_headers:
        done["headers"] = {
            name: {"description": text, "schema": _TEXT}
            for name, text in route.response_headers.items()
        }
    if route.links:
        done["links"] = {
            name: {"operationId": operation, "parameters": {parameter: f"$response.body#{where}"}}
            for name, (operation, parameter, where) in route.links.items()
        }
    refused = _json_content(Rejected, Unknown, Refusal) if route.body else _json_content(Refusal)
    answers = {"200": done} if route.content else {}
    return answers | route.more | {"default": {"description": "Refused.", "content": refused}}


def _ref(name: str) -> Schema:
    """A reference to a schema among the components of the description."""
    return {"$ref": _SCHEMAS + name}


def _any_of(kinds: tuple[Any, ...]) -> Schema:
    """The OpenAPI schema of a body that has one of several forms: `anyOf` their schemas."""
    references = [_ref(kind.__name__) for kind in kinds]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _json_content(*kinds: Any) -> Schema:
    """The content of a JSON body that has one of these forms."""
    return {"application/json": {"schema": _any_of(kinds)}}


def _lines(*kinds: Any) -> Schema:
    """A response of lines; OpenAPI 3.1 cannot describe what each line is."""
    return {"application/x-ndjson": {"schema": _TEXT, "x-line": _any_of(kinds)}}


def _octets(*kinds: Any) -> Schema:
    """The bodies of an import: for generators of clients a file, or one JSON object."""
    bodies: Schema = {kind: {"schema": _FILE} for kind in MEDIA_TYPES}
    bodies["application/x-ndjson"]["x-line"] = _any_of(kinds)
    bodies["application/json"]["schema"] = _ANY_OBJECT
    return bodies


def _event_stream_content() -> Schema:
    """The content of the event stream, with the schema of each event."""
    events = {name: _any_of(kinds) for name, kinds in EVENTS.items()}
    return {"text/event-stream": {"schema": _TEXT, "x-events": events}}


def _text_content(media_type: str) -> Schema:
    """The content of a body of text."""
    return {media_type: {"schema": _TEXT}}


def _command_schema() -> Schema:
    """The schema of a command: one of all, told apart by `type`."""
    options = {tag: _ref(f"{kind.__name__}Command") for tag, kind in TYPES.items()}
    mapping = {tag: option["$ref"] for tag, option in options.items()}
    discriminator = {"propertyName": "type", "mapping": mapping}
    return {"oneOf": list(options.values()), "discriminator": discriminator}


def _export_content() -> Schema:
    """The content of an export in each of its formats."""
    return {
        "application/x-ndjson": {
            "schema": _TEXT,
            "x-line": {"anyOf": [_ref("Set"), _ref("Recorded")]},
        },
        "application/json": {"schema": _ANY_OBJECT},
        **_text_content("text/csv"),
        **_text_content("text/plain"),
    }


_PAGE_STREAM: Final = "The window's own stream of HTML (Datastar); not a stable interface."
_ROUTES: Final[dict[str, Route]] = {
    "POST /commands": Route(
        "send_command",
        "One command; the answer is its acknowledgement.",
        _json_content(Accepted),
        {"204": {"description": "Decided; its outcome shows in the page."}},
        body={"application/json": {"schema": _command_schema()}},
        tokens=_WRITERS,
        request_headers={"Datastar-Request": "From the window's page: the answer has no body."},
        links={
            "outcome": ("get_attempt", "id", "/id"),
            "stateThen": ("list_keys", "at", "/revision"),
        },
    ),
    "POST /commands/import": Route(
        "import_commands",
        "A file of commands, or of keys and values, applied while it is read.",
        _lines(Progress, RejectedLine, Summary),
        body=_octets(*get_args(Command), Recorded),
        tokens=_WRITERS,
    ),
    "POST /commands/compact": Route(
        "compact",
        "Removes what is older than the retention settings say.",
        _json_content(Compaction),
        tokens=_WRITERS,
    ),
    "POST /login": Route(
        "new_login_address",
        "A fresh one-time address.",
        _json_content(LoginAddress),
        tokens=_WRITERS,
    ),
    "POST /redeem": Route(
        "redeem",
        "Exchanges a code for the window's secret.",
        _json_content(Admission),
        body=_json_content(Redemption),
        tokens=(),
    ),
    "POST /goodbye": Route(
        "say_goodbye",
        "The window's page says that it is closed.",
        _json_content(Farewell),
        body=_json_content(Goodbye),
        tokens=(),
    ),
    "GET /hello": Route(
        "greet", "Proves that this server knows its secrets.", _json_content(Hello), tokens=()
    ),
    "GET /": Route(
        "open_window", "The window's page, empty.", _text_content("text/html"), tokens=()
    ),
    "GET /static/{file}": Route(
        "get_file",
        "A file of the page.",
        {
            **_text_content("text/javascript"),
            **_text_content("text/css"),
            **_text_content("image/svg+xml"),
        },
        tokens=(),
    ),
    "GET /queries/state/{key}": Route(
        "get_key",
        "One key.",
        _json_content(Item),
        {"304": {"description": "The key is still at that revision."}},
        request_headers={"If-None-Match": "ETags of the revisions that the reader has, or *."},
        response_headers={"ETag": "The key's revision in quotes."},
        links={
            "history": ("get_history", "key", "/key"),
            "stateThen": ("list_keys", "at", "/revision"),
        },
    ),
    "GET /queries/state": Route(
        "list_keys",
        "A page of keys with the exact number of all that match.",
        _json_content(Page),
        links={
            "next": ("list_keys", "after", "/next"),
            "first": ("get_key", "key", "/items/0/key"),
            "history": ("get_history", "key", "/items/0/key"),
        },
    ),
    "GET /queries/tree": Route(
        "list_tree",
        "The next segments below a prefix with exact numbers of keys.",
        _json_content(Tree),
        links={
            "next": ("list_tree", "after", "/next"),
            "below": ("list_tree", "prefix", "/children/0/prefix"),
            "key": ("get_key", "key", "/children/0/key"),
        },
    ),
    "GET /queries/history/{key}": Route(
        "get_history",
        "What a key was, newest first.",
        _json_content(History),
        links={
            "next": ("get_history", "before", "/next"),
            "attempt": ("get_attempt", "id", "/items/0/id"),
        },
    ),
    "GET /queries/diff": Route(
        "compare",
        "What differs between two moments, key by key.",
        _json_content(Diff),
        links={"next": ("compare", "after", "/next")},
    ),
    "GET /queries/describe/{key}": Route(
        "describe_key",
        "What the rules say of a key, and whether it may have a value now.",
        _json_content(Description),
        links={"state": ("get_key", "key", "/key")},
    ),
    "GET /queries/violations": Route(
        "list_violations",
        "The keys whose values break the schema of a rule.",
        _json_content(Violations),
        links={
            "next": ("list_violations", "after", "/next"),
            "first": ("describe_key", "key", "/items/0/key"),
        },
    ),
    "GET /queries/attempts": Route(
        "list_attempts",
        "Outcomes of attempts, newest first.",
        _json_content(Attempts),
        links={
            "next": ("list_attempts", "before", "/next"),
            "first": ("get_attempt", "id", "/items/0/id"),
        },
    ),
    "GET /queries/attempts/{id}": Route(
        "get_attempt",
        "The outcome of one attempt.",
        _json_content(AcceptedAttempt, RejectedAttempt),
    ),
    "GET /queries/export": Route(
        "export_state",
        "The state of one revision, streamed.",
        _export_content(),
        response_headers={
            "Signalbox-Revision": "The revision that all of it is of.",
            "Signalbox-Compacted": "Prefixes that are left out: their past is not kept so long.",
        },
    ),
    "GET /queries/status": Route(
        "get_status",
        "What the server is and does.",
        _json_content(Status),
        links={
            "stateThen": ("list_keys", "at", "/revision"),
            "changes": ("follow", "after", "/revision"),
        },
    ),
    "GET /queries/metrics": Route(
        "get_metrics", "The numbers of the status as Prometheus text.", _text_content("text/plain")
    ),
    "GET /queries/stream": Route(
        "follow",
        "What is true now, then every change (server-sent events).",
        _event_stream_content(),
        request_headers={"Last-Event-ID": "The position to go on behind; wins over `after`."},
    ),
    "GET /queries/page": Route(
        "follow_page",
        _PAGE_STREAM,
        _text_content("text/event-stream"),
        query_texts={"datastar": "The page's signals as JSON."},
    ),
    "GET /openapi.json": Route("describe", "This description.", {"application/json": {}}),
}
