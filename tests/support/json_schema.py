"""Whether a JSON value is exactly what a JSON Schema says: nothing missing and nothing besides."""

import re
from collections.abc import Iterator
from typing import Any, Final

TYPES: Final[dict[str, Any]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
KNOWN: Final = frozenset(
    "$ref anyOf oneOf type enum const required properties additionalProperties items pattern title "
    "description default format discriminator minProperties maxProperties".split()
)


def complaint(document: dict[str, Any], schema: dict[str, Any], value: Any) -> str | None:
    """Why `value` does not fit, None where it does. A property that is not described is a reason.

    `document` is where references lead. Raises `KeyError` for a reference that leads nowhere.
    """
    return next(_complaints(document, schema, value), None)


def _complaints(document: dict[str, Any], schema: dict[str, Any], value: Any) -> Iterator[str]:
    assert set(schema) <= KNOWN, f"this check does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        yield from _complaints(document, referred(document, schema["$ref"]), value)
    for word in ("anyOf", "oneOf"):
        found = [complaint(document, one, value) for one in schema.get(word, ())]
        if found and (None not in found or (word == "oneOf" and found.count(None) > 1)):
            yield f"{word}: {found}"
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else [value])
    if value not in allowed:
        yield f"{value!r} is none of {allowed}"
    if "type" in schema and not _is(value, schema["type"]):
        yield f"{value!r} is no {schema['type']}"
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not match {schema['pattern']}"
    elif isinstance(value, dict) and "type" in schema:
        yield from _in_object(document, schema, value)
    elif isinstance(value, list) and "items" in schema:
        for one in value:
            yield from _complaints(document, schema["items"], one)


def _in_object(
    document: dict[str, Any], schema: dict[str, Any], value: dict[str, Any]
) -> Iterator[str]:
    if missing := set(schema.get("required", ())) - set(value):
        yield f"{missing} missing in {value}"
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 1_000):
        yield f"{len(value)} properties in {value}"
    for name, inner in value.items():
        described = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if described in (None, False):
            yield f"{name} is not described in {value}"
        elif described is not True:
            yield from (f"{name}: {why}" for why in _complaints(document, described, inner))


def referred(document: dict[str, Any], reference: str) -> dict[str, Any]:
    """What a reference within `document` leads to."""
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])
