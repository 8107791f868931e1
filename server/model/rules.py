"""Rules: what a value may be, and when it may change. A rule is a key below `_signalbox.rules.`.

Here a rule's record is parsed and found for a key; `rule_check` holds changes against rules. Pure.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, SignalboxError, TooLarge, quoted
from signalbox.server.model.keys import (
    RESERVED,
    Pattern,
    capturing_regex,
    check_new_key,
    compile_pattern,
    is_key,
    is_pattern,
)
from signalbox.server.model.schema_dialect import Path, json_pointer
from signalbox.server.model.value_schemas import ValueSchema

RULES: Final = RESERVED + "rules."
MAX_RULES: Final = 5_000
MAX_RULE_BYTES: Final = 16 * 1024
MAX_RULE_NAME: Final = 128
MAX_CACHED: Final = 10_000
"""Keys of which it is remembered which rules are about them."""

_FIELDS: Final = ("match", "schema", "requires", "on", "holds", "actors", "delete", "says")
_PLACEHOLDER: Final = re.compile(r"\{([1-9][0-9]?)\}")
_WILDCARD: Final = re.compile(r"\*+")

Payload = TypeVar("Payload")
NOTHING: Final[Mapping[str, Any]] = {}


class RequiredKey(NamedTuple):
    """A key that a rule requires: its name, perhaps with `{1}`, and what it must satisfy.

    Without `schema` it must not exist.
    """

    template: str
    schema: ValueSchema | None

    def key(self, captures: tuple[str, ...]) -> str | None:
        """The key for what the wildcards of `match` took; None where that makes no key."""
        key = _PLACEHOLDER.sub(lambda found: captures[int(found[1]) - 1], self.template)
        return key if is_key(key) else None


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
        return _WILDCARD.sub(lambda _: next(rest), self.pattern.text)


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

    @property
    def key(self) -> str:
        """The key that the rule is."""
        return RULES + self.name

    @property
    def asks_for_schema_alone(self) -> bool:
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


class _Entry(NamedTuple, Generic[Payload]):
    """What the rule with this name has stored for a pattern."""

    pattern: Pattern
    name: str
    payload: Payload


_Entries = Mapping[str, tuple[_Entry[Payload], ...]]


class _PatternIndex(Generic[Payload]):
    """What rules have stored for patterns, found by the text before the first wildcard.

    Where nothing stands there, by the text after the last one. It is not changed: `changed` makes
    another one.
    """

    def __init__(
        self,
        keys: _Entries[Payload] = NOTHING,
        heads: _Entries[Payload] = NOTHING,
        tails: _Entries[Payload] = NOTHING,
    ) -> None:
        self._keys, self._heads, self._tails = keys, heads, tails
        self._head_lengths = sorted(set(map(len, heads)))
        self._tail_lengths = sorted(set(map(len, tails)))

    def changed(
        self, removed: Iterable[_Entry[Payload]], added: Iterable[_Entry[Payload]]
    ) -> "_PatternIndex[Payload]":
        """The index without what these rules have stored for these patterns, and with more."""
        keys, heads, tails = dict(self._keys), dict(self._heads), dict(self._tails)

        def place(pattern: Pattern) -> tuple[dict[str, tuple[_Entry[Payload], ...]], str]:
            if pattern.is_key:
                return keys, pattern.text
            if pattern.low:
                return heads, pattern.low
            return tails, _WILDCARD.split(pattern.text)[-1]

        for entry in removed:
            where, text = place(entry.pattern)
            if kept := tuple(one for one in where.pop(text, ()) if one.name != entry.name):
                where[text] = kept
        for entry in added:
            where, text = place(entry.pattern)
            where[text] = (*where.get(text, ()), entry)
        return _PatternIndex(keys, heads, tails)

    def find(self, key: str) -> list[Payload]:
        """What is stored for the patterns that match a key, each as often as it matches."""
        found = [entry.payload for entry in self._keys.get(key, ())]
        size = len(key)
        for length in self._head_lengths:
            if length > size:
                break
            found += [
                entry.payload
                for entry in self._heads.get(key[:length], ())
                if entry.pattern.is_range or entry.pattern.regex.fullmatch(key)
            ]
        for length in self._tail_lengths:
            if length > size:
                break
            found += [
                entry.payload
                for entry in self._tails.get(key[size - length :], ())
                if entry.pattern.is_range or entry.pattern.regex.fullmatch(key)
            ]
        return found


class RulesOfKey(NamedTuple):
    """The rules that are about a key, by name, and the keys under which it must not change.

    `schemas` are those of the rules, where these ask for nothing else.
    """

    matching: tuple[Rule, ...] = ()
    dependents: tuple[tuple[Dependency, str], ...] = ()
    schemas: tuple[ValueSchema, ...] | None = ()


NO_RULES: Final = RulesOfKey()


def _of_key(key: str, found: list[Rule], required: list[Dependency]) -> RulesOfKey:
    """The rules and dependencies that were found for a key, put together."""
    by_name = {rule.name: rule for rule in found}  # several patterns of one may match
    rules = [by_name[name] for name in sorted(by_name)]
    dependents = [
        (dependency, dependent)
        for dependency in required
        if (dependent := dependency.dependent_key(key)) is not None
    ]
    schemas = [rule.schema for rule in rules if rule.schema and rule.asks_for_schema_alone]
    is_all = len(schemas) == len(rules) and not dependents
    return RulesOfKey(tuple(rules), tuple(dependents), tuple(schemas) if is_all else None)


class RuleSet:
    """The rules of a state; those of a changed state are another set."""

    def __init__(self, rules: Mapping[str, Rule] | None = None) -> None:
        """No rules, or those with these names; see `changed`."""
        self.rules: Mapping[str, Rule] = dict(rules or {})
        self._by_match: _PatternIndex[Rule] = _PatternIndex()
        self._by_required: _PatternIndex[Dependency] = _PatternIndex()
        self._found: dict[str, RulesOfKey] = {}
        self._combinations: dict[tuple[str, ...], RulesOfKey] = {}
        """What is found of keys that nothing requires, by the names of the rules."""

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.rules)

    def changed(self, changes: Mapping[str, str | None]) -> "RuleSet":
        """The rules after these changes, of which only those of rules count. Never raises."""
        found = {key: raw for key, raw in changes.items() if key.startswith(RULES)}
        if not found:
            return self
        rules, added, removed = dict(self.rules), list[Rule](), list[Rule]()
        for key, raw in found.items():
            name = key.removeprefix(RULES)
            if before := rules.pop(name, None):
                removed.append(before)
            if raw is not None:
                rules[name] = usable_or_not(name, raw)
                added.append(rules[name])
        result = RuleSet(rules)
        result._by_match = self._by_match.changed(_matches(removed), _matches(added))
        result._by_required = self._by_required.changed(
            _dependencies(removed), _dependencies(added)
        )
        return result

    def about(self, key: str) -> "RulesOfKey":
        """The rules that are about a key, and the keys that it must not change under."""
        if (known := self._found.get(key)) is not None:
            return known
        found = self.about_one_of_many(key)
        if len(self._found) >= MAX_CACHED:
            self._found.clear()
            self._combinations.clear()
        self._found[key] = found
        return found

    def about_one_of_many(self, key: str) -> "RulesOfKey":
        """As `about`, for a key of a scan, which is not asked for again soon."""
        if key.startswith(RESERVED):
            return NO_RULES
        rules, required = self._by_match.find(key), self._by_required.find(key)
        if not (rules or required):
            return NO_RULES
        if required:
            return _of_key(key, rules, required)
        names = tuple([rule.name for rule in rules])
        if (known := self._combinations.get(names)) is None:
            known = self._combinations[names] = _of_key(key, rules, [])
        return known

    def with_schemas_for(self, key: str) -> list[Rule]:
        """The rules about a key of a scan whose schemas its value must satisfy, by name."""
        found = {rule.name: rule for rule in self._by_match.find(key) if rule.schema}
        return [found[name] for name in sorted(found)]

    @property
    def faulty(self) -> list[Rule]:
        """The rules that this program cannot use."""
        return [rule for rule in self.rules.values() if rule.fault]


def rules_of(entries: Iterable[tuple[str, str]]) -> RuleSet:
    """The rules among the keys of a state, given with their values as JSON text."""
    return RuleSet().changed(dict(entries))


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


def check_number_of_rules(rules: RuleSet, before: RuleSet) -> None:
    """Raises `TooLarge` for more rules than there may be, where they have become more."""
    if len(rules.rules) > max(MAX_RULES, len(before.rules)):
        raise TooLarge(f"There are {MAX_RULES} rules already, as many as allowed.", limit=MAX_RULES)


def usable_or_not(name: str, raw: str) -> Rule:
    """The rule with this record; what cannot be used is a rule as well, with a fault."""
    try:
        return _parsed(name, raw)
    except SignalboxError as error:
        record = values.decode(raw.encode())
        patterns = record.get("match") if isinstance(record, dict) else ()
        texts = patterns if isinstance(patterns, list) else [patterns]
        usable = [text for text in texts if isinstance(text, str) and is_pattern(text)]
        matches = tuple(_match(text) for text in usable if not text.startswith(RESERVED))
        record = record if isinstance(record, dict) else {}
        return Rule(name, record, matches, fault=error.message)


@functools.lru_cache(maxsize=256)
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
    return rule


def _patterns(given: Any, field: str, forbidden: str = "") -> list[str]:
    """The patterns of a field: one, or a list of them."""
    texts = given if isinstance(given, list) and given else [given]
    for number, text in enumerate(texts):
        path: Path = (field, number) if texts is given else (field,)
        if not isinstance(text, str) or not is_pattern(text):
            raise _refusal(path, f"is {quoted(text)}; allowed is a pattern, or a list of them")
        if forbidden and text.startswith(forbidden):
            raise _refusal(path, f"is {quoted(text)}; no rule is about keys below {forbidden}")
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
    for template, schema in given.items():
        path: Path = ("requires", template)
        if template.startswith(RESERVED):
            raise _refusal(path, f"is below {RESERVED}, whose keys no rule requires")
        numbers = [int(found) for found in _PLACEHOLDER.findall(template)]
        if too_high := [number for number in numbers if number > wildcards]:
            raise _refusal(
                path,
                f"has {{{max(too_high)}}}, and not every pattern of match has so many wildcards",
            )
        try:
            check_new_key(_PLACEHOLDER.sub("x", template))
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
    for match in rule.matches:
        wildcards = _WILDCARD.findall(match.pattern.text)
        for required in rule.requires:
            path: Path = ("requires", required.template)
            numbers = {int(found) for found in _PLACEHOLDER.findall(required.template)}
            if missing := set(range(1, len(wildcards) + 1)) - numbers:
                raise _refusal(
                    path,
                    f"does not have {{{min(missing)}}}; with holds every wildcard of match stands "
                    "in each required key",
                )
            across = [number for number in numbers if len(wildcards[number - 1]) > 1]
            segments = required.template.split(".")
            if len(across) > 1 or any(len(_PLACEHOLDER.findall(one)) > 1 for one in segments):
                raise _refusal(
                    path,
                    "has several placeholders that cannot be told apart in a key; with holds each "
                    "segment has at most one, and one at most stands for **",
                )


def _refusal(path: Path, what: str) -> Invalid:
    """The refusal of what a path of the record has."""
    return Invalid(f"{json_pointer(path)} {what}.", path=json_pointer(path))


def _matches(rules: Iterable[Rule]) -> Iterator[_Entry[Rule]]:
    """The rules with each of their patterns, for an index."""
    for rule in rules:
        for match in rule.matches:
            yield _Entry(match.pattern, rule.name, rule)


def _dependencies(rules: Iterable[Rule]) -> Iterator[_Entry[Dependency]]:
    """The keys that rules with `holds` require, as patterns, for an index."""
    for rule in rules:
        if rule.holds:
            for match in rule.matches:
                for required in rule.requires:
                    yield _dependency(rule, match, required)


def _dependency(rule: Rule, match: Match, required: RequiredKey) -> _Entry[Dependency]:
    """How one pattern of a rule depends on one of its required keys."""
    wildcards = _WILDCARD.findall(match.pattern.text)
    order = [int(found) for found in _PLACEHOLDER.findall(required.template)]
    literals = _PLACEHOLDER.split(required.template)[::2]
    text = literals[0] + "".join(
        wildcards[number - 1] + literal for number, literal in zip(order, literals[1:], strict=True)
    )
    dependency = Dependency(rule, match, required, capturing_regex(text), tuple(order))
    return _Entry(compile_pattern(text), rule.name, dependency)
