"""A rule's record: the JSON value of a key below `_signalbox.rules.`, parsed and checked. Pure."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, SignalboxError, TooLarge, quoted
from signalbox.server.model.keys import (
    RESERVED,
    RULES,
    Pattern,
    capturing_regex,
    check_new_key,
    compile_pattern,
    is_key,
    is_pattern,
)
from signalbox.server.model.schema_dialect import Path, json_pointer
from signalbox.server.model.value_schemas import ValueSchema

MAX_RULE_BYTES: Final = 16 * 1024
MAX_RULE_NAME: Final = 128
MAX_RULES: Final = 5_000
MAX_PATTERNS: Final = 100
"""Patterns in one rule: in `match`, and in `actors`."""
MAX_WILDCARDS: Final = 20
"""Wildcards in one pattern of `match`."""
MAX_REQUIRED: Final = 100
"""Keys that one rule requires."""
MAX_HELD: Final = 300
"""With `holds`: patterns of `match` times required keys, each of which is compiled."""

_FIELDS: Final = ("match", "schema", "requires", "on", "holds", "actors", "delete", "says")
PLACEHOLDER: Final = re.compile(r"\{([1-9][0-9]?)\}")
WILDCARD: Final = re.compile(r"\*+")


class RequiredKey(NamedTuple):
    """A key that a rule requires: its name, perhaps with `{1}`, and what it must satisfy.

    Without `schema` it must not exist.
    """

    template: str
    schema: ValueSchema | None

    def key(self, captures: tuple[str, ...]) -> str | None:
        """The key for what the wildcards of `match` took; None where that makes no key."""
        key = PLACEHOLDER.sub(lambda found: captures[int(found[1]) - 1], self.template)
        return key if is_key(key) and not key.startswith(RESERVED) else None


class Match(NamedTuple):
    """One pattern of a rule, which also tells what its wildcards take of a key."""

    pattern: Pattern
    capturing: re.Pattern[str]

    def captures(self, key: str) -> tuple[str, ...] | None:
        """What each wildcard takes of a key; None where the key does not match."""
        if key.startswith(RESERVED) or not (found := self.capturing.fullmatch(key)):
            return None
        return found.groups()

    def key(self, captures: tuple[str, ...]) -> str:
        """The key in which each wildcard has taken this."""
        rest = iter(captures)
        return WILDCARD.sub(lambda _: next(rest), self.pattern.text)


class Rule(NamedTuple):
    """A parsed rule; `record` is its JSON value.

    One that this program cannot use has a `fault`, a sentence, and refuses all writes to its keys.
    """

    name: str
    record: Mapping[str, Any]
    matches: tuple[Match, ...]
    schema: ValueSchema | None = None
    requires: tuple[RequiredKey, ...] = ()
    on: ValueSchema | None = None
    holds: bool = False
    actors: tuple[Pattern, ...] | None = None
    may_delete: bool = True
    says: str | None = None
    fault: str | None = None
    dependencies: tuple[tuple[Pattern, "Dependency"], ...] = ()
    """With `holds`: how its keys depend on those that it requires, with patterns of the latter."""

    @property
    def key(self) -> str:
        """The key that the rule is."""
        return RULES + self.name

    @property
    def has_only_a_schema(self) -> bool:
        """Whether nothing but the new value of a key matters to the rule."""
        is_bound = self.requires or self.actors is not None or not self.may_delete
        return not (is_bound or self.fault)

    def captures(self, key: str) -> tuple[str, ...] | None:
        """What the wildcards of the first matching pattern take of a key; None where none does."""
        found = (match.captures(key) for match in self.matches)
        return next((captures for captures in found if captures is not None), None)


class Dependency(NamedTuple):
    """A rule whose interlock works both ways, by one of its patterns and one of its required keys.

    `expression` matches the required keys, with a group for each placeholder; `order` says which
    wildcard each group is.
    """

    rule: Rule
    match: Match
    required: RequiredKey
    expression: re.Pattern[str]
    order: tuple[int, ...]

    def dependent_key(self, key: str) -> str | None:
        """The matching key that requires `key`; None where there is none."""
        if not (found := self.expression.fullmatch(key)):
            return None
        taken: dict[int, str] = {}
        for number, text in zip(self.order, found.groups(), strict=True):
            if taken.setdefault(number, text) != text:
                return None
        dependent = self.match.key(tuple(taken[number] for number in sorted(taken)))
        # Its wildcards may take something else, or another pattern of the rule comes first: then it
        # requires another key.
        captures = self.rule.captures(dependent) if is_key(dependent) else None
        if captures is None or self.required.key(captures) != key:
            return None
        return dependent


def check_rule(key: str, value: Any) -> None:
    """Raises `Invalid`, with the path into the value, or `TooLarge` for what is no rule."""
    name = key.removeprefix(RULES)
    if len(name) > MAX_RULE_NAME:
        raise Invalid(
            f"The name of the rule has {len(name)} characters; allowed are {MAX_RULE_NAME}.",
            key=key,
        )
    raw = values.encode(value)
    if (size := values.size(raw)) > MAX_RULE_BYTES:
        raise TooLarge(
            f"The rule {name} has {size} bytes; allowed are {MAX_RULE_BYTES}.",
            key=key,
            limit=MAX_RULE_BYTES,
        )
    try:
        _parsed(name, raw)
    except Invalid as error:
        raise Invalid(
            f"The rule {name} cannot be used: {error.message}", key=key, path=error.path or ""
        ) from error


def parsed_or_faulty(name: str, raw: str) -> Rule:
    """The rule with this record; what cannot be used is a rule as well, with a fault."""
    try:
        return _parsed(name, raw)
    except SignalboxError as error:
        record = _record_or_nothing(raw)
        patterns = record.get("match")
        texts = patterns[:MAX_PATTERNS] if isinstance(patterns, list) else [patterns]
        usable = [text for text in texts if isinstance(text, str) and is_pattern(text)]
        matches = tuple(_match(text) for text in usable if not text.startswith(RESERVED))
        return Rule(name, record, matches, fault=error.message)


def _record_or_nothing(raw: str) -> dict[str, Any]:
    """The record of a rule that cannot be used; nothing where it is no JSON object at all."""
    try:
        record = values.decode(raw.encode())
    except SignalboxError:
        return {}
    return record if isinstance(record, dict) else {}


@functools.lru_cache(maxsize=MAX_RULES)
def _parsed(name: str, raw: str) -> Rule:
    """The rule with this record. Raises `Invalid`."""
    record = values.decode(raw.encode())
    if not isinstance(record, dict):
        raise Invalid(f"its value is {quoted(record)}; a rule is an object with match.", path="")
    for field in record:
        if field not in _FIELDS:
            raise _refusal((field,), f"is unknown; a rule has {', '.join(_FIELDS)}")
    matches = tuple(_match(text) for text in _patterns(record.get("match"), "match", RESERVED))
    wildcards = min(match.capturing.groups for match in matches)
    rule = Rule(
        name,
        record,
        matches,
        schema=_schema(record, "schema"),
        requires=tuple(_required_keys(record.get("requires", {}), wildcards)),
        on=_schema(record, "on"),
        holds=_flag(record, "holds", default=False),
        actors=tuple(map(compile_pattern, _patterns(record["actors"], "actors")))
        if "actors" in record
        else None,
        may_delete=_flag(record, "delete", default=True),
        says=_text(record, "says"),
    )
    if rule.holds:
        _check_holds(rule)
        rule = rule._replace(dependencies=tuple(_dependencies(rule)))
    return rule


def _patterns(given: Any, field: str, forbidden: str = "") -> list[str]:
    """The patterns of a field: one, or a list of them."""
    texts = given if isinstance(given, list) and given else [given]
    if len(texts) > MAX_PATTERNS:
        raise _refusal((field,), f"has {len(texts)} patterns; allowed are {MAX_PATTERNS}")
    for number, text in enumerate(texts):
        path: Path = (field, number) if texts is given else (field,)
        if not isinstance(text, str) or not is_pattern(text):
            raise _refusal(path, f"is {quoted(text)}; allowed is a pattern, or a list of them")
        if forbidden and text.startswith(forbidden):
            raise _refusal(path, f"is {quoted(text)}; no rule is about keys below {forbidden}")
        if (wildcards := len(WILDCARD.findall(text))) > MAX_WILDCARDS:
            raise _refusal(path, f"has {wildcards} wildcards; allowed are {MAX_WILDCARDS}")
    return texts


def _match(text: str) -> Match:
    """A pattern of a rule."""
    return Match(compile_pattern(text), capturing_regex(text))


def _schema(record: Mapping[str, Any], field: str) -> ValueSchema | None:
    """The compiled schema of a field, None where the rule has none."""
    return ValueSchema(record[field], (field,)) if field in record else None


def _flag(record: Mapping[str, Any], field: str, default: bool) -> bool:
    """The value of a field that is true or false."""
    given = record.get(field, default)
    if not isinstance(given, bool):
        raise _refusal((field,), f"is {quoted(given)}; allowed are true and false")
    return given


def _text(record: Mapping[str, Any], field: str) -> str | None:
    """The value of a field that is a text."""
    given = record.get(field)
    if field in record and not (isinstance(given, str) and given.strip()):
        raise _refusal((field,), f"is {quoted(given)}; allowed is a text")
    return given


def _required_keys(given: Any, wildcards: int) -> Iterator[RequiredKey]:
    """The required keys of a rule whose patterns have at least so many wildcards."""
    if not isinstance(given, dict):
        raise _refusal(
            ("requires",), f"is {quoted(given)}; allowed is an object from key to schema"
        )
    if len(given) > MAX_REQUIRED:
        raise _refusal(("requires",), f"has {len(given)} keys; allowed are {MAX_REQUIRED}")
    for template, schema in given.items():
        path: Path = ("requires", template)
        if template.startswith(RESERVED):
            raise _refusal(path, f"is below {RESERVED}, whose keys no rule requires")
        numbers = [int(found) for found in PLACEHOLDER.findall(template)]
        if too_high := [number for number in numbers if number > wildcards]:
            raise _refusal(
                path,
                f"has {{{max(too_high)}}}, and not every pattern of match has so many wildcards",
            )
        try:
            check_new_key(PLACEHOLDER.sub("x", template))
        except Invalid as error:
            raise _refusal(path, f"is no key: {error.message.rstrip('.')}") from error
        if schema is not None and not isinstance(schema, dict):
            hint = quoted({"const": schema})
            raise _refusal(
                path, f"is {quoted(schema)}; allowed is a schema, an object such as {hint}, or null"
            )
        yield RequiredKey(template, None if schema is None else ValueSchema(schema, path))


def _check_holds(rule: Rule) -> None:
    """Raises `Invalid` where the keys that require a key could not be told from that key."""
    if not rule.requires:
        raise _refusal(("holds",), "is true; then the rule must have requires")
    if (held := len(rule.matches) * len(rule.requires)) > MAX_HELD:
        raise _refusal(
            ("holds",),
            f"is true; then patterns of match times required keys may be {MAX_HELD}, not {held}",
        )
    for match in rule.matches:
        wildcards = WILDCARD.findall(match.pattern.text)
        for required in rule.requires:
            path: Path = ("requires", required.template)
            numbers = [int(found) for found in PLACEHOLDER.findall(required.template)]
            if missing := set(range(1, len(wildcards) + 1)).difference(numbers):
                raise _refusal(
                    path,
                    f"does not have {{{min(missing)}}}; with holds every wildcard of match stands "
                    "in each required key",
                )
            across = [number for number in numbers if len(wildcards[number - 1]) > 1]
            segments = required.template.split(".")
            if len(across) > 1 or any(len(PLACEHOLDER.findall(one)) > 1 for one in segments):
                raise _refusal(
                    path,
                    "has several placeholders that cannot be told apart in a key; with holds each "
                    "segment has at most one, and one at most stands for **",
                )


def _refusal(path: Path, what: str) -> Invalid:
    """The refusal of what a path of the record has."""
    return Invalid(f"{json_pointer(path)} {what}.", path=json_pointer(path))


def _dependencies(rule: Rule) -> Iterator[tuple[Pattern, Dependency]]:
    """How the keys of a rule depend on those that it requires."""
    for match in rule.matches:
        wildcards = WILDCARD.findall(match.pattern.text)
        for required in rule.requires:
            order = [int(found) for found in PLACEHOLDER.findall(required.template)]
            literals = PLACEHOLDER.split(required.template)[::2]
            text = literals[0] + "".join(
                wildcards[number - 1] + literal
                for number, literal in zip(order, literals[1:], strict=True)
            )
            expression = capturing_regex(text)
            yield compile_pattern(text), Dependency(rule, match, required, expression, tuple(order))
