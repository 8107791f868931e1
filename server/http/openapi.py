"""`/openapi.json`: the contract as OpenAPI 3.1, generated from the types that the server uses."""

from typing import Any, Final

import msgspec

from server import __version__
from server.commands import TYPES, Command
from server.errors import every_code
from server.http.parameters import PARAMETERS, ROUTES

_ENVELOPE: Final[dict[str, Any]] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "actor": {"type": "string", "pattern": "^[A-Za-z0-9_.@-]{1,64}$"},
    "dry_run": {"type": "boolean", "default": False},
}
_SUMMARIES: Final = {
    "/commands/import": "Commands line by line (NDJSON), applied while the body is read.",
    "/queries/state/{key}": "One key.",
    "/queries/state": "A page of keys with the exact number of all that match.",
    "/queries/tree": "The next segments below a prefix with exact numbers of keys.",
    "/queries/attempts": "Outcomes of attempts, newest first.",
    "/queries/attempts/{id}": "The outcome of one attempt.",
    "/queries/export": "The state of one revision, streamed.",
    "/queries/status": "What the server is and does.",
    "/queries/metrics": "The numbers of the status as Prometheus text.",
    "/queries/stream": "What is true now, then every change (server-sent events).",
    "/openapi.json": "This description.",
}
_MEDIA: Final = {
    "/commands/import": "application/x-ndjson",
    "/queries/export": "application/x-ndjson",
    "/queries/metrics": "text/plain",
    "/queries/stream": "text/event-stream",
}


def describe() -> dict[str, Any]:
    """The whole document."""
    (_, *_), schemas = msgspec.json.schema_components(
        [Command], ref_template="#/components/schemas/{name}"
    )
    for kind in TYPES.values():
        schemas[f"{kind.__name__}Command"] = _with_envelope(schemas[kind.__name__])
    schemas["Refusal"] = _refusal()
    paths = {"/commands": {"post": _command()}}
    for route, names in ROUTES.items():
        paths[route] = {
            "post" if route.startswith("/commands") else "get": _operation(route, names)
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signalbox",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _with_envelope(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"properties": schema["properties"] | _ENVELOPE}


def _command() -> dict[str, Any]:
    options = [{"$ref": f"#/components/schemas/{kind.__name__}Command"} for kind in TYPES.values()]
    schema = {"oneOf": options, "discriminator": {"propertyName": "type"}}
    return {
        "summary": "One command; the answer is its acknowledgement.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "Accepted."}} | _refusals(),
    }


def _operation(route: str, names: tuple[str, ...]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "description": PARAMETERS[name].help,
            "schema": PARAMETERS[name].schema,
        }
        for name in names
    ]
    if "{" in route:
        name = route[route.index("{") + 1 : -1]
        parameters.append(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
    media = _MEDIA.get(route, "application/json")
    operation: dict[str, Any] = {"summary": _SUMMARIES[route], "parameters": parameters}
    if route == "/commands/import":
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": {"type": "string"}}},
        }
    done = {"200": {"description": "Done.", "content": {media: {}}}}
    return operation | {"responses": done | _refusals()}


def _refusals() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return {"default": {"description": "Refused.", "content": content}}


def _refusal() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"enum": sorted(every_code())},
            "message": {"type": "string"},
            "id": {"type": ["string", "null"]},
            "status": {"const": "rejected"},
            "key": {"type": "string"},
            "keys": {"type": "array", "items": {"type": "string"}},
            "revision": {"type": "integer"},
            "limit": {"type": "integer"},
        },
    }
