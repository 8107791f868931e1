"""The dialect of JSON Schema that rules are written in.

It is draft 2020-12 without identifiers, remote and recursive references, and unknown keywords.

Source: https://json-schema.org/draft/2020-12. What a schema costs is counted before it is compiled,
since a few kilobytes of it can ask for any amount of work.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from signalbox.server.model.errors import Invalid, quoted

MAX_SUBSCHEMAS: Final = 2_000
"""Schemas within a schema, each reference counted as what it refers to."""
MAX_SCHEMA_DEPTH: Final = 50
EXTENSION: Final = "x-"
"""Keywords that begin with it are anybody's own: they are kept and mean nothing."""
FORMATS: Final = (
    "date-time date time duration email hostname ipv4 ipv6 uri uri-reference uuid json-pointer "
    "regex color"
).split()
"""The formats that a value must have; all others only describe it."""

_SCHEMA: Final = (
    "not if then else items contains propertyNames additionalProperties unevaluatedItems "
    "unevaluatedProperties"
).split()
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas", "$defs")
_IN_PLACE: Final = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
"""Keywords whose schemas apply to the same value as the schema that has them."""
_UNEVALUATED: Final = ("unevaluatedItems", "unevaluatedProperties")
_EVALUATED_AGAIN: Final = 3
"""How often what applies in place is evaluated where a schema asks what was not evaluated."""
_ASSERTIONS: Final = (
    "type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength "
    "minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties "
    "minProperties required dependentRequired format"
).split()
ANNOTATIONS: Final = (
    "title description default examples readOnly writeOnly deprecated contentEncoding "
    "contentMediaType contentSchema $comment unit"
).split()
_REFUSED: Final = {
    "$id": "an identifier, which only schemas that refer to each other need",
    "$anchor": "an anchor; refer to #/$defs/<name>",
    "$dynamicRef": "a reference that may be recursive; refer to #/$defs/<name>",
    "$dynamicAnchor": "an anchor; refer to #/$defs/<name>",
    "$vocabulary": "no part of a schema for values",
    "definitions": "of an older draft; draft 2020-12 has $defs",
}
_KEYWORDS: Final = frozenset(
    [*_SCHEMA, *_LIST, *_NAMED, *_ASSERTIONS, *ANNOTATIONS, "$ref", "$schema"]
)
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = re.compile(r"#/\$defs/([A-Za-z0-9_.-]+)")
"""Plain names alone: of others the library would decode escapes, and might find another one."""
_WORD_BOUNDARY: Final = re.compile(r"\\[bB]")

Path = tuple[str | int, ...]


class Cost(NamedTuple):
    """What one value costs to check: `schemas` for each part of it, `patterns` for each byte.

    `unique` are the schemas that compare all items of a list, and `alternatives` those with several
    alternatives, all of which are part of the library's explanation.
    """

    schemas: int = 0
    patterns: int = 0
    unique: int = 0
    alternatives: int = 0

    def plus(self, other: "Cost", times: int = 1) -> "Cost":
        """The sum of this cost and the other one, the latter so many times."""
        return Cost._make(mine + times * its for mine, its in zip(self, other, strict=True))


_PATTERN_COST: Final = 1
_WORD_BOUNDARY_COST: Final = 20
"""A regular expression with a word boundary falls back to a slower engine outside ASCII."""


