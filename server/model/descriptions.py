"""What the schemas of several rules say of one key, merged: a JSON Schema of plain keywords. Pure.

Texts come from the more specific rule; bounds, choices and types are intersected, since all hold.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

from signalbox.server.model import values
from signalbox.server.model.errors import TooLarge
from signalbox.server.model.rule_records import WILDCARD, Rule
from signalbox.server.model.schema_dialect import EXTENSION

MAX_CHECKS: Final = 100_000
"""Choices times rules: each is one check, of about a microsecond."""

Schema = dict[str, Any]
Rank = tuple[int, int, str]

_FROM_FIRST: Final = (
    "title description default examples readOnly writeOnly deprecated unit format pattern "
    "contentEncoding contentMediaType"
).split()
"""Keywords that are as the most specific rule has them."""
_LEAST: Final = ("minLength", "minItems", "minProperties")
_MOST: Final = ("maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "exclusiveMinimum")
_UPPER: Final = ("maximum", "exclusiveMaximum")
_EXCLUSIVE: Final = ("exclusiveMinimum", "exclusiveMaximum")
_MAX_BITS: Final = 1_000
"""Of the least common multiple of two steps; of a larger one no editor makes use."""


def describe(key: str, rules: Iterable[Rule], pause: Callable[[], None]) -> Schema:
    """What the rules that match a key say of it together; empty where they say nothing.

    `enum` has those choices alone that satisfy every schema, unless that takes more than
    `MAX_CHECKS`. `pause` is called after each choice.
    """
    ordered = sorted(
        (rule for rule in rules if rule.schema), key=lambda rule: _specificity(key, rule)
    )
    schemas = [
        schema
        for rule in ordered
        if rule.schema
        for schema in _all_that_hold(rule.schema.source, rule.schema.source)
    ]
    description: Schema = {}
    if (kinds := _types(schemas)) is not None:
        description["type"] = kinds
    if (given := _choices(schemas)) is not None:
        description["enum"] = _allowed(given, ordered, pause)
    description |= _bound(schemas, _LOWER, is_lower=True)
    description |= _bound(schemas, _UPPER, is_lower=False)
    if steps := _values_of(schemas, "multipleOf"):
        description["multipleOf"] = _common_multiple(steps)
    description |= _sizes(schemas, _LEAST, max) | _sizes(schemas, _MOST, min)
    for schema in reversed(schemas):
        description |= {
            name: value
            for name, value in schema.items()
            if name in _FROM_FIRST or name.startswith(EXTENSION)
        }
    return description


def choices(description: Schema) -> list[Any] | None:
    """All values that a description allows, where they can be listed; else None."""
    if "enum" in description:
        listed: list[Any] = description["enum"]
        return listed
    return [False, True] if description.get("type") == "boolean" else None


def _specificity(key: str, rule: Rule) -> Rank:
    """Sorts the more specific rule first: fewer wildcards, then more literal characters."""
    texts = [match.pattern.text for match in rule.matches if match.captures(key) is not None]
    wildcards, literals = min(
        (len(WILDCARD.findall(text)), -len(WILDCARD.sub("", text))) for text in texts
    )
    return wildcards, literals, rule.name


def _all_that_hold(schema: Any, document: Any) -> Iterator[Schema]:
    """A schema and those that it refers to, or lists in `allOf`: a value must satisfy all."""
    if schema is False:
        yield {"enum": []}
    if not isinstance(schema, dict):
        return
    yield schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from _all_that_hold(document["$defs"][name], document)
    for inner in schema.get("allOf", ()):
        yield from _all_that_hold(inner, document)


def _values_of(schemas: Sequence[Schema], name: str) -> list[Any]:
    """What the schemas have for a keyword."""
    return [schema[name] for schema in schemas if name in schema]


def _types(schemas: Sequence[Schema]) -> str | list[str] | None:
    """The types that every schema allows; None where none names any."""
    given = [_with_integer(one) for one in _values_of(schemas, "type")]
    if not given:
        return None
    common = set.intersection(*given)
    if "number" in common:
        common.discard("integer")
    listed = [name for name in (*values.TYPES, "integer") if name in common]
    return listed[0] if len(listed) == 1 else listed


def _with_integer(given: str | list[str]) -> set[str]:
    """The types that a keyword names; a number may be an integer."""
    names = {given} if isinstance(given, str) else set(given)
    return names | {"integer"} if "number" in names else names


def _choices(schemas: Sequence[Schema]) -> list[Any] | None:
    """The choices of the most specific schema that lists any; None where none does."""
    for schema in schemas:
        if "const" in schema:
            return [schema["const"]]
        if "enum" in schema:
            listed: list[Any] = schema["enum"]
            return listed
    return None


def _allowed(given: list[Any], rules: Sequence[Rule], pause: Callable[[], None]) -> list[Any]:
    """The choices that satisfy the schemas of all rules; all of them where that takes long.

    Not some of them: a value that is missing in `enum` is forbidden.
    """
    if len(given) * len(rules) > MAX_CHECKS:
        return given
    found = []
    for choice in given:
        if _is_allowed(choice, rules):
            found.append(choice)
        pause()
    return found


def _is_allowed(value: Any, rules: Sequence[Rule]) -> bool:
    """Whether a value satisfies the schemas of all rules."""
    raw = values.encode(value)
    try:
        return all(rule.schema.is_satisfied(raw) for rule in rules if rule.schema)
    except TooLarge:
        return False  # it cannot be set either


def _bound(schemas: Sequence[Schema], names: Sequence[str], is_lower: bool) -> Schema:
    """The tightest of the bounds on one side."""
    found = [
        (values.as_decimal(schema[name]), (name in _EXCLUSIVE) is is_lower, name, schema[name])
        for schema in schemas
        for name in names
        if name in schema
    ]
    if not found:
        return {}
    *_, name, bound = (max if is_lower else min)(found, key=lambda one: one[:2])
    return {name: bound}


def _sizes(schemas: Sequence[Schema], names: Sequence[str], tightest: Callable[..., Any]) -> Schema:
    """The tightest of what the schemas have for each of some keywords with a number."""
    return {
        name: tightest(found, key=values.as_decimal)
        for name in names
        if (found := _values_of(schemas, name))
    }


def _common_multiple(steps: Sequence[Any]) -> Any:
    """The least number that is a multiple of all steps; the first of them where that is long."""
    first = common = _fraction(steps[0])
    for step in map(_fraction, steps[1:]):
        common = Fraction(
            math.lcm(common.numerator, step.numerator),
            math.gcd(common.denominator, step.denominator),
        )
    if common == first or common.numerator.bit_length() > _MAX_BITS:
        return steps[0]
    return common.numerator if common.denominator == 1 else float(common)


def _fraction(number: Any) -> Fraction:
    """A JSON number as it is written: 0.1 is a tenth."""
    return Fraction(values.as_decimal(str(number) if isinstance(number, float) else number))