def json_pointer(path: Path) -> str:
    """A path into a JSON value as text (RFC 6901); empty for the whole."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class _Checker:
    """Checks one schema document, whose `$defs` its references name."""

    def __init__(self, document: Any, where: Path) -> None:
        self._where = where
        definitions = document.get("$defs", {}) if isinstance(document, dict) else {}
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._open: list[str] = []
        """The definitions that are being counted, so that a recursive one is noticed."""
        self._costs: dict[str, tuple[Cost, int]] = {}

    def cost(self, schema: Any, path: Path, depth: int = 1) -> tuple[Cost, int]:
        """The cost of a schema and how many levels it has; `depth` is its own level."""
        if depth > MAX_SCHEMA_DEPTH:
            raise self._refusal(path, f"nests deeper than {MAX_SCHEMA_DEPTH} levels")
        if isinstance(schema, bool):
            return Cost(1), 1
        if not isinstance(schema, dict):
            raise self._refusal(path, f"is {quoted(schema)}; a schema is an object, true or false")
        self._check_keywords(schema, path)
        again = _EVALUATED_AGAIN if any(name in schema for name in _UNEVALUATED) else 1
        total, levels = _own_cost(schema), 0
        for inner, inner_path, is_in_place in _subschemas(schema, path):
            cost, inner_levels = self.cost(inner, inner_path, depth + 1)
            total = total.plus(cost, again if is_in_place else 1)
            levels = max(levels, inner_levels)
        for name, definition in self._own_definitions(schema, path):
            self.cost(definition, (*path, "$defs", name), depth + 1)  # only those referred to count
        if "$ref" in schema:
            cost, inner_levels = self._referred(schema["$ref"], (*path, "$ref"), depth)
            total, levels = total.plus(cost, again), max(levels, inner_levels)
        if total.schemas > MAX_SUBSCHEMAS:
            raise self._refusal(
                path,
                f"has more than {MAX_SUBSCHEMAS} schemas within it, each reference counted as what "
                "it refers to",
            )
        if depth + levels > MAX_SCHEMA_DEPTH:
            raise self._refusal(path, f"nests deeper than {MAX_SCHEMA_DEPTH} levels")
        return total, levels + 1

    def _own_definitions(self, schema: dict[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
        """The definitions of the document; they stand at its top alone."""
        if "$defs" not in schema:
            return
        if path != self._where:
            raise self._refusal((*path, "$defs"), "is not at the top of the schema")
        yield from schema["$defs"].items()

    def _referred(self, reference: Any, path: Path, depth: int) -> tuple[Cost, int]:
        """The cost and the levels of what a reference refers to."""
        found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        name = found[1] if found else ""
        if name not in self._definitions:
            raise self._refusal(
                path,
                f"is {quoted(reference)}; allowed is #/$defs/<name> of a definition there, "
                "its name of A-Z a-z 0-9 _ . -",
            )
        if name in self._open:
            raise self._refusal(path, f"is {quoted(reference)}, which refers to itself")
        if name not in self._costs:
            self._open.append(name)
            self._costs[name] = self.cost(
                self._definitions[name], (*self._where, "$defs", name), depth + 1
            )
            self._open.pop()
        return self._costs[name]

    def _check_keywords(self, schema: dict[str, Any], path: Path) -> None:
        """Check the names of keywords, and the form of those that hold schemas."""
        for name, value in schema.items():
            if name in _REFUSED:
                raise self._refusal((*path, name), f"is {_REFUSED[name]}")
            if name not in _KEYWORDS and not name.startswith(EXTENSION):
                raise self._refusal(
                    (*path, name),
                    "is no keyword of JSON Schema draft 2020-12; others begin with x-",
                )
            if name in _LIST and not isinstance(value, list):
                raise self._refusal((*path, name), f"is {quoted(value)}; allowed is a list")
            if name in _NAMED and not isinstance(value, dict):
                raise self._refusal((*path, name), f"is {quoted(value)}; allowed is an object")
            if name == "$schema" and value != _DRAFT:
                raise self._refusal((*path, name), f"is {quoted(value)}; allowed is {_DRAFT}")
            if name == "unit" and not isinstance(value, str):
                raise self._refusal((*path, name), f"is {quoted(value)}; allowed is a text")

    def _refusal(self, path: Path, what: str) -> Invalid:
        """The refusal of what a path of the schema has."""
        return Invalid(f"{json_pointer(path)} {what}.", path=json_pointer(path))


def check_dialect(schema: Any, where: Path = ()) -> Cost:
    """What a schema of the dialect costs. Raises `Invalid`, which names the path, for any other.

    `where` is the path to the schema in what holds it. The values of keywords are left to whoever
    compiles the schema.
    """
    checker = _Checker(schema, where)
    cost, _ = checker.cost(schema, where)
    return cost


def _subschemas(schema: dict[str, Any], path: Path) -> Iterator[tuple[Any, Path, bool]]:
    """The schemas directly within a schema but for definitions; whether they apply in place."""
    for name, value in schema.items():
        if name in _SCHEMA:
            yield value, (*path, name), name in _IN_PLACE
        elif name in _LIST:
            for number, inner in enumerate(value):
                yield inner, (*path, name, number), name in _IN_PLACE
        elif name in _NAMED and name != "$defs":
            for key, inner in value.items():
                yield inner, (*path, name, key), name in _IN_PLACE


def _own_cost(schema: dict[str, Any]) -> Cost:
    """What a schema costs without those within it."""
    return Cost(
        1 + _compared(schema),
        _patterns(schema),
        int("uniqueItems" in schema),
        int("anyOf" in schema or "oneOf" in schema),
    )


def _compared(schema: dict[str, Any]) -> int:
    """Values that are compared with arrays and objects one by one: simple ones are looked up."""
    values = [schema["const"]] if "const" in schema else []
    values += schema["enum"] if isinstance(schema.get("enum"), list) else []
    return sum(_size(value) for value in values if isinstance(value, list | dict))


def _size(value: Any) -> int:
    """How many values a JSON value has in it, itself counted."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _patterns(schema: dict[str, Any]) -> int:
    """What the regular expressions and formats of a schema cost for each byte of a value."""
    patterns = [schema["pattern"]] if "pattern" in schema else []
    named = schema.get("patternProperties")
    patterns += named if isinstance(named, dict) else []
    cost = sum(
        _WORD_BOUNDARY_COST if _WORD_BOUNDARY.search(str(one)) else _PATTERN_COST
        for one in patterns
    )
    return cost + ("format" in schema)
